"""`show stats`, `stream stats`, `stream events`: what they tell is what happened, and no reader slows anybody."""

import concurrent.futures
import contextlib
import json
import math
import socket
import subprocess

import pytest
from control_client import control, control_settings
from gates import shared
from scale import IS_SANITIZED
from support import ROOT, TIMEOUT, eventually, web_config, write_config

VERSION_ERROR = "error: usage: show version\n"
TIMES = ["window_s", "rps", "rps_1s", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms", "first_byte_p99_ms",
         "connect_p99_ms", "queue_p99_ms", "error_rate", "retries_per_s", "active"]
BYTES = ["bytes_in_per_s", "bytes_out_per_s", "requests_total", "errors_total"]
FIELDS = {
    "frontend": ["time", "seq", "kind", "name", *TIMES, "connections", *BYTES],
    "backend": ["time", "seq", "kind", "name", *TIMES, "queued", "connections", "idle", *BYTES],
    "server": ["time", "seq", "kind", "backend", "name", *TIMES, "queued", "connections", "idle", *BYTES,
               "admin", "health", "breaker", "weight"],
}


def config_for(origin):
    servers = [{"name": "a1", "address": origin.address, "weight": 3},
               {"name": "b1", "address": "127.0.0.1:9", "backup": True}]
    return web_config(
        *servers, settings=control_settings(workers=2, telemetry={"windows": ["1s", "5m"]}),
        frontend={"access_log": {"to": "stdout", "format": "json"}},
        frontends={"bad": {"bind": ["127.0.0.1:0"], "default_backend": "dead"}},
        backends={"dead": {"servers": ["127.0.0.1:9"], "retry": "off",
                           "breaker": {"min_requests": 5, "error_rate": "50%", "open": "60s"}}})


web = shared(lambda world: config_for(world.origin()))


@pytest.fixture
def gate(loomgate, origin):
    """One without a past."""
    return loomgate(config_for(origin("-n", "a1")))


def stream(raw, words="every 50ms"):
    raw.send(f"stream stats {words}\n")
    return raw


def next_frame(raw, lines=5):
    """The lines of one frame: {(kind, name): line}."""
    frame = [json.loads(raw.line()) for _ in range(lines)]
    assert len({line["seq"] for line in frame}) == 1 and len({line["time"] for line in frame}) == 1, frame
    return {(line["kind"], line["name"]): line for line in frame}


def frame_with(raw, condition, lines=5):
    """The first frame for which it holds."""
    for _ in range(int(TIMEOUT * 20)):
        frame = next_frame(raw, lines)
        if condition(frame):
            return frame
    raise AssertionError(f"the last frame was {frame}")


def end_of_stream(raw):
    """What still comes of it, up to the empty line."""
    while raw.line() != "\n":
        pass


def clients_of(web):
    return control(web.gate, "user").json("show info")["control_clients"]


def await_one_client(web):
    """Who has gone is forgotten; who asks is left."""
    eventually(lambda: clients_of(web) == 1, "one client", every=0.2)


def fetch_bad(web):
    with web.gate.client("bad") as client:
        return client.request("GET", "/").read_response().status


# --- what is told -----------------------------------------------------------------------------------------------------


def test_each_line_has_its_fields_in_order(gate):
    text = control(gate).socat("stream stats every 50ms count 1\n")
    lines = [json.loads(line) for line in text.removesuffix("\n\n").split("\n")]
    assert [(line["kind"], line["name"]) for line in lines] == [
        ("frontend", "web"), ("frontend", "bad"), ("backend", "app"), ("server", "a1"), ("server", "b1"),
        ("backend", "dead"), ("server", "127.0.0.1:9")]
    for line in lines:
        assert list(line) == FIELDS[line["kind"]]
        assert line["seq"] == 1 and line["window_s"] == 300 and line["requests_total"] == 0
        assert line["p50_ms"] is None and line["max_ms"] is None and line["error_rate"] is None and line["rps"] == 0
        assert line["errors_total"] == {}
    state = ("admin", "health", "breaker", "weight")
    assert [lines[3][name] for name in state] == ["ready", "unchecked", "closed", 3]


def nearest_rank(values, percent):
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def test_known_latencies(gate):
    """Each percentile is that of the exchanges' own records, whatever the machine made of the delays."""
    delays = [2] * 150 + [40] * 30 + [120] * 18 + [300] * 2
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = pool.map(lambda ms: gate.fetch(f"/delay/{ms}/size/100").status, delays)
        assert set(answers) == {200}
    records = gate.records.wait_count(lambda record: True, len(delays))
    times = [record["total_ms"] for record in records]
    with control(gate).open() as raw:
        stream(raw, "every 50ms of web of app")
        frame = frame_with(raw, lambda f: f["server", "a1"]["requests_total"] >= len(times), lines=4)
    for which in (("frontend", "web"), ("backend", "app")):
        line = frame[which]
        assert line["requests_total"] == len(times) and line["error_rate"] == 0 and line["rps"] > 0
        for name, percent in (("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99), ("p999", 99.9), ("max", 100)):
            want = nearest_rank(times, percent)
            assert abs(line[f"{name}_ms"] - want) <= want * 0.01, (which, name, line, want)
        first = nearest_rank([record["first_byte_ms"] for record in records], 99)
        assert abs(line["first_byte_p99_ms"] - first) <= first * 0.01
        assert line["p50_ms"] >= 2 * 0.99 and line["p95_ms"] >= 120 * 0.99 and line["max_ms"] >= 300 * 0.99
        assert line["queue_p99_ms"] == 0 and line["bytes_out_per_s"] > line["bytes_in_per_s"] > 0


@pytest.mark.threads
def test_every_exchange_is_counted_once(gate):
    with control(gate).open() as raw:
        stream(raw, "every 50ms of web of app")
        before = next_frame(raw, 4)["frontend", "web"]["requests_total"]
        for _ in range(3):
            for _ in range(100):
                assert gate.fetch("/size/10").status == 200
            next_frame(raw, 4)
        frame = frame_with(raw, lambda f: f["frontend", "web"]["requests_total"] >= before + 300, 4)
        for _ in range(3):
            frame = next_frame(raw, 4)
        assert frame["frontend", "web"]["requests_total"] == before + 300


def test_errors_by_cause(web):
    with control(web.gate).open() as raw:
        stream(raw, "every 50ms of bad of dead of web")
        before = next_frame(raw, 4)["frontend", "web"]["errors_total"]
        assert web.gate.fetch("/size/10").status == 200
        assert web.gate.fetch("/status/500").status == 500
        for _ in range(3):
            assert fetch_bad(web) == 502
        frame = frame_with(raw, lambda f: f["frontend", "bad"]["requests_total"] == 3, 4)
        assert frame["frontend", "bad"]["errors_total"] == {"connect_failed": 3}
        assert frame["server", "127.0.0.1:9"]["errors_total"] == {"connect_failed": 3}
        assert frame["backend", "dead"]["error_rate"] == 1
        after = frame_with(raw, lambda f: f["frontend", "web"]["errors_total"] != before, 4)["frontend", "web"]
        assert after["errors_total"] == {**before, "bad_status": before.get("bad_status", 0) + 1}
        assert 0 < after["error_rate"] < 1


def test_what_is_now(web):
    with control(web.gate).open() as raw, web.gate.client() as client:
        stream(raw, "every 50ms of web of app")
        client.request("GET", "/hang")
        busy = frame_with(raw, lambda f: f["server", "a1"]["active"] == 1, 4)
        assert busy["frontend", "web"]["active"] == 1 and busy["frontend", "web"]["connections"] == 1
        assert busy["backend", "app"]["active"] == 1
        assert busy["server", "a1"]["connections"] == 1 + busy["server", "a1"]["idle"]
        client.reset()
        idle = frame_with(raw, lambda f: f["frontend", "web"]["connections"] == 0 and not f["server", "a1"]["active"], 4)
        assert idle["frontend", "web"]["active"] == 0
        assert web.gate.fetch("/size/10").status == 200
        frame_with(raw, lambda f: f["server", "a1"]["idle"] > 0, 4)
        control(web.gate).ok("breaker trip app/a1 for 1m")
        frame_with(raw, lambda f: f["server", "a1"]["breaker"] == "open", 4)
        control(web.gate).ok("breaker reset app/a1")
        frame_with(raw, lambda f: f["server", "a1"]["breaker"] == "closed", 4)


def test_show_stats(web):
    for _ in range(10):
        assert web.gate.fetch("/size/1000").status == 200
    admin = control(web.gate)
    rows = {(row["kind"], row["name"]): row for row in admin.json("show stats")}
    assert len(rows) == 7
    row = rows["frontend", "web"]
    assert row["requests_total"] >= 10 and row["window"] == 300 and row["rps"] > 0 and row["queued"] is None
    assert 0 < row["p50"] <= row["p90"] <= row["p99"] <= row["p999"] < 60
    assert row["out_total"] > 10000 and row["in_total"] > 100 and row["active"] == 0
    assert rows["server", "b1"]["p50"] is None and rows["server", "b1"]["error_rate"] is None
    text = admin.table("show stats app")
    assert [(row["kind"], row["backend"], row["name"]) for row in text] == [
        ("backend", "-", "app"), ("server", "app", "a1"), ("server", "app", "b1")]
    assert text[0]["window"] == "5m00s" and text[2]["p99"] == "-"
    assert [row["name"] for row in admin.table("show stats app/b1")] == ["b1"]
    assert "did you mean 'web'?" in admin.error("show stats wbe", "no_such_backend")
    assert "did you mean 'a1'?" in admin.error("show stats app/a", "no_such_server")


# --- the conversation -------------------------------------------------------------------------------------------------


def test_through_a_pipe(web):
    """socat ends its side at once: a stream with a count goes on, one without ends."""
    text = control(web.gate).socat("stream stats every 50ms count 3 of app/a1\nshow version x\n")
    *lines, empty, error, last = text.split("\n")[:-1]
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3]
    assert (empty, error + "\n", last) == ("", VERSION_ERROR, "")
    assert control(web.gate).socat("stream stats every 24h\n").count("\n") <= 8


def test_loomctl(web):
    done = subprocess.run([ROOT / "contrib" / "loomctl", "-s", control(web.gate).path, "stream", "stats", "every",
                           "50ms", "count", "2", "of", "web"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=TIMEOUT)
    assert done.returncode == 0 and [json.loads(line)["seq"] for line in done.stdout.splitlines()] == [1, 2]


@pytest.mark.parametrize("command", ["stream stats every 50ms", "stream stats every 24h of web", "stream events"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_empty_line_ends_it(web, command, end):
    with control(web.gate).open() as raw:
        raw.send(f"{command}\n")
        if "50ms" in command:
            raw.line()
        raw.send(end)
        end_of_stream(raw)
        raw.send("show version x; show version x\n").end()
        assert raw.rest().decode().endswith((VERSION_ERROR + "\n") * 2)


def test_garbage_while_it_runs(web):
    """It waits for the end of the stream, and so does what is behind it."""
    with control(web.gate).open() as raw:
        stream(raw)
        next_frame(raw, 7)
        raw.send(b"\x00\x01\xff garbage\nshow version x\nmore \x1b[2J\n")
        for _ in range(3):
            next_frame(raw, 7)
        raw.send("\n")
        end_of_stream(raw)
        assert raw.answer().startswith("error: unknown_command: ")
        assert raw.answer() == VERSION_ERROR
        assert raw.answer().startswith("error: unknown_command: ")


def test_more_garbage_than_is_kept(web):
    """Nothing of it is read any more; that its sender has gone is seen all the same."""
    await_one_client(web)
    with control(web.gate).open() as raw:
        raw.send("stream events\n")
        raw.sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            for _ in range(1000):
                raw.send(b"x" * 4096)
        assert clients_of(web) == 2
    await_one_client(web)


@pytest.mark.threads
def test_who_goes_is_forgotten(web):
    await_one_client(web)
    descriptors = web.gate.descriptors()
    for number in range(30):
        with control(web.gate).open() as raw:
            stream(raw, ("every 50ms", "every 60ms count 1000", "every 24h")[number % 3])
            if number % 3 < 2:
                raw.line()
    await_one_client(web)
    with control(web.gate).open() as raw:
        raw.send("stream events count 3\n").end()  # half closed is not gone
        assert clients_of(web) == 2
    await_one_client(web)
    eventually(lambda: web.gate.descriptors() <= descriptors, "closed descriptors")


@pytest.mark.threads
def test_sixty_four_at_once(web):
    await_one_client(web)
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(control(web.gate).open()) for _ in range(64)]
        for number, raw in enumerate(raws):
            stream(raw, f"every {50 + number % 4 * 10}ms count 5")
        for raw in raws:
            frames = [next_frame(raw, 7)["frontend", "web"] for _ in range(5)]
            assert [frame["seq"] for frame in frames] == [1, 2, 3, 4, 5]
            assert raw.line() == "\n"
        assert web.gate.fetch("/size/10").status == 200


# --- events -----------------------------------------------------------------------------------------------------------


@pytest.mark.threads
def test_stream_events(web):
    await_one_client(web)
    with control(web.gate, "user").open() as raw:
        assert raw.send("show version x\n").answer() == VERSION_ERROR
        raw.send("stream events count 3\n")
        control(web.gate).ok("log level info")  # the control thread's
        first = json.loads(raw.line())
        assert list(first) == ["time", "level", "event", "message", "fields"]
        assert (first["event"], first["level"], first["fields"]) == ("log_level_changed", "warn", {"to": "info"})
        for _ in range(6):  # a worker's
            fetch_bad(web)
        second = json.loads(raw.line())
        assert second["event"] == "breaker_opened" and second["fields"]["backend"] == "dead"
        assert second in control(web.gate).json("show events")
        control(web.gate).ok("breaker reset dead")
        assert json.loads(raw.line())["event"] == "breaker_reset"
        assert raw.line() == "\n"


# --- who does not read ------------------------------------------------------------------------------------------------


def test_a_reader_that_stops(loomgate, origin):
    """Frames are dropped whole and counted; nobody else notices."""
    servers = [{"name": "a1", "address": origin().address}] + [f"127.0.0.1:{port}" for port in range(20000, 20300)]
    gate = loomgate(web_config(*servers, settings=control_settings(), backend={"balance": "first"}))
    lines = len(servers) + 2
    with control(gate).open() as deaf, control(gate).open() as other:
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream(deaf)
        stream(other)
        before = gate.resident_bytes()
        for _ in range(20):
            next_frame(other, lines)
        assert gate.fetch("/size/10").status == 200
        # A sanitizer keeps freed memory for a while.
        assert gate.resident_bytes() - before < (400 if IS_SANITIZED else 16) << 20
        last = next_frame(deaf, lines)["frontend", "web"]
        for _ in range(5):
            line = next_frame(deaf, lines)["frontend", "web"]
            assert line["seq"] == last["seq"] + 1 + line.get("dropped", 0)
            if "dropped" in line:
                break
            last = line
        assert line["dropped"] > 0 and list(line) == [*FIELDS["frontend"], "dropped"]
        deaf.send("\n")
        end_of_stream(deaf)
        assert deaf.send("show version x\n").answer() == VERSION_ERROR


def test_a_reload_in_the_middle(loomgate, origin):
    """The lines are those of the configuration in force; who stays goes on counting."""
    one, two = {"name": "a1", "address": origin().address}, {"name": "a2", "address": origin().address}
    config = web_config(one, settings=control_settings())
    gate = loomgate(config)
    assert gate.fetch("/size/10").status == 200
    with control(gate).open() as raw:
        stream(raw, "every 50ms of app")
        frame_with(raw, lambda f: f["server", "a1"]["requests_total"] == 1, 2)
        for servers in ([two, one], [two]):
            config["backends"]["app"]["servers"] = servers
            write_config(config, gate.path.parent, gate.path.name)
            assert control(gate).ask("reload").startswith("ok: ")
            seq = json.loads(raw.line())["seq"]
            while (line := json.loads(raw.line()))["name"] != "app" or line["seq"] < seq + 2:
                pass
            names = {name: json.loads(raw.line()) for name in [server["name"] for server in servers]}
            assert all(names[name]["name"] == name for name in names)
            assert names.get("a1", {"requests_total": 1})["requests_total"] == 1


def test_the_end_of_the_process_ends_it(loomgate):
    gate = loomgate(web_config("127.0.0.1:9", settings=control_settings()))
    with control(gate).open() as stats, control(gate).open() as events:
        stream(stats)
        events.send("stream events\n")
        stats.line()
        gate.stop()
        for raw in (stats, events):
            last = raw.rest().decode().rstrip("\n").split("\n")[-1]
            assert json.loads(last)["error"] == "conflict"
