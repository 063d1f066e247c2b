"""The control sockets and their conversation: files and rights, lines and words, many clients, and those who misbehave."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess

import pytest
from control_client import LEVELS, Control, control, control_settings
from gates import shared
from scale import IS_SANITIZED
from support import TIMEOUT, eventually, run_loomgate, web_config, write_config

LINE_MAX = 16384
GROWTH_MAX = (400 if IS_SANITIZED else 8) << 20  # of memory, by one client; sanitizers keep what was freed

web = shared(lambda world: web_config("127.0.0.1:9", settings=control_settings(shutdown={"grace": "60s"})))


def ask(web, lines, level="admin"):
    return control(web.gate, level).socat(lines)


# --- files and rights -------------------------------------------------------------------------------------------------


def start(loomgate, **settings):
    return loomgate(web_config("127.0.0.1:9", settings=settings))


def test_a_socket_has_its_mode_and_goes_at_the_end(loomgate, tmp_path):
    gate = start(loomgate, control=[{"socket": "a.sock"}, {"socket": "b.sock", "mode": "666"}])
    for name, mode in (("a.sock", 0o600), ("b.sock", 0o666)):
        info = (tmp_path / name).stat()
        assert stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == mode and info.st_uid == os.geteuid()
    told = gate.logged(event="control_listening", socket="b.sock")
    assert told["mode"] == "666" and told["access"] == "user"
    gate.stop()
    assert not list(tmp_path.glob("*.sock"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_and_group(loomgate, tmp_path):
    start(loomgate, control=[{"socket": "a.sock", "owner": "nobody", "group": "54321"}])
    info = (tmp_path / "a.sock").stat()
    assert info.st_gid == 54321 and info.st_uid not in (0, 54321)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_bound_before_privileges_are_dropped(loomgate, tmp_path):
    """In a folder where the user could not make it."""
    tmp_path.chmod(0o755)
    gate = start(loomgate, user="nobody", control=[{"socket": "a.sock", "level": "admin"}])
    assert (tmp_path / "a.sock").stat().st_uid == 0
    assert Control(tmp_path / "a.sock").json("show info")["pid"] == gate.pid


def test_a_stale_file_is_replaced(loomgate, tmp_path):
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(tmp_path / "a.sock"))
        old.listen()
    start(loomgate, control=[{"socket": "a.sock"}])
    assert Control(tmp_path / "a.sock").json("show version")["version"]


def start_failure(tmp_path, *controls, **settings):
    path = write_config(web_config("127.0.0.1:9", settings={"control": list(controls), **settings}), tmp_path, "x.yaml")
    status, _, errors = run_loomgate("-f", path, folder=tmp_path)
    assert status == 1
    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    return next(line["message"] for line in lines if line["event"] == "start_failed")


def test_a_live_socket_is_not_taken(loomgate, tmp_path):
    gate = start(loomgate, control=[{"socket": "a.sock", "level": "admin"}])
    why = start_failure(tmp_path, {"socket": "b.sock"}, {"socket": "a.sock"})
    assert "global.control" in why and "a.sock" in why and "in use" in why
    assert Control(tmp_path / "a.sock").json("show info")["pid"] == gate.pid
    assert not (tmp_path / "b.sock").exists(), "what was bound before the failure is taken back"


@pytest.mark.parametrize("control_setting, word", [
    ({"socket": "no/such/folder.sock"}, "No such file"),
    ({"socket": "a.sock", "owner": "no-such-user-here"}, "no user 'no-such-user-here'"),
    ({"socket": "a.sock", "group": "no-such-group-here"}, "no group 'no-such-group-here'"),
])
def test_what_cannot_be_bound(tmp_path, control_setting, word):
    assert word in start_failure(tmp_path, control_setting)
    assert not list(tmp_path.glob("*.sock"))


def test_another_file_at_the_path_is_spared(loomgate, tmp_path):
    (tmp_path / "a.sock").write_text("mine")
    assert "a.sock" in start_failure(tmp_path, {"socket": "a.sock"})
    assert (tmp_path / "a.sock").read_text() == "mine"
    gate = start(loomgate, control=[{"socket": "b.sock"}])
    (tmp_path / "b.sock").unlink()
    (tmp_path / "b.sock").write_text("somebody else's by now")
    gate.stop()
    assert (tmp_path / "b.sock").exists()


def test_without_control_there_is_no_socket(loomgate, tmp_path):
    start(loomgate)
    assert not list(tmp_path.glob("*.sock"))


# --- the conversation -------------------------------------------------------------------------------------------------

VERSION = "error: usage: show version\n\n"  # short, and always the same


LINES = [
    ("show version x\n", 1),
    ("show version x", 1),
    ("show version x\r\n", 1),
    ("show version x\r\nshow version x\r\n", 2),
    ("show version x;show version x\n", 2),
    (" ;; show   version\tx ;\n\n\r\n;\nshow version x", 2),
    ('"show" version "a;b c"\n', 1),
    ("show\\ version; show version x\n", None),
    ("show version \\;\n", 1),
    ("", 0),
    ("\n", 0),
    ("show version x\n" * 300, 300),
    ("show version x;" * 1000 + "\n", 1000),
]


def test_lines_and_commands(web):
    for lines, answers in LINES:
        got = ask(web, lines)
        if answers is not None:
            assert got == VERSION * answers, lines[:100]
            continue
        assert got.startswith("error: unknown_command: there is no command 'show version'; ") and got.endswith(VERSION)


@pytest.mark.parametrize("line, sentence", [
    ('show "version', "a quote is not closed"),
    ("show version \\", "a backslash at the end of the line"),
    pytest.param("x " * 300, "more than 256 words in a command", id="many words"),
])
def test_lines_that_cannot_be_parsed(web, line, sentence):
    assert ask(web, f"{line}\nshow version x\n") == f"error: usage: {sentence}\n\n" + VERSION


def test_json_is_the_last_word_and_not_quoted(web):
    answer = json.loads(ask(web, "help json\n"))
    assert answer["ok"] is True and {"command", "level", "help", "example"} == set(answer["data"][0])
    assert ask(web, 'help "json"\n').startswith("error: unknown_command: ")
    assert ask(web, "json\n").startswith('{"ok":false,"error":"unknown_command"')
    assert ask(web, "help json json\n").startswith('{"ok":false,"error":"unknown_command"')


def test_held_open(web):
    with control(web.gate).open() as raw:
        assert raw.send("show ver").send("sion x\nshow").answer() + "\n" == VERSION
        assert raw.send(" version x\n").answer() + "\n" == VERSION
        raw.send("prompt\n")
        assert raw.answer() == "ok: a prompt from now on\n" and raw.until(b"> ") == b"> "
        raw.send("show version x; show version x\n")
        assert raw.until(b"> ").decode() == VERSION * 2 + "> "
        assert raw.send("\n").until(b"> ") == b"> "
        raw.send("quit; show version x\nshow version x\n")
        assert raw.rest() == b"ok: closing\n\n"


def test_levels(web):
    for level in LEVELS:
        commands = {row["command"].split(" [")[0] for row in control(web.gate, level).json("help")}
        assert ("log reopen" in commands) == (level != "user") and ("shutdown" in commands) == (level == "admin")
        assert "show info" in commands
    denied = control(web.gate, "user").error("log reopen", "denied")
    assert denied == "'log reopen' needs the level operator; this socket gives user"
    denied = control(web.gate, "operator").error("shutdown", "denied")
    assert denied == "'shutdown' needs the level admin; this socket gives operator"
    assert web.gate.process.poll() is None


@pytest.mark.parametrize("command, near", [
    ("shw info", "'show info'"), ("show servres app", "'show servers'"), ("hlep", "'help'"), ("breaker rest app", "reset"),
    ("show", "goes on with: version, info"), ("log x", "goes on with: level, reopen"), ("zzzz", "'help' lists"),
])
def test_the_nearest_command(web, command, near):
    assert near in control(web.gate).error(command, "unknown_command")


# --- those who misbehave ----------------------------------------------------------------------------------------------


def test_garbage(web):
    got = ask(web, "\x00\x01\x02\x7f\x1b[2J\x00 x\n")
    assert got.startswith("error: unknown_command: ") and "\\x1b" in got and "\x1b" not in got
    with control(web.gate).open() as raw:
        raw.send(bytes(range(256)) * 16 + b"\nshow version x\n").end()
        assert raw.rest().decode().endswith(VERSION)
    with control(web.gate).open() as raw:
        raw.send(os.urandom(LINE_MAX * 4)).end()
        with contextlib.suppress(ConnectionError):  # a random line may be too long, and ends it
            raw.rest().decode()
    assert web.gate.process.poll() is None


def test_the_longest_line(web):
    line = "show version " + "x" * (LINE_MAX - len("show version "))
    for end in ("\n", "\r\n"):
        with control(web.gate).open() as raw:
            assert raw.send(line + end).answer() + "\n" == VERSION
            raw.send(line + "x" + end + "show version x\n").end()
            assert raw.rest() == b"error: too_long: a line has at most 16 KiB\n\n"


def test_a_hundred_megabytes_without_a_line_end(web):
    before = web.gate.resident_bytes()
    with control(web.gate).open() as raw:
        sent = 0
        with contextlib.suppress(ConnectionError):  # it is cut off sooner or later
            while sent < 100 << 20:
                raw.send(b"x" * (1 << 20))
                sent += 1 << 20
            raw.end()
        with contextlib.suppress(ConnectionError):
            assert raw.rest() in (b"error: too_long: a line has at most 16 KiB\n\n", b"")
    assert web.gate.resident_bytes() - before < GROWTH_MAX
    assert ask(web, "show version x\n") == VERSION


def test_close_in_the_middle(web):
    """Before a line's end, before its answer, and in the middle of one."""
    descriptors = web.gate.descriptors()
    for data in (b"", b"sho", b"show version x\n", b"help;" * 200 + b"\n", b"show servers;" * 50 + b"\n"):
        for _ in range(20):
            with control(web.gate).open() as raw:
                raw.send(data)
    assert ask(web, "show version x\n") == VERSION
    eventually(lambda: web.gate.descriptors() <= descriptors, "closed descriptors")


def test_a_client_that_does_not_read_holds_nobody_up(web):
    before = web.gate.resident_bytes()
    with control(web.gate).open() as deaf:
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(TimeoutError):
            deaf.sock.settimeout(0.2)
            for _ in range(2000):
                deaf.send("help;" * 100 + "\n")
        for _ in range(20):
            assert ask(web, "show version x\n") == VERSION
        assert web.gate.resident_bytes() - before < GROWTH_MAX
        # Its answer waits for ten seconds, then it is given up.
        eventually(lambda: control(web.gate).json("show info")["control_clients"] == 1, "one client", every=0.2)


def test_sixty_four_at_once(web):
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(control(web.gate).open()) for _ in range(64)]
        for raw in raws:
            assert raw.send("show version x\n").answer() + "\n" == VERSION
        with control(web.gate).open() as late:
            assert late.rest() == b"error: conflict: 64 clients are connected to this socket already\n\n"
        assert ask(web, "show version x\n", "user") == VERSION  # another socket has its own
        for raw in raws:
            raw.send("show version x;show servers;show version x\n")
        for raw in raws:
            assert raw.answer() + "\n" == VERSION and "server" in raw.answer() and raw.answer() + "\n" == VERSION
        raws[0].close()

        def comes_in():
            with control(web.gate).open() as raw, contextlib.suppress(ConnectionError):
                return raw.send("show version x\n").answer() + "\n" == VERSION

        eventually(comes_in, "a free place")


def test_a_command_that_takes_time_holds_up_its_own_client_alone(web):
    """`show servers` asks the workers: what stands behind it is answered behind it."""
    got = ask(web, "show version x;show servers app;show version x\n" * 20)
    answers = got.split("\n\n")
    assert len(answers) == 61 and answers[-1] == ""
    for index, answer in enumerate(answers[:-1]):
        assert ("weight" in answer) == (index % 3 == 1)


# --- the end ----------------------------------------------------------------------------------------------------------


def test_shutdown_with_clients_connected(loomgate):
    gate = start(loomgate, **control_settings())
    idle, asked = control(gate).open(), control(gate).open()
    with idle, asked:
        assert asked.send("shutdown\nshow version x\n").answer().startswith("ok: stopping")
        assert gate.wait_exit() == 0
        assert asked.rest().decode() in ("", VERSION)
        assert idle.rest() == b""
    gate.assert_clean()


@pytest.mark.threads
def test_many_clients_with_traffic(loomgate, origin):
    gate = loomgate(web_config(origin(), settings=control_settings(workers=2)))
    command = "show servers json;show workers json;show memory json;show info json;show events json\n" * 10
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(control(gate).open()) for _ in range(8)]
        for raw in raws:
            raw.send(command).end()
        for _ in range(100):
            assert gate.fetch("/size/10").status == 200
        for raw in raws:
            answers = raw.rest().decode().split("\n\n")
            assert len(answers) == 51
            assert all(json.loads(answer)["ok"] for answer in answers[:-1])


def test_socat_readline_style_and_sigint(loomgate, tmp_path):
    """A second process on the same socket survives the first one's end."""
    gate = start(loomgate, **control_settings("user"))
    held = subprocess.Popen(["socat", "-", f"UNIX-CONNECT:{tmp_path}/user.sock"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)
    try:
        held.stdin.write(b"show version x\n")
        held.stdin.flush()
        assert held.stdout.readline().decode() + "\n" == VERSION
        held.send_signal(signal.SIGINT)
        held.wait(TIMEOUT)
    finally:
        held.kill()
        held.communicate()
    assert control(gate, "user").json("show info")["control_clients"] == 1
