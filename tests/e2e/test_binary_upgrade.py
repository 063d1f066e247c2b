"""`upgrade` and SIGUSR2: another process takes the sockets and the state over; what fails changes nothing."""

import os
import re
import shutil
import signal
import stat
import subprocess
import threading

import pytest
from control_client import Control
from reloads import WEBSOCKET, respond, servers_of
from scale import IS_SANITIZED, scaled
from support import LOOMGATE_BIN, TIMEOUT, Cut, echo, eventually, fetch, pattern, web_config
from test_reload_load import Worker, connection_a_request, download, post, tunnel
from upgrades import Upgrader, is_over

SCRIPT = b"#!/bin/sh\n"


@pytest.fixture
def make(loomgate, origin, tmp_path):
    """make(edit=None, servers=1): two workers, web -> app."""

    def start(edit=None, servers=1, settings=None, **options):
        origins = [origin("-n", f"a{i}") for i in range(1, servers + 1)]
        config = web_config(*({"name": one.name, "address": one.address} for one in origins),
                            settings={"workers": 2, **(settings or {})})
        if edit:
            edit(config)
        gate = Upgrader(loomgate, tmp_path, config, **options)
        gate.origins = origins
        return gate

    return start


def serves(gate):
    assert fetch(gate.web, "/echo").status == 200


# --- that it works ----------------------------------------------------------------------------------------------------


def keep_alive(worker):
    """A process that hands over says with an answer that it is the last one of the connection."""
    response = worker.kept().request("GET", "/size/100").read_response()
    assert response.status == 200 and response.body == pattern(100), response
    if response.header("Connection") == "close":
        worker.client = None


TURNS = [keep_alive] * 6 + [connection_a_request] * 3 + [post] * 2 + [tunnel] * 3 + [download]


def post_and_close(worker):
    post(worker)
    worker.client = None


@pytest.mark.threads
def test_upgrades_under_load(make):
    gate = make(lambda config: config["frontends"]["web"].update(access_log="off"), servers=3)
    turns = [post_and_close if turn is post else turn for turn in TURNS if turn is not download]
    workers = [Worker(gate, turn) for turn in turns]
    for n in range(scaled(20, least=3)):
        least = min(worker.count for worker in workers)
        gate.upgrade()
        if n % 5 == 4:
            workers.append(Worker(gate, tunnel))
        eventually(lambda least=least: any(w.failures for w in workers) or all(w.count > least for w in workers),
                   "everybody goes on")
    for worker in workers:
        worker.done.set()
    for worker in workers:
        worker.join()
    assert not [failure for worker in workers for failure in worker.failures]
    for pid in {gate.pid, *gate.heirs()} - {gate.serving}:
        gate.wait_gone(pid)
    info = gate.control.json("show info")
    assert info["pid"] == gate.serving and info["requests"]["failed"] == {"client": 0, "gateway": 0, "server": 0}
    assert info["upgrades"]["total"] == len(gate.heirs())


@pytest.mark.skipif(not shutil.which("wrk"), reason="there is no wrk")
def test_upgrades_under_wrk(make):
    gate = make(lambda config: config["frontends"]["web"].update(access_log="off"))
    loads = [subprocess.Popen(["wrk", "-t1", "-c64", f"-d{scaled(6, least=3)}s", *more, f"http://{gate.web}/size/100"],
                              stdout=subprocess.PIPE, text=True)
             for more in ((), ("-H", "Connection: close"))]
    count = 0
    while count < 20 and all(load.poll() is None for load in loads):
        gate.upgrade()
        count += 1
    said = [load.communicate(timeout=TIMEOUT)[0] for load in loads]
    for text in said:
        assert "Socket errors" not in text and "Non-2xx" not in text, text
        assert int(re.search(r"(\d+) requests in", text)[1]) > 0
    assert count >= 2


def test_what_is_under_way_ends_in_the_old_process(make):
    gate = make()
    old = gate.pid
    with gate.client() as held, gate.client() as idle, gate.control.open() as command:
        assert held.request("GET", "/upgrade", WEBSOCKET).read_response().status == 101
        assert idle.request("GET", "/echo").read_response().status == 200
        command.send("show version\n").answer()
        gate.upgrade()
        assert held.send(b"still here").read_exactly(10) == b"still here"
        # An idle connection stays until its next response, as a request may have been on its way.
        response = idle.request("GET", "/echo").read_response()
        assert response.status == 200 and response.header("Connection") == "close" and idle.read_all() == b""
        command.send("show info json\n")
        answer = command.answer()
        assert f'"pid":{old},' in answer and '"state":"handed over"' in answer
        assert f'"handed_over_to":{gate.serving}' in answer
        command.send("reload\nupgrade\n")
        assert command.answer().startswith("error: conflict: another process serves now")
        assert command.answer().startswith(f"error: conflict: process {gate.serving} serves already")
        with gate.client() as fresh:  # goes to the new one
            response = fresh.request("GET", "/echo").read_response()
            assert response.header("Connection") is None
        assert gate.process.poll() is None
    gate.wait_gone(old)
    serves(gate)


def test_an_idle_client_ends_by_its_timeout(make):
    gate = make(lambda config: config["frontends"]["web"].update(timeouts={"keep_alive": "300ms"}))
    with gate.client() as idle:
        assert idle.request("GET", "/echo").read_response().status == 200
        gate.upgrade()
        assert idle.read_all() == b""
    gate.wait_gone(gate.pid)


def test_a_signal_and_an_upgrade_of_an_upgrade(make):
    gate = make()
    pids = [gate.pid]
    for _ in range(3):
        gate.upgrade_by_signal()
        pids.append(gate.serving)
        serves(gate)
        gate.wait_gone(pids[-2])
        assert gate.pid_file.read_text() == f"{gate.serving}\n"
    assert len(set(pids)) == 4
    gate.stop()
    assert not gate.pid_file.exists() and not os.path.exists(gate.control.path)


def test_the_control_socket_answers_all_the_time(make):
    gate = make()
    failures, done, count = [], threading.Event(), [0]

    def ask():
        while not done.is_set() and not failures:
            try:
                with gate.control.open() as raw:
                    assert "uptime" in raw.send("show info\n").answer()
                count[0] += 1
            except (OSError, AssertionError) as error:
                failures.append(repr(error))

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(scaled(5, least=2)):
        before = count[0]
        gate.upgrade()
        eventually(lambda before=before: failures or count[0] > before)
    done.set()
    thread.join()
    assert not failures


def test_a_file_that_has_changed(make):
    """Fewer workers than sockets, more, other addresses: what waits anywhere is served."""
    gate = make(lambda config: config["frontends"].update(
        gone={"bind": ["unix:gone.sock"], "default_backend": "app"},
        stays={"bind": ["unix:stays.sock"], "default_backend": "app"}))
    folder = gate.path.parent
    first = gate.web
    for workers in (1, 4, 2):
        def edit(config, workers=workers):
            config["global"]["workers"] = workers
            config["frontends"].pop("gone", None)
            config["frontends"]["web"]["routes"] = [respond(f"with-{workers}")]
            config["frontends"]["more"] = {"bind": ["127.0.0.1:0"], "default_backend": "app"}

        sockets = gate.sockets()
        gate.write(edit)
        gate.upgrade()
        assert gate.address("web") == first and sockets <= gate.sockets()
        for _ in range(40):
            assert fetch(first, "/own").text == f"with-{workers}"
        assert gate.control.json("show info")["workers"] == workers
        assert not (folder / "gone.sock").exists()
        assert fetch(f"unix:{folder}/stays.sock", "/echo").status == 200
        assert fetch(gate.address("more"), "/echo").status == 200
    gate.stop()
    assert not (folder / "stays.sock").exists()


def test_nothing_else_is_inherited(make, tmp_path):
    gate = make(lambda config: config["frontends"]["web"].update(access_log={"to": f"file:{tmp_path}/access.log"}))
    before = gate.open_descriptors()
    for _ in range(3):
        serves(gate)
        gate.upgrade()
        eventually(lambda: gate.open_descriptors() <= before, "closed descriptors")
        with open(f"/proc/{gate.serving}/environ", "rb") as environ:
            names = [entry.split(b"=")[0] for entry in environ.read().split(b"\0")]
        assert len(names) == len(set(names))


def test_signals_are_as_for_any_process(make):
    gate = make()
    fields = ("SigBlk", "SigIgn", "SigCgt")

    def signals(pid):
        with open(f"/proc/{pid}/status") as status:
            return [line for line in status if line.split(":")[0] in fields]

    before = signals(gate.pid)
    gate.upgrade()
    assert signals(gate.serving) == before


# --- what goes over ---------------------------------------------------------------------------------------------------


def test_overrides_and_breakers(make):
    gate = make(lambda config: config["backends"]["app"].update(breaker={"min_requests": 5}), servers=6)
    for command in ("drain app/a1 for 1h", "weight app/a2 7", "weight app/a2 3 for 1h", "breaker trip app/a3 for 10m",
                    "breaker hold app/a4 open", "health app/a5 down", "maint app/a6"):
        assert gate.control.ask(command).startswith("ok: "), command
    breakers = gate.control.json("show breakers")

    def drift():
        """The clock is read anew: what is left of an hour is the same but for a while."""
        rows = gate.control.json("show drift")
        return [row | {"until": bool(row["until"])} for row in rows]

    before = drift()
    assert len(before) == 5 and any(row["until"] for row in before)
    for _ in range(2):
        gate.upgrade()
        assert drift() == before
        now = gate.control.json("show breakers")
        for one, other in zip(breakers, now):
            assert all(one[key] == other[key] for key in ("server", "state", "trips", "reason")), (one, other)
        a3 = next(one for one in now if one["server"] == "a3")
        assert a3["state"] == "open" and 0 < a3["half_opens_in"] <= 600
        assert {echo(gate.web).name for _ in range(10)} == {"a2"}
    gate.control.ok("weight app/a2 config")
    gate.control.ok("breaker release app/a4")
    assert len(drift()) == len(before) - 2


def test_a_server_that_is_down_stays_down(make):
    def edit(config):
        servers_of(config).append({"name": "dead", "address": "127.0.0.1:1"})
        config["backends"]["app"]["health"] = {"http": {"path": "/"}, "interval": "50ms", "fast_interval": "50ms",
                                               "timeout": "50ms", "fall": 3}

    gate = make(edit)
    gate.logged(event="server_down", server="dead")
    for _ in range(2):
        before = gate.server("dead")
        gate.upgrade()
        after = gate.server("dead")
        assert before["health"] == after["health"] == "down" and after["check"]["reason"] == before["check"]["reason"]
        assert gate.server("a1")["health"] == "up"
    assert len([line for line in gate.log.lines if line.get("event") == "server_down"]) == 1


def test_counters_go_on(make):
    def edit(config):
        config["frontends"]["web"]["routes"] = [respond("own"), {"match": {"path": "/metrics"}, "metrics": True}]

    gate = make(edit)

    def totals():
        text = fetch(gate.web, "/metrics").text
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines()
                if "_total" in line and line.startswith("loomgate_") or "duration_seconds_" in line}

    for _ in range(7):
        assert fetch(gate.web, "/echo").status == 200 and fetch(gate.web, "/own").status == 200
    eventually(lambda: totals().get('loomgate_frontend_duration_seconds_count{frontend="web"}', 0) >= 14)
    before, started = totals(), gate.control.json("show info")["started"]
    gate.upgrade()
    after = totals()
    assert after.keys() >= before.keys()
    for name, value in before.items():
        if "cpu_seconds" not in name and "log_lost" not in name:
            assert after[name] >= value, name
    assert after['loomgate_backend_exchanges_total{backend="app"}'] == 7
    assert after['loomgate_route_exchanges_total{frontend="web",route="own"}'] == 7
    assert gate.control.json("show info")["started"][:19] == started[:19]
    fetch(gate.web, "/own")
    eventually(lambda: totals()['loomgate_route_exchanges_total{frontend="web",route="own"}'] == 8)


def test_reloads_are_counted_on(make):
    gate = make()
    gate.reload()
    gate.upgrade()
    assert gate.state()["total"] == 1
    assert gate.reload()["number"] == 2


# --- when it does not work --------------------------------------------------------------------------------------------


BROKEN = {
    "garbage": (b"\x00\x01garbage", "cannot be started: Exec format error"),
    "no program": (None, "cannot be started: No such file or directory"),
    "exits": (SCRIPT + b"exit 3\n", "the new process exited with status 3 before it served"),
    "killed": (SCRIPT + b"kill -SEGV $$\n", "the new process was ended by signal 11"),
    "another program": (SCRIPT + b"exit 0\n", "the new process exited with status 0 before it served"),
}


@pytest.mark.parametrize("program, sentence", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_program(make, program, sentence):
    gate = make()
    with gate.client() as client:
        assert client.request("GET", "/echo").read_response().status == 200  # from here on it has been accepted
        gate.replace(program)
        for _ in range(2):
            gate.refuse_upgrade(sentence)
            response = client.request("GET", "/echo").read_response()
            assert response.status == 200 and response.header("Connection") is None
        serves(gate)
    gate.replace(LOOMGATE_BIN)
    gate.upgrade()
    gate.wait_gone(gate.pid)
    serves(gate)


def test_a_file_in_error(make, unreachable):
    gate = make()
    gate.write("version: 1\nfrontends: {web: {bnd: []}}\n")
    assert gate.refuse_upgrade("'bind' is missing", "config").startswith(f"{gate.path}:2:13: ")
    gate.write(lambda config: config["frontends"]["web"]["bind"].append(unreachable))
    gate.refuse_upgrade("Address already in use", "config")
    serves(gate)
    gate.path.unlink()
    gate.refuse_upgrade("the file cannot be read", "config")
    gate.write(None)
    gate.upgrade()
    serves(gate)
    gate.stop(allow_errors=True)


def hang(gate):
    """An upgrade to a program that says nothing: the connection that waits for its answer, and its pid."""
    gate.replace(SCRIPT + b"exec sleep 1000\n")
    raw = gate.control.open()
    raw.send("upgrade\n")
    return raw, gate.logged(event="upgrade_started")["pid"]


def test_others_wait_for_it_or_are_refused(make):
    gate = make()
    raw, pid = hang(gate)
    with raw, gate.control.open() as reload:
        assert "an upgrade is under way" in gate.control.error("upgrade", "conflict")
        reload.send("reload\n")
        serves(gate)
        assert gate.state()["total"] == 0
        os.kill(pid, signal.SIGTERM)
        assert raw.answer().startswith("error: internal: the new process was ended by signal 15")
        assert reload.answer().startswith("ok: configuration 1 is in force")
    gate.replace(LOOMGATE_BIN)
    gate.upgrade()


def test_sigterm_during_an_upgrade(make):
    gate = make()
    raw, pid = hang(gate)
    with raw:
        gate.signal(signal.SIGTERM)
        assert b"stop" in raw.rest()
    gate.wait_gone(gate.pid)
    eventually(lambda: is_over(pid))


def test_who_asked_may_leave(make):
    gate = make()
    raw, pid = hang(gate)
    raw.close()
    os.kill(pid, signal.SIGKILL)
    gate.logged(event="upgrade_failed")
    gate.replace(LOOMGATE_BIN)
    gate.upgrade()


def test_a_reload_on_trial_comes_first(make):
    gate = make()
    gate.reload(words="confirm within 1h")
    gate.refuse_upgrade("use 'confirm' or 'rollback' first", "conflict")
    gate.control.ok("confirm")
    gate.upgrade()


def test_only_an_administrator_may(loomgate, origin, tmp_path):
    config = web_config(origin())
    gate = Upgrader(loomgate, tmp_path, config)
    gate.write(lambda c: c["global"].update(control=[{"socket": "operator.sock", "level": "operator"}]))
    gate.upgrade_by_signal()
    operator = Control(tmp_path / "operator.sock")
    assert "needs the level admin" in operator.error("upgrade", "denied")
    assert not os.path.exists(gate.control.path)  # the new file does not have it


def test_process_1_has_no_heir(make):
    namespace = ["unshare", "--pid", "--fork", "--kill-child"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("no process numbers of one's own here")
    gate = make(prefix=namespace)
    assert "this is process 1" in gate.control.error("upgrade", "conflict")
    serves(gate)
    gate.control.ok("shutdown")
    assert gate.wait_exit() == 0


@pytest.mark.skipif(os.geteuid() != 0 or IS_SANITIZED, reason="only root may change the root, and leaks need /proc")
def test_a_program_outside_of_the_chroot(make, tmp_path):
    gate = make(settings={"chroot": str(tmp_path)})
    assert "is not there in the chroot" in gate.control.error("upgrade", "conflict")
    serves(gate)


# --- the old one's end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
def test_sigterm_ends_the_old_one_as_usual(make, times):
    gate = make(settings={"shutdown": {"grace": "200ms" if times == 1 else "60s"}})
    with gate.client() as held, gate.client() as idle:
        assert held.request("GET", "/upgrade", WEBSOCKET).read_response().status == 101
        assert idle.request("GET", "/echo").read_response().status == 200
        gate.upgrade()
        gate.signal(signal.SIGTERM)
        gate.logged(event="stopping", level="info")
        assert idle.read_all() == b""
        if times == 2:
            gate.signal(signal.SIGTERM)
        try:
            assert held.read_all() == b""
        except (Cut, ConnectionError):
            pass
    gate.wait_gone(gate.pid)
    serves(gate)
    assert gate.pid_file.read_text() == f"{gate.serving}\n" and os.path.exists(gate.control.path)


def test_closed_sockets_that_live_on_wake_nobody(make):
    """No loop of the old process waits for what it has closed (proc_pid_fdinfo(5))."""
    gate = make()

    def waits_for(pid):
        folder, found = f"/proc/{pid}", set()
        for fd in os.listdir(f"{folder}/fd"):
            with open(f"{folder}/fdinfo/{fd}") as info:
                found |= {line.split()[1] for line in info if line.startswith("tfd:")}
        return found, set(os.listdir(f"{folder}/fd"))

    with gate.client() as held:
        assert held.request("GET", "/upgrade", WEBSOCKET).read_response().status == 101
        before, _ = waits_for(gate.pid)
        gate.upgrade()
        eventually(lambda: not gate.listening(gate.pid), "its listening sockets are closed")
        after, is_open = waits_for(gate.pid)
        assert after <= is_open and len(after) < len(before)
        assert held.send(b"x").read_exactly(1) == b"x"
    gate.wait_gone(gate.pid)


def test_rights_of_control_sockets(make):
    gate = make()
    gate.write(lambda config: config["global"]["control"][0].update(mode="0660"))
    gate.upgrade()
    assert stat.S_IMODE(os.stat(gate.control.path).st_mode) == 0o660
    serves(gate)
