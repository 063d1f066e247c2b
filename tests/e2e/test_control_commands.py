"""Every command of the control socket through socat: its text, its JSON, its misuse, and who may not."""

import json
import os
import re
import subprocess

import pytest
from control_client import control, control_settings
from gates import shared
from support import LOOMGATE_BIN, eventually, run_loomgate, web_config, write_config

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def build(world):
    servers = [{"name": "a1", "address": world.origin().address, "weight": 3, "max_connections": 50},
               {"name": "b1", "address": "127.0.0.1:9", "backup": True}]
    return web_config(
        *servers, settings=control_settings(workers=2, max_connections=500),
        frontend={"max_connections": 100, "routes": [{"match": {"path": "/own"}, "respond": {"status": 200}}]},
        frontends={"db": {"mode": "tcp", "bind": ["127.0.0.1:0", "127.0.0.1:0"], "default_backend": "raw"}},
        backend={"breaker": {"open": "30s"}}, backends={"raw": {"servers": ["127.0.0.1:9"], "breaker": "off"}})


web = shared(build)


@pytest.fixture
def admin(web):
    return control(web.gate)


def commands():
    """The rows that the program prints: (words, arguments, level, example)."""
    printed = subprocess.run([LOOMGATE_BIN, "--print-commands"], capture_output=True, text=True, check=True).stdout
    for line in printed.splitlines()[3:]:
        usage, level, _, example = re.split(r"(?<!\\) \| ", line.strip("| "))
        usage = usage.strip("`").replace("\\|", "|")
        words = re.match(r"[a-z ]+?(?= [\[A-Z]| [a-z]+\||$)", usage)[0]
        yield words, usage[len(words) + 1:], level, example.strip("`")


ROWS = list(commands())
# They end it, or have not one answer.
NOT_HERE = ("shutdown", "upgrade", "prompt", "stream stats", "stream events", "stream requests")


def test_there_are_commands():
    assert len(ROWS) > 15 and {level for _, _, level, _ in ROWS} == {"user", "operator", "admin"}


@pytest.mark.parametrize("words, arguments, level, example", ROWS)
def test_each_command(web, words, arguments, level, example):
    """What holds for all of them: help, too many words, the wrong level, JSON of its example."""
    told = control(web.gate).json(f"help {words}")
    rows = told if isinstance(told, list) else [told]
    assert {"command": f"{words} {arguments}".strip(), "level": level, "example": example} == {
        key: value for key, value in rows[0].items() if key != "help"}
    assert example.removesuffix(" json").startswith(words)
    control(web.gate).error(f"{words} a b c d e", "usage")
    for lower in ("user", "operator"):
        if (level == "admin" or level == "operator" and lower == "user"):
            assert f"needs the level {level}" in control(web.gate, lower).error(f"{words} x", "denied")
    if words not in NOT_HERE and not words.startswith("stream"):
        answer = control(web.gate).raw_json(example.removesuffix(" json"))
        assert answer["ok"] or answer["error"] in ("no_such_server", "config", "conflict", "unknown_command"), answer


def test_help(admin, web):
    everything = admin.lines("help")
    assert len(everything) == len(ROWS) + 1
    assert any(line.startswith("breaker reset BACKEND[/SERVER]  ") for line in everything)
    assert len(control(web.gate, "user").lines("help")) == 1 + sum(level == "user" for _, _, level, _ in ROWS)
    assert len(admin.lines("help show")) == 1 + sum(words.startswith("show ") for words, *_ in ROWS)
    assert admin.lines("help log level")[0] == "command  log level debug|info|warn|error"
    assert "did you mean 'show servers'?" in admin.error("help show server", "unknown_command")


def test_show_version(admin):
    status, printed, _ = run_loomgate("-V")
    data = admin.json("show version")
    assert status == 0 and f"loomgate {data['version']} ({data['build']} build" in printed
    for name, version in data["libraries"].items():
        assert f"{name} {version}" in printed
    assert admin.lines("show version")[0].split() == ["version", data["version"]]


def test_show_info(admin, web):
    before = admin.json("show info")
    for _ in range(5):
        assert web.gate.fetch("/own").status == 200
    with web.gate.client() as client:
        assert client.request("GET", "/size/10").read_response().status == 200
        data = {}

        def is_all_counted():  # a moment after the client has its response, or has gone
            data.update(admin.json("show info"))
            return data["requests"]["total"] >= before["requests"]["total"] + 6 and data["connections"]["open"] <= 1

        eventually(is_all_counted, "six requests and one client left")
        assert data["connections"]["open"] == 1 and data["connections"]["limit"] == 500
    assert data["requests"]["total"] == before["requests"]["total"] + 6
    eventually(lambda: admin.json("show info")["requests"]["rps"] > 0, "the next second's tick")
    assert data["connections"]["total"] == before["connections"]["total"] + 6
    assert data["pid"] == web.gate.pid and data["workers"] == 2 and data["state"] == "running"
    assert data["file"] == str(web.gate.path) and TIME.fullmatch(data["started"])
    assert 0 < data["uptime"] < 3600 and data["memory"] > 1 << 20 and data["control_clients"] == 1
    assert 10 < data["descriptors"]["open"] < data["descriptors"]["limit"]
    text = admin.lines("show info")
    assert any(re.fullmatch(r"memory +[0-9.]+ [KMG]iB", line) for line in text), text
    assert any(re.fullmatch(r"uptime +[0-9.hms]+", line) for line in text), text


def test_show_config_loads_again(admin, web, tmp_path):
    text = admin.ask("show config")
    path = write_config(text, tmp_path, "again.yaml")
    status, printed, errors = run_loomgate("-c", "-f", path)
    assert (status, printed, errors) == (0, f"{path}: valid\n", "")
    assert admin.json("show config")["yaml"] == text
    assert "max_connections: 500" in text and "admin.sock" in text


def test_show_frontends(admin, web):
    rows = {row["frontend"]: row for row in admin.json("show frontends")}
    assert rows["web"] == {"frontend": "web", "mode": "http", "bind": ["127.0.0.1:0"], "connections": 0, "limit": 100,
                           "routes": 1, "default_backend": "app"}
    assert rows["db"]["mode"] == "tcp" and len(rows["db"]["bind"]) == 2 and rows["db"]["limit"] is None
    assert "127.0.0.1:0, 127.0.0.1:0" in admin.ask("show frontends")


def test_show_backends(admin):
    rows = {row["backend"]: row for row in admin.json("show backends")}
    assert list(rows) == ["app", "raw"]
    assert rows["app"]["balance"] == "round_robin" and rows["app"]["servers"] == 2 and rows["app"]["usable"] == 2
    assert rows["app"]["active"] == 0 and rows["app"]["queued"] == 0
    text = admin.table("show backends")
    assert [row["backend"] for row in text] == ["app", "raw"] and text[0]["usable"] == "2"


def test_show_servers(admin, web):
    assert web.gate.fetch("/size/10").status == 200
    rows = admin.json("show servers")
    assert [(row["backend"], row["server"]) for row in rows] == [("app", "a1"), ("app", "b1"), ("raw", "127.0.0.1:9")]
    first = rows[0]
    assert first["address"] == web.a1.address and first["admin"] == "ready" and first["weight"] == 3
    assert first["breaker"] == "closed" and first["active"] == 0 and first["limit"] == 50 and not first["backup"]
    assert rows[1]["backup"] and rows[1]["limit"] is None
    assert rows[2]["breaker"] == "off"
    eventually(lambda: admin.json("show servers app")[0]["idle"] == 1, "the idle connection")
    assert [row["server"] for row in admin.table("show servers raw")] == ["127.0.0.1:9"]


def test_an_exchange_under_way_is_seen(admin, web):
    with web.gate.client() as client:
        client.request("GET", "/hang")
        eventually(lambda: admin.json("show servers app")[0]["active"] == 1, "an active exchange")
        assert admin.json("show backends")[0]["active"] == 1
        workers = admin.json("show workers")
        assert sum(row["exchanges"] for row in workers) == 1 and sum(row["connections"] for row in workers) == 1
        memory = {row["pool"]: row for row in admin.json("show memory")}
        assert memory["exchanges"]["in_use"] == 1 and memory["clients"]["bytes"] >= 256
        client.reset()
    eventually(lambda: admin.json("show info")["requests"]["active"] == 0, "the end of the exchange")


@pytest.mark.parametrize("command", ["show servers", "show breakers", "breaker reset"])
def test_names_that_there_are_not(admin, command):
    assert admin.error(f"{command} ap", "no_such_backend") == "there is no backend 'ap'; did you mean 'app'?"
    assert admin.error(f"{command} zzzzzz", "no_such_backend") == "there is no backend 'zzzzzz'; there are app, raw"
    if command == "breaker reset":
        assert admin.error("breaker reset app/a2", "no_such_server").endswith("did you mean 'a1'?")
        assert admin.error("breaker reset app/zzzz", "no_such_server").endswith("there are a1, b1")
        assert admin.error("breaker reset app/", "no_such_server").endswith("there are a1, b1")
    else:
        admin.error(f"{command} app/a1", "usage")


def test_show_workers_and_memory(admin):
    workers = admin.json("show workers")
    assert [row["worker"] for row in workers] == [0, 1] and all(row["turns_total"] > 0 for row in workers)
    eventually(lambda: all(row["latency"]["p99"] is not None for row in admin.json("show workers")), "sixteen turns")
    memory = {row["pool"]: row["bytes"] for row in admin.json("show memory")}
    assert memory["read_buffers"] == 3 * 288 * 1024 and memory["config"] > 1000
    assert re.search(r"^read_buffers +3 +864\.0 KiB", admin.ask("show memory"), re.M)


# --- breakers ---------------------------------------------------------------------------------------------------------


def breaker(admin, server="a1"):
    return next(row for row in admin.json("show breakers app") if row["server"] == server)


def test_breakers_by_hand(web):
    operator = control(web.gate, "operator")
    operator.ok("breaker reset app")
    assert breaker(operator)["state"] == "closed"
    trips = breaker(operator)["trips"]
    assert operator.ok("breaker trip app/a1 for 1m") == "the breaker of app/a1 is open for 1m00s"
    row = breaker(operator)
    assert row["state"] == "open" and row["trips"] == trips + 1 and 0 < row["half_opens_in"] <= 60
    assert TIME.fullmatch(row["changed"]) and row["reason"] == "operator" and breaker(operator, "b1")["state"] == "closed"
    assert operator.json("show servers app")[0]["breaker"] == "open"
    assert operator.json("show backends")[0]["usable"] == 1
    assert operator.ok("breaker reset app/a1") == "the breaker of app/a1 is closed; its window is empty"
    assert operator.ok("breaker reset app/a1") == "the breaker of app/a1 was closed already; its window is empty"
    assert breaker(operator)["state"] == "closed" and breaker(operator)["half_opens_in"] is None
    assert web.gate.fetch("/size/10").status == 200
    operator.ok("breaker trip app/a1")
    assert 0 < breaker(operator)["half_opens_in"] <= 30
    assert operator.ok("breaker reset app").startswith("1 of 2 breakers of app were not closed")
    events = [row["event"] for row in operator.json("show events")]
    assert events.count("breaker_tripped") >= 2 and events.count("breaker_reset") >= 2


@pytest.mark.parametrize("command, code", [
    ("breaker trip app", "usage"), ("breaker trip app/a1 for", "usage"), ("breaker trip app/a1 1m 2m", "usage"),
    ("breaker trip app/a1 for 5", "usage"), ("breaker trip app/a1 for 0", "usage"),
    ('breaker trip app/a1 "for" 5s', "usage"), ("breaker trip raw/127.0.0.1:9", "conflict"),
    ("breaker reset raw", "conflict"), ("breaker reset", "usage"),
])
def test_breakers_misused(admin, command, code):
    admin.error(command, code)


# --- events and the audit ---------------------------------------------------------------------------------------------


def test_show_events(admin):
    rows = admin.json("show events")
    ready = next(row for row in rows if row["event"] == "ready")
    assert ready["level"] == "info" and ready["fields"]["workers"] == 2 and TIME.fullmatch(ready["time"])
    admin.ok("log reopen")
    assert [row["event"] for row in admin.json("show events 1")] == ["logs_reopened"]
    assert admin.json("show events 0") == []
    assert "none" in admin.ask("show events 0")
    assert "not a number" in admin.error("show events x", "usage")
    admin.error("show events 513", "usage")
    assert re.search(r"ready +serving +version=", admin.ask("show events"))


def test_every_change_is_logged_with_who_asked(web):
    operator, user = control(web.gate, "operator"), control(web.gate, "user")
    operator.ok('log level "info"')
    operator.ask("log level wran")
    user.ask("log reopen")
    operator.ask("show info")
    told = [line for line in web.gate.log.lines if line["event"] == "control_command"][-3:]
    rows = web.gate and control(web.gate).json("show audit")[-3:]
    wanted = [('log level "info"', "ok"), ("log level wran", "usage"), ("log reopen", "denied")]
    assert [(row["command"], row["result"]) for row in rows] == wanted
    for row in rows:
        assert (row["uid"], row["gid"]) == (os.geteuid(), os.getegid()) and row["pid"] > 1 and TIME.fullmatch(row["time"])
    eventually(lambda: [line for line in web.gate.log.lines if line["event"] == "control_command"
                        and line["command"] == "log reopen" and line["result"] == "denied"], "the log line")
    told = [line for line in web.gate.log.lines if line["event"] == "control_command"][-3:]
    assert [(line["command"], line["result"], line["uid"]) for line in told] == [(*w, os.geteuid()) for w in wanted]


def test_the_audit_keeps_the_last_256(web):
    admin = control(web.gate)
    admin.socat("breaker reset app/b1;" * 300 + "\n")
    admin.ok("breaker reset app/a1")
    rows = admin.json("show audit")
    assert len(rows) == 256 and rows[-1]["command"] == "breaker reset app/a1"
    long = "breaker reset app" + " x" * 200
    admin.ask(long)
    assert admin.json("show audit")[-1]["command"] == long[:256]
    admin.ask("breaker reset \x1b[2J\xff\x00")
    assert "\x1b" not in admin.ask("show audit")


# --- the log ----------------------------------------------------------------------------------------------------------


def test_log_level(loomgate):
    gate = loomgate(web_config("127.0.0.1:9", settings=control_settings()))
    admin = control(gate)
    assert admin.ok("log level error") == "the log is written from the level error on"
    assert admin.json("show info")["log_level"] == "error"
    admin.ok("log reopen")  # told with the level info
    admin.ok("log level info")
    admin.ok("log reopen")
    gate.logged(event="logs_reopened")
    assert sum(line["event"] == "logs_reopened" for line in gate.log.lines) == 1
    assert sum(row["event"] == "logs_reopened" for row in admin.json("show events")) == 2
    assert "did you mean 'warn'?" in admin.error("log level wran", "usage")
    admin.error("log level", "usage")


def test_log_reopen(loomgate, tmp_path):
    config = web_config("127.0.0.1:9", settings=control_settings(),
                        frontend={"access_log": {"to": f"file:{tmp_path}/access"}})
    gate = loomgate(config)
    gate.fetch("/first")
    eventually(lambda: "/first" in (tmp_path / "access").read_text(), "the first record")
    (tmp_path / "access").rename(tmp_path / "old")
    control(gate, "operator").ok("log reopen")
    eventually((tmp_path / "access").exists, "the new file")
    gate.fetch("/second")
    eventually(lambda: "/second" in (tmp_path / "access").read_text(), "the second record")
    assert "/second" not in (tmp_path / "old").read_text()


# --- config check -----------------------------------------------------------------------------------------------------


def test_config_check(admin, web, tmp_path):
    assert admin.ok("config check").startswith(f"{web.gate.path} is valid, with ")
    bad = write_config('version: 1\nglobal: {workers: many}\nbackends: {b: {servers: [x]}}\n', tmp_path, "bad.yaml")
    lines = admin.lines(f"config check {bad}")
    assert lines[0] == f"error: config: {bad}:2:19: 'workers': 'many' is not a whole number; and 1 more"
    assert lines[1] == "problems:" and len(lines) == 5, lines
    answer = admin.raw_json(f'config check "{bad}"')
    assert answer["error"] == "config"
    places = [(row["severity"], row["place"]) for row in answer["data"]["problems"]]
    assert places[0] == ("error", f"{bad}:2:19") and len(places) == 2
    warned = write_config('version: 1\nbackends: {b: {servers: ["127.0.0.1:9"]}}\n', tmp_path, "warned.yaml")
    answer = admin.raw_json(f"config check {warned}")
    assert answer["ok"] and answer["message"].endswith("is valid, with 2 warnings")
    assert {row["severity"] for row in answer["data"]["problems"]} == {"warning"}


def test_config_check_of_what_is_no_file(admin, tmp_path):
    assert "No such file" in admin.error(f"config check {tmp_path}/none", "config")
    assert "not a regular file" in admin.error(f"config check {tmp_path}", "config")
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: opening it would never return
    assert "not a regular file" in admin.error(f"config check {tmp_path}/pipe", "config")
    assert "cannot be read" in admin.error('config check ""', "config")


def test_config_check_heeds_overrides(loomgate):
    gate = loomgate(web_config("127.0.0.1:9", settings=control_settings()), args=["-D", "global.max_connections=7"])
    assert control(gate).json("show info")["connections"]["limit"] == 7
    text = gate.path.read_text().replace('"web"', '"wev"', 1)
    gate.path.write_text(text)
    assert control(gate).ok("config check").endswith("with 0 warnings")


# --- shutdown ---------------------------------------------------------------------------------------------------------


def test_shutdown_waits(loomgate, origin):
    gate = loomgate(web_config(origin(), settings=control_settings()))
    admin = control(gate)
    with gate.client() as client:
        client.request("GET", "/trickle/10/50")
        client.read_head()
        assert admin.ok("shutdown") == "stopping; 1 connections may finish"
        assert admin.json("show info")["state"] == "stopping"
        assert admin.error("shutdown", "conflict").startswith("it is stopping already")
        client.read_all()
    assert gate.wait_exit() == 0
    gate.assert_clean()


def test_shutdown_now(loomgate, origin):
    gate = loomgate(web_config(origin(), settings=control_settings(shutdown={"grace": "60s"})))
    admin = control(gate)
    with gate.client() as client:
        client.request("GET", "/hang")
        eventually(lambda: admin.json("show info")["requests"]["active"] == 1, "the request")
        admin.ok("shutdown")
        assert admin.ok("shutdown now") == "stopping at once; 1 connections are cut"
        assert gate.wait_exit() == 0
    gate.assert_clean()


def test_shutdown_misused(admin, web):
    admin.error("shutdown later", "usage")
    admin.error('shutdown "now"', "usage")
    assert web.gate.process.poll() is None
    assert json.loads(admin.socat("show info json\n"))["data"]["state"] == "running"
