"""Access records and the process's log: fields, formats, places, and what happens when nobody takes them."""

import datetime
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from support import (LOOMGATE_BIN, TIMEOUT, Client, Collector, client_when_listening, environment, eventually, parse_json, web_config,
                     write_config)

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
FIELDS = ["time", "id", "frontend", "route", "backend", "server", "client", "method", "host", "path", "protocol",
          "status", "cause", "blame", "bytes_in", "bytes_out", "queue_ms", "connect_ms", "first_byte_ms", "total_ms",
          "tries", "reused"]
TIME = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]{3}Z")
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def logging_to(target, *servers, format="json", settings=None, **frontend):
    log = {"access_log": {"to": target, "format": format}}
    return web_config(*servers, frontend={**log, **frontend}, settings=settings)


def process_log(**log):
    return {"log": {"level": "info", "to": "stderr", "format": "json", **log}}


# ---- fields ----


def test_json_record(loomgate, origin):
    server = origin()
    routes = [{"name": "api", "match": {"path_prefix": "/delay"}, "backend": "app"}]
    gate = loomgate(logging_to("stdout", {"name": "one", "address": server.address}, routes=routes))
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with gate.client() as client:
        fields, body = [("traceparent", trace)], b"x" * 100
        client.request("POST", "/delay/50/size/1000?a=b%20c", fields, body, host="h.example:81")
        response = client.read_response()
        local = client.local
    record = gate.record()
    assert [name for name in record if name != "traceparent"] == FIELDS and record["traceparent"] == trace
    assert TIME.fullmatch(record["time"]) and UUID7.fullmatch(record["id"])
    assert record["id"] == response.header("X-Request-Id")
    wanted = {"frontend": "web", "route": "api", "backend": "app", "server": "one", "client": local, "method": "POST",
              "host": "h.example:81", "path": "/delay/50/size/1000?a=b%20c", "protocol": "HTTP/1.1", "status": 200,
              "cause": "ok", "blame": None, "queue_ms": 0, "reused": False}
    assert {name: record[name] for name in wanted} == wanted
    assert 0 <= record["connect_ms"] <= record["first_byte_ms"] <= record["total_ms"]
    assert 49 < record["first_byte_ms"] < TIMEOUT * 1000
    assert record["tries"] == [{"server": "one", "ms": record["tries"][0]["ms"], "cause": "ok", "backoff_ms": 0}]
    assert abs(time.time() - parse_time(record["time"])) < TIMEOUT * 2


def parse_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_bytes_are_those_on_the_wire(loomgate, origin):
    gate = loomgate(logging_to("stdout", origin()))
    with gate.client() as client:
        for request in (b"GET /size/1000 HTTP/1.1\r\nHost: a\r\n\r\n",
                        b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + bytes(5000),
                        b"POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
                        b"GET /chunked/100000 HTTP/1.1\r\nHost: a\r\n\r\n",
                        b"HEAD /size/9 HTTP/1.1\r\nHost: a\r\n\r\n"):
            client.send(request)
            method, path = request.split()[:2]
            got = client.read_response(method.decode())
            record = gate.record(path=path.decode(), method=method.decode(), bytes_in=len(request))
            head = len(f"HTTP/1.1 {got.status} {got.reason}\r\n\r\n")
            head += sum(len(f"{name}: {value}\r\n") for name, value in got.headers)
            body = len(got.body) if got.framing != "chunked" else sum(len(b"%x" % n) + n + 4 for n in got.chunks) + 5
            assert record["bytes_out"] == head + body, record


@pytest.mark.parametrize(
    "request_bytes, wanted",
    [
        (b"GET /size/1 HTTP/1.0\r\n\r\n", {"protocol": "HTTP/1.0", "host": None, "status": 200, "route": "all"}),
        (b"GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n", {"route": "fixed", "backend": None, "server": None, "tries": [],
                                                    "status": 201, "connect_ms": None}),
        (b"GET / HTTP/1.1\r\n\r\n", {"status": 400, "cause": "bad_host", "blame": "client", "tries": []}),
        (b"nonsense\r\n\r\n", {"status": 400, "cause": "bad_request_line", "blame": "client", "method": None,
                             "path": None}),
    ],
    ids=["1.0", "fixed", "no host", "nonsense"],
)
def test_records_of_other_kinds(loomgate, origin, request_bytes, wanted):
    routes = [{"name": "fixed", "match": {"path": "/fixed"}, "respond": {"status": 201}},
              {"name": "all", "match": {"path_prefix": "/size"}, "backend": "app"}]
    gate = loomgate(logging_to("stdout", origin(), routes=routes))
    with gate.client() as client:
        client.send(request_bytes).read_response()
    record = gate.record()
    assert set(FIELDS) <= set(record) and {name: record[name] for name in wanted} == wanted


TEXT = re.compile(
    r'(?P<time>\S+Z) (?P<id>[0-9a-f-]{36}) (?P<client>\S+:[0-9]+) (?P<frontend>\S+)/(?P<route>\S+) (?P<backend>\S+)/'
    r'(?P<server>\S+) "(?P<method>\S+) (?P<host>\S+) (?P<path>\S+)" (?P<status>[0-9-]+) (?P<cause>\S+) (?P<blame>\S+) '
    r"in=(?P<bytes_in>[0-9]+) out=(?P<bytes_out>[0-9]+) queue=(?P<queue>\S+) connect=(?P<connect>\S+) "
    r"first=(?P<first>[0-9.]+) total=(?P<total>[0-9.]+) tries=(?P<tries>[0-9]) reused=(?P<reused>yes|no) "
    r"protocol=(?P<protocol>\S+)( traceparent=(?P<trace>\S+))?"
)


def test_text_record(loomgate, origin):
    gate = loomgate(logging_to("stdout", {"name": "one", "address": origin().address}, format="text"))
    gate.fetch("/a?b", headers=[("traceparent", "x y")])
    line = eventually(lambda: gate.records.raw)[0]
    match = TEXT.fullmatch(line)
    assert match, line
    wanted = {"frontend": "web", "route": "-", "backend": "app", "server": "one", "method": "GET", "host": "localhost",
              "path": "/a?b", "status": "404", "cause": "ok", "blame": "-", "reused": "no", "protocol": "HTTP/1.1"}
    assert {name: match[name] for name in wanted} == wanted
    assert match["trace"] == "x\\x20y"


HOSTILE = [
    b'/"quotes"and\\backslashes', b"/\xff\xfe\x80bytes", "/\u00e4\u20ac\U0001f600".encode(), b'/","status":200,"x":"',
    b"/%00%0a%22", b"/{}[]%", b"/\xe2\x80\xa8\xe2\x80\xae", b"/'\"`$(id)`", b"/\xc2\x85", b"/" + b"\\" * 500,
    b"/\xed\xa0\x80", b"/" + b'"' * 3000, b"/" + b"\xff" * 3000,
]


@pytest.mark.parametrize("format", ["json", "text"])
def test_hostile_requests_forge_nothing(loomgate, origin, format):
    gate = loomgate(logging_to("stdout", origin(), format=format))
    count = 0
    for path in HOSTILE:
        with gate.client() as client:
            client.send(b"GET %b HTTP/1.1\r\nHost: a\r\nAccept: */*\r\ntraceparent: %b\r\n\r\n" % (path, path[1:]))
            client.read_response()
        count += 1
    for value in (b'"', b"\\", b'","x":"', "\u00e4\u2028\u202e".encode(), b"\xff\xed\xa0\x80", b"a b\tc", b'"' * 4000,
                  b"\xff" * 4000):
        with gate.client() as client:
            client.send(b"GET /size/0?t HTTP/1.1\r\nHost: a\r\ntraceparent: %b\r\n\r\n" % value)
            assert client.read_response().status == 200
        count += 1
    for host in (b'a"b', b"a\\b", b"\xff", b"[::1", b"a b", b"a/../b"):
        with gate.client() as client:
            client.send(b"GET /h HTTP/1.1\r\nHost: %b\r\n\r\n" % host).read_response()
        count += 1
    for method in (b"GE\"T", b"M!#$%&'*+.^_`|~", b"A" * 2000):
        with gate.client() as client:
            client.send(b"%b /m HTTP/1.1\r\nHost: a\r\n\r\n" % method).read_response()
        count += 1
    lines = eventually(lambda: len(gate.records.raw) >= count and list(gate.records.raw))
    assert len(lines) == count
    for line in lines:
        assert re.fullmatch(r"[\x20-\x7e\u00a0-\U0010ffff]+", line), line
        if format == "json":
            record = json.loads(line)
            assert set(FIELDS) <= set(record) <= {*FIELDS, "traceparent"}
        else:
            assert TEXT.fullmatch(line), line
    if format == "json":
        assert gate.records.lines[0]["path"] == HOSTILE[0].decode()
        traces = [record["traceparent"] for record in gate.records.lines if record["path"] == "/size/0?t"]
        assert traces[:4] == ['"', "\\", '","x":"', "\u00e4\u2028\u202e"]


def test_long_requests_are_cut_in_the_record_only(loomgate, origin):
    gate = loomgate(logging_to("stdout", origin(), limits={"header_size": "64KiB", "uri_size": "32KiB"}))
    assert gate.echo("/echo?" + "q" * 30000).target == "/echo?" + "q" * 30000
    record = gate.record()
    assert 4000 < len(record["path"]) < 8192 and record["path"].endswith("\u2026") and set(FIELDS) <= set(record)


def test_off(loomgate, origin):
    gate = loomgate(web_config(origin(), frontend={"access_log": "off"}))
    gate.fetch("/")
    gate.stop()
    assert gate.records.raw == []


# ---- files ----


def lines_of(path):
    return path.read_text().splitlines()


def test_file(loomgate, origin, tmp_path):
    path = tmp_path / "access.log"
    path.write_text("what was there\n")
    gate = loomgate(logging_to(f"file:{path}", origin()))
    for number in range(5):
        gate.fetch(f"/size/{number}")
    eventually(lambda: len(lines_of(path)) == 6, "five records")
    assert lines_of(path)[0] == "what was there"
    assert [json.loads(line)["path"] for line in lines_of(path)[1:]] == [f"/size/{number}" for number in range(5)]


def test_one_file_for_two_frontends_and_the_process(loomgate, origin, tmp_path):
    path = tmp_path / "all.log"
    config = logging_to(f"file:{path}", origin(), settings=process_log(to=f"file:{path}"))
    config["frontends"]["other"] = {**config["frontends"]["web"]}
    gate = loomgate(config, wait=False)
    lines = eventually(lambda: path.exists() and '"ready"' in path.read_text() and lines_of(path))
    addresses = [json.loads(line)["address"] for line in lines if '"listening"' in line]
    assert len(addresses) == 2
    for address in addresses:
        with Client(address) as client:
            client.request("GET", "/").read_response()
    eventually(lambda: path.read_text().count('"path":"/"') == 2)
    gate.stop()
    assert all(parse_json(line) for line in lines_of(path)) and '"stopped"' in lines_of(path)[-1]


def test_file_that_cannot_be_opened(tmp_path, origin):
    config = logging_to(f"file:{tmp_path}/no/such/access.log", origin())
    done = subprocess.run([LOOMGATE_BIN, "-f", write_config(config, tmp_path)], capture_output=True, text=True,
                          timeout=TIMEOUT, env=environment())
    assert done.returncode == 1 and "/no/such/access.log" in done.stderr


def test_reopened_after_a_rename(loomgate, origin, tmp_path):
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    gate = loomgate(logging_to(f"file:{path}", origin()))
    gate.fetch("/before")
    eventually(lambda: len(lines_of(path)) == 1)
    path.rename(old)
    gate.fetch("/between")
    eventually(lambda: len(lines_of(old)) == 2, "the record in the renamed file")
    gate.signal(signal.SIGUSR1)
    gate.logged(event="logs_reopened")
    eventually(path.exists, "the new file")
    gate.fetch("/after")
    eventually(lambda: len(lines_of(path)) == 1)
    assert "/after" in path.read_text() and "/after" not in old.read_text()


@pytest.mark.threads
def test_reopened_under_load_loses_nothing(loomgate, origin, tmp_path):
    path = tmp_path / "access.log"
    gate = loomgate(logging_to(f"file:{path}", origin(), settings={"workers": 2}))
    failures = []

    def run(number):
        try:
            with gate.client() as client:
                for serial in range(150):
                    assert client.request("GET", f"/size/1?{number}-{serial}").read_response().status == 200
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(5):
        path.rename(tmp_path / f"access.log.{turn}")
        gate.signal(signal.SIGUSR1)
        eventually(path.exists, "the new file")
    for thread in threads:
        thread.join()
    assert not failures, failures
    gate.stop()
    seen = []
    for file in tmp_path.glob("access.log*"):
        seen += [json.loads(line)["path"] for line in lines_of(file)]
    assert sorted(seen) == sorted(f"/size/1?{number}-{serial}" for number in range(4) for serial in range(150))


def test_file_that_cannot_be_reopened_is_kept(loomgate, origin, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "access.log"
    gate = loomgate(logging_to(f"file:{path}", origin()))
    folder.rename(tmp_path / "moved")
    gate.signal(signal.SIGUSR1)
    told = gate.logged(event="log_reopen_failed")
    assert told["level"] == "error" and str(path) in told["path"]
    gate.fetch("/kept")
    eventually(lambda: "/kept" in (tmp_path / "moved" / "access.log").read_text())
    gate.stop(allow_errors=True)


# ---- nobody takes them ----

LONG_PATH = "/size/1?" + "q" * 7000


def many_requests(gate, count):
    """Requests with long records; the slowest in seconds."""
    slowest = 0.0
    with gate.client() as client:
        for _ in range(count):
            start = time.monotonic()
            assert client.request("GET", LONG_PATH).read_response().status == 200
            slowest = max(slowest, time.monotonic() - start)
    return slowest


class Fifo:
    """A pipe that is read only when the test says so."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def collect(self):
        os.set_blocking(self.fd, True)
        return Collector(os.fdopen(self.fd, errors="replace"), parse_json)


@pytest.mark.parametrize("workers", [pytest.param(1), pytest.param(2, marks=pytest.mark.threads)])
def test_blocked_standard_output_slows_nobody(loomgate, origin, tmp_path, workers):
    fifo = Fifo(tmp_path / "fifo")
    gate = loomgate(logging_to("stdout", origin(), settings={"workers": workers, **process_log(queue=64)}),
                    prefix=["sh", "-c", 'exec "$@" > "$0"', fifo.path])
    count = 600
    assert many_requests(gate, count) < TIMEOUT / 2
    with gate.client() as client:  # also while it is blocked for good
        assert client.request("GET", "/last").read_response().status == 404
    seen = fifo.collect()  # now it is read
    told = seen.wait(lambda line: line.get("event") == "log_lost", "the loss")
    assert told["lost"] > 0 and told["level"] == "warn"
    gate.fetch("/afterwards")
    seen.wait(lambda line: line.get("path") == "/afterwards", "the record after the drain")
    gate.stop()
    seen.join()
    assert all(parse_json(line) for line in seen.raw), "a torn line"
    lost = sum(line["lost"] for line in seen.lines if line.get("event") == "log_lost")
    assert len([line for line in seen.lines if "path" in line]) + lost == count + 2
    assert gate.logged(event="stopped")["log_lost"] == lost


def test_blocked_pipe_does_not_hold_up_the_end(loomgate, origin, tmp_path):
    fifo = Fifo(tmp_path / "fifo")
    gate = loomgate(logging_to("stdout", origin()), prefix=["sh", "-c", 'exec "$@" > "$0"', fifo.path])
    many_requests(gate, 100)
    start = time.monotonic()
    gate.stop()
    assert time.monotonic() - start < TIMEOUT / 2
    os.close(fifo.fd)


def test_reader_that_went_away(loomgate, origin, tmp_path):
    """SIGPIPE kills nobody; the records are lost and counted."""
    fifo = Fifo(tmp_path / "fifo")
    gate = loomgate(logging_to("stdout", origin()), prefix=["sh", "-c", 'exec "$@" > "$0"', fifo.path])
    os.close(fifo.fd)
    many_requests(gate, 20)
    gate.stop()
    assert gate.logged(event="stopped")["log_lost"] == 20


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk(loomgate, origin):
    gate = loomgate(logging_to("file:/dev/full", origin()))
    many_requests(gate, 30)
    gate.stop()
    assert gate.logged(event="stopped")["log_lost"] == 30


def test_blocked_process_log_holds_nobody(loomgate, origin, tmp_path):
    """The process's own log to a pipe that nobody reads."""
    fifo = Fifo(tmp_path / "fifo")
    config = logging_to("stdout", origin(), settings=process_log(to=f"file:{fifo.path}", queue=64))
    config["frontends"]["web"]["bind"] = [{"address": f"unix:{tmp_path}/s", "accept_proxy": True}]
    gate = loomgate(config, wait=False)
    eventually((tmp_path / "s").exists, "the listener")
    for _ in range(1500):  # a warning each
        with Client(f"unix:{tmp_path}/s") as client:
            try:
                assert client.send(b"garbage").read_all() == b""
            except OSError:
                pass
    with Client(f"unix:{tmp_path}/s") as client:
        assert client.send(b"PROXY UNKNOWN\r\n").request("GET", "/").read_response().status == 200
    seen = fifo.collect()
    seen.wait(lambda line: line.get("event") == "bad_proxy_header", "a warning")
    gate.stop()
    seen.join()
    lost = sum(line["lost"] for line in seen.lines if line.get("event") == "log_lost")
    assert len([line for line in seen.lines if line.get("event") == "bad_proxy_header"]) + lost == 1500


# ---- syslog ----


NO_LEAK_CHECK = {"ASAN_OPTIONS": "detect_leaks=0:exitcode=99"}  # LeakSanitizer reads /proc


@pytest.fixture
def syslog(tmp_path):
    """/dev/log of a root directory of its own: the proxy finds it after chroot."""
    jail = tmp_path / "jail"
    (jail / "dev").mkdir(parents=True)
    path = jail / "dev" / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        if len(str(path)) > 100:
            pytest.skip("the temporary folder's path is too long")
        sock.bind(str(path))
        sock.settimeout(TIMEOUT)
        yield sock, jail


@NEEDS_ROOT
@pytest.mark.parametrize("format", ["json", "text"])
def test_syslog(loomgate, origin, syslog, format):
    sock, jail = syslog
    gate = loomgate(logging_to("syslog", origin(), format=format, settings={"chroot": str(jail)}), env=NO_LEAK_CHECK)
    gate.fetch("/size/1")
    line = sock.recv(65536).decode()
    match = re.fullmatch(r"<30>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} loomgate\[([0-9]+)\]: (.*)", line)
    assert match and int(match[1]) == gate.pid, line
    if format == "json":
        assert json.loads(match[2])["path"] == "/size/1"
    else:
        assert TEXT.fullmatch(match[2])


@pytest.mark.skipif(os.path.exists("/dev/log"), reason="there is a syslog daemon")
def test_no_syslog_daemon(loomgate, origin):
    gate = loomgate(logging_to("syslog", origin()))
    many_requests(gate, 10)
    gate.stop()
    assert gate.logged(event="stopped")["log_lost"] == 10


# ---- the process's log ----


@pytest.mark.parametrize("level, expected", [("debug", True), ("info", True), ("warn", False), ("error", False)])
def test_levels(loomgate, origin, tmp_path, level, expected):
    config = logging_to("stdout", origin(), settings=process_log(level=level))
    config["frontends"]["web"]["bind"] = [f"unix:{tmp_path}/s"]
    gate = loomgate(config, wait=False)
    with client_when_listening(f"unix:{tmp_path}/s") as client:
        assert client.request("GET", "/").read_response().status == 200
    gate.stop()
    order = ["debug", "info", "warn", "error"]
    assert any(line["event"] == "ready" for line in gate.log.lines) == expected
    assert all(order.index(line["level"]) >= order.index(level) for line in gate.log.lines)
    assert len(gate.records.lines) == 1


def test_json_lines(loomgate, origin):
    gate = loomgate(logging_to("stdout", origin()))
    gate.stop()
    assert gate.log.raw and len(gate.log.raw) == len(gate.log.lines), gate.log.raw
    for line in gate.log.lines:
        assert TIME.fullmatch(line["time"]) and line["level"] in ("info", "warn") and line["event"]
    told = [line["event"] for line in gate.log.lines if line["level"] == "info"]
    assert told == ["listening", "ready", "stopping", "stopped"]


def test_text_lines(loomgate, origin):
    gate = loomgate(logging_to("stdout", origin(), settings=process_log(format="text")), wait=False)
    eventually(lambda: any(" ready: " in line for line in gate.log.raw), "the ready line")
    gate.stop()
    for line in gate.log.raw:
        assert re.fullmatch(TIME.pattern + r" (info|warn) [a-z_]+(: .*)?( [a-z_]+=\S+)*", line), line


def test_process_log_to_standard_output(loomgate, origin):
    gate = loomgate(logging_to("stdout", origin(), settings=process_log(to="stdout")), wait=False)
    listening = gate.records.wait(lambda line: line.get("event") == "listening")
    gate.records.wait(lambda line: line.get("event") == "ready")
    with Client(listening["address"]) as client:
        assert client.request("GET", "/").read_response().status == 200
    gate.records.wait(lambda line: line.get("path") == "/")
    gate.stop()
    assert gate.log.raw == []


@pytest.mark.threads
def test_records_from_two_workers_are_whole(loomgate, origin):
    """All of them, none torn, none twice, and none too early."""
    gate = loomgate(logging_to("stdout", origin(), settings={"workers": 2}))
    failures = []

    def run(number):
        try:
            for part in range(5):
                with gate.client() as client:
                    for serial in range(40):
                        path = f"/size/1?{number}.{part}.{serial}" + "z" * (serial * 50)
                        assert client.request("GET", path).read_response().status == 200
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    gate.stop()
    assert len(gate.records.raw) == len(gate.records.lines) == 1200
    assert len({record["path"] for record in gate.records.lines}) == 1200
    assert len({record["id"] for record in gate.records.lines}) == 1200


def test_log_that_grows_over_a_limit_of_the_file_system(loomgate, origin, tmp_path):
    """RLIMIT_FSIZE: writes fail (or tear a line) from some point on; nobody waits and the process lives."""
    if not shutil.which("prlimit"):
        pytest.skip("needs prlimit")
    path = tmp_path / "access.log"
    gate = loomgate(logging_to(f"file:{path}", origin()), prefix=["prlimit", "--fsize=50000:50000"])
    many_requests(gate, 30)
    gate.stop()
    assert path.stat().st_size <= 50000
    assert gate.logged(event="stopped")["log_lost"] >= 22
