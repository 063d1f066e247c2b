"""A reload: what it changes, what is refused, several at once."""

import json
import pathlib
import random
import re
import socket
import threading

import pytest
from reloads import BIND, name_of, respond, say, servers_of, started, stays_refused
from support import TIMEOUT, Cut, eventually, fetch, pattern


@pytest.fixture
def gate(loomgate, origin):
    return started(loomgate, origin)


# --- what changes -----------------------------------------------------------------------------------------------------


@pytest.mark.threads
def test_everything_that_may_change(gate, origin):
    a2 = origin("-n", "a2")

    def edit(config):
        say("new")(config)
        config["frontends"]["web"]["timeouts"] = {"client": "7s"}
        config["frontends"]["api"] = {**BIND, "default_backend": "other"}
        config["backends"]["other"] = {"servers": [a2.address]}
        servers_of(config)[0]["weight"] = 5
        servers_of(config).append({"name": "a2", "address": a2.address})
        config["global"]["max_connections"] = 500
        config["global"]["shutdown"] = {"grace": "9s"}

    before = gate.sockets()
    data = gate.reload(edit)
    keys = {change["key"] for change in data["changes"]}
    assert keys >= {"frontends.web.timeouts.client", "frontends.api", "backends.other",
                    "backends.app.servers.a1.weight", "backends.app.servers.a2", "global.max_connections"}
    assert (data["number"], data["sockets_opened"], data["sockets_closed"]) == (1, 1, 0)
    assert gate.fetch("/own").text == "new"
    assert {name_of(gate.web) for _ in range(20)} == {"a1", "a2"}
    assert name_of(gate.address("api")) == "a2"
    assert gate.sockets() > before
    info = gate.control.json("show info")
    assert info["connections"]["limit"] == 500
    assert info["reloads"]["total"] == 1 and info["reloads"]["last"] > info["started"]
    assert "client: 7s" in gate.control.ask("show config") and "weight: 5" in gate.control.ask("show config")


def sleeps(gate):
    """How often the workers' threads have gone to sleep."""
    total = 0
    for task in pathlib.Path(f"/proc/{gate.pid}/task").iterdir():
        if (task / "comm").read_text().startswith("worker-"):
            total += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)$", (task / "status").read_text(), re.M)[1])
    return total


def test_looks_before_a_worker_sleeps(gate):
    """One request after the other: with looks enough it is still awake when the next bytes come."""
    def sleeps_of(spin):
        assert gate.reload(lambda c: c["global"].update(spin=spin))["needs_restart"] == []
        with gate.client() as client:
            before = sleeps(gate)
            for _ in range(500):
                assert client.request("GET", "/size/10").read_response().status == 200
            return sleeps(gate) - before

    at_once = sleeps_of(0)
    assert sleeps_of(10000) < at_once / 2
    assert sleeps_of(0) > at_once / 2
    gate.refuse(lambda c: c["global"].update(spin=10001), "'spin'")
    gate.refuse(lambda c: c["global"].update(spin="often"), "'spin': 'often' is not a whole number")
    assert gate.fetch("/own").status == 200
    gate.stop(allow_errors=True)


def test_by_signal(gate):
    gate.reload_by_signal(say("new"))
    assert gate.fetch("/own").text == "new"


def test_frontends_come_and_go(gate):
    before = gate.sockets()
    gate.reload(lambda c: c["frontends"].update(more={**BIND, "routes": [respond("more")]}))
    more = gate.address("more")
    assert fetch(more, "/own").text == "more" and len(gate.sockets()) == 2 * len(before)
    data = gate.reload(lambda c: c["frontends"].pop("more"))
    assert (data["sockets_opened"], data["sockets_closed"], data["sockets_kept"]) == (0, 1, 1)
    assert gate.sockets() == before and stays_refused(more)


def test_frontends_change_places(gate):
    """In whichever order the file has them, each one keeps its socket, and its clients."""
    gate.reload(lambda c: c["frontends"].update(
        {name: {**BIND, "routes": [respond(name)]} for name in ("one", "two", "three", "four")}))
    sockets = {name: gate.address(name) for name in ("one", "two", "three", "four")}

    def turn_around(config):
        frontends = {**config["frontends"], "five": {**BIND, "routes": [respond("five")]}}
        del frontends["two"]
        config["frontends"] = {name: frontends[name] for name in reversed(frontends)}
        config["frontends"]["four"]["routes"] = [respond("new")]

    with gate.client("three") as client:
        assert client.request("GET", "/own").read_response().text == "three"
        data = gate.reload(turn_around)
        assert (data["sockets_opened"], data["sockets_closed"], data["sockets_kept"]) == (1, 1, 4)
        assert client.request("GET", "/own").read_response().text == "three"
    for _ in range(10):
        assert [fetch(sockets[name], "/own").text for name in ("one", "three", "four")] == ["one", "three", "new"]
        assert fetch(gate.address("five"), "/own").text == "five" and gate.fetch("/own").text == "old"
    assert stays_refused(sockets["two"])


def test_deferred_accepts_come_and_go(gate):
    """On the very socket, which clients use meanwhile."""
    before = gate.sockets()
    for defers in (True, False, True):
        with gate.client() as silent:
            data = gate.reload(lambda c, defers=defers: c["frontends"]["web"].update(
                bind=[{"address": "127.0.0.1:0", "defer_accept": defers}]))
            assert (data["sockets_opened"], data["sockets_closed"]) == (0, 0)
            assert gate.fetch("/own").text == "old"
            assert silent.request("GET", "/own").read_response().text == "old"
    assert gate.sockets() == before


def test_a_socket_goes_over_to_another_frontend(gate):
    """Same address, another name: it is not opened again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    gate.reload(lambda c: c["frontends"].update(one={"bind": [address], "routes": [respond("one")]}))
    sockets = gate.sockets()

    def rename(config):
        del config["frontends"]["one"]
        config["frontends"]["two"] = {"bind": [address], "routes": [respond("two")]}

    assert fetch(address, "/own").text == "one"
    data = gate.reload(rename)
    assert data["sockets_opened"] == data["sockets_closed"] == 0 and gate.sockets() == sockets
    assert fetch(address, "/own").text == "two"


def port_of_nobody():
    """Below those that the kernel gives to connections: it stays free between two listeners."""
    while True:
        port = random.randrange(12000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
                return port
            except OSError:
                pass


@pytest.mark.parametrize("before, after", [("127.0.0.1", ""), ("", "127.0.0.1"), ("*", "0.0.0.0"), ("0.0.0.0", "*")])
def test_an_address_becomes_wider_or_narrower(gate, before, after):
    """Both are open for a moment; nobody is refused."""
    port = port_of_nobody()

    def bind(host, body):
        return lambda c: c["frontends"].update(more={"bind": [f"{host}:{port}"], "routes": [respond(body)]})

    done, failures = threading.Event(), []

    def ask():
        while not done.is_set():
            try:
                assert fetch(f"127.0.0.1:{port}", "/own").text in ("before", "after")
            except (OSError, Cut) as error:
                failures.append(error)

    gate.reload(bind(before, "before"))
    thread = threading.Thread(target=ask)
    thread.start()
    data = gate.reload(bind(after, "after"))
    assert (data["sockets_opened"], data["sockets_closed"]) == (1, 1)
    assert fetch(f"127.0.0.1:{port}", "/own").text == "after"
    gate.reload(bind(before, "before"))
    done.set()
    thread.join(TIMEOUT)
    assert not [f for f in failures if isinstance(f, ConnectionRefusedError)], failures


def test_what_needs_a_restart_is_told_and_the_rest_applied(gate):
    def edit(config):
        say("new")(config)
        config["global"]["workers"] = 3
        config["global"]["log"]["queue"] = 128
        config["global"]["control"] = [{"socket": "other.sock"}]

    data = gate.reload(edit)
    assert {"global.workers", "global.log.queue"} <= set(data["needs_restart"])
    assert gate.logged(event="needs_restart", key="global.workers")
    assert gate.fetch("/own").text == "new" and gate.control.json("show info")["workers"] == 2
    shown = gate.control.ask("show config")
    assert "workers: 2" in shown and "other.sock" not in shown  # in force is what runs
    assert "global.workers" in gate.reload(say("newer"))["needs_restart"], "it still does"
    assert not gate.path.with_name("other.sock").exists()


def test_the_process_log_moves(gate, tmp_path):
    log = tmp_path / "moved.log"
    gate.reload(lambda c: c["global"]["log"].update(to=f"file:{log}", format="text", level="debug"), is_logged=False)
    eventually(lambda: log.exists() and " reloaded: " in log.read_text(), "the log in its new place")
    assert gate.control.json("show info")["log_level"] == "debug"
    gate.reload(lambda c: c["global"]["log"].update(to="stderr", format="json"))
    gate.logged(event="reloaded", number=2)
    gate.control.ok("log level warn")
    gate.reload(say("new"), is_logged=False)
    assert gate.control.json("show info")["log_level"] == "warn", "set by hand: it stays until the file says another"


# --- what is refused --------------------------------------------------------------------------------------------------


def broken_files():
    def text(change):
        return lambda config: change(json.dumps(config, indent=1))

    return {
        "no YAML": text(lambda t: t[:-20]),
        "empty": lambda _: "",
        "unknown key": lambda c: {**c, "frontend": {}},
        "wrong value": lambda c: {**c, "global": {**c["global"], "max_connections": "many"}},
        "missing backend": lambda c: {**c, "frontends": {"web": {**BIND, "default_backend": "nowhere"}}},
        "no version": lambda c: {k: v for k, v in c.items() if k != "version"},
        "bytes": lambda _: b"\xff\xfe\x00\x01",
    }


def test_broken_files_change_nothing(gate):
    client = gate.client()
    for name, change in broken_files().items():
        answer = gate.refuse(change(gate.config), f"{gate.path.name}:")
        problems = answer["data"]["problems"]
        assert all(problem["place"].rpartition("/")[2].startswith(f"{gate.path.name}:") for problem in problems), name
        assert any(problem["severity"] == "error" for problem in problems)
        line = gate.logged(event="configuration", message=problems[0]["message"])
        assert problems[0]["place"] == f"{line['file']}:{line['line']}:{line['column']}"
        assert client.request("GET", "/own").read_response().text == "old"
    client.close()
    gate.stop(allow_errors=True)


def test_a_missing_file_changes_nothing(gate):
    gate.path.unlink()
    assert "No such file" in gate.control.error("reload", "config")
    assert "No such file" in gate.control.error("reload /nowhere/x.yaml", "config")
    assert gate.fetch("/own").text == "old"
    assert gate.control.error("reload a b", "usage")
    assert gate.control.error("reload confirm within 0", "usage")
    assert gate.control.error("reload confirm within 5", "usage")


def test_what_cannot_be_had_changes_nothing(gate, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"

        def edit(config):
            say("new")(config)
            config["frontends"]["first"] = BIND | {"default_backend": "app"}
            config["frontends"]["taken"] = {"bind": [taken], "default_backend": "app"}
            servers_of(config).append({"name": "a2", "address": "127.0.0.1:9"})

        gate.refuse(edit, "Address already in use")
    gate.refuse(lambda c: c["global"]["log"].update(to=f"file:{tmp_path}/no/such/folder/log"), "cannot open the log file")
    gate.refuse(lambda c: c["frontends"]["web"]["access_log"].update(to=f"file:{tmp_path}/no/folder/log"), "cannot open")
    assert gate.fetch("/own").text == "old" and gate.server("a2") is None
    assert gate.control.json("show servers")[0]["server"] == "a1"
    gate.reload(say("new"))
    assert gate.fetch("/own").text == "new"


# --- several at once --------------------------------------------------------------------------------------------------


@pytest.mark.threads
def test_reloads_at_once_wait_for_each_other(gate):
    gate.write(say("new"))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(gate.control.json("reload")["number"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert sorted(answers) == list(range(1, 9))
    with gate.control.open() as raw:
        raw.send("reload;" * 20 + "show info json\n").end()
        assert raw.rest().decode().count("ok: ") == 20
    assert gate.fetch("/own").text == "new"
    gate.wait_alone()


@pytest.mark.threads
def test_reload_while_it_stops(gate):
    gate.write(say("new"))
    with gate.client() as client, gate.control.open() as raw:
        client.request("GET", "/delay/700/size/3")
        eventually(lambda: gate.server("a1")["active"] == 1, "the request under way")
        raw.send("reload; shutdown; reload; rollback\n")
        assert raw.answer().startswith("ok: configuration 1")
        assert raw.answer().startswith("ok: ")
        assert raw.answer() == "error: conflict: the process is stopping\n"
        assert raw.answer() == "error: conflict: the process is stopping\n"
        assert client.read_response().body == pattern(3) and client.is_closed()
    assert gate.wait_exit() == 0
    gate.assert_clean()


@pytest.mark.threads
@pytest.mark.parametrize("how", ["shutdown now", "shutdown"])
def test_shutdown_in_the_middle_of_reloads(gate, how):
    gate.reload(lambda c: c["global"].update(shutdown={"grace": "200ms"}))
    gate.write(lambda c: (say("new")(c), c["frontends"].update(more={**BIND, "default_backend": "app"})))
    with gate.client() as client, gate.control.open() as raw:
        client.request("GET", "/hang")
        eventually(lambda: gate.server("a1")["active"] == 1, "the request under way")
        raw.send("reload confirm within 1h\n" + "reload\n" * 5 + how + "\n")
        assert gate.wait_exit() == 0
    gate.assert_clean()
