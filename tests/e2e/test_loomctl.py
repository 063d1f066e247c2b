"""contrib/loomctl as a shell would use it, and the completion for bash."""

import os
import socket
import subprocess

import pytest
from control_client import control_settings
from gates import shared
from support import ROOT, TIMEOUT, web_config

LOOMCTL = ROOT / "contrib" / "loomctl"
web = shared(lambda world: web_config({"name": "a1", "address": "127.0.0.1:9"}, settings=control_settings()))


def run(web, *words, env=None, level="admin"):
    socket = web.gate.path.parent / f"{level}.sock"
    return subprocess.run([LOOMCTL, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT,
                          env={**os.environ, "LOOMGATE_SOCKET": str(socket), **(env or {})})


def test_done(web):
    done = run(web, "show", "servers", "app")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split()[:2] == ["app", "a1"] and not done.stdout.endswith("\n\n")
    assert run(web, "log", "level", "info").stdout == "ok: the log is written from the level info on\n"
    assert run(web, "show", "version", "json").stdout.startswith('{"ok":true,')


def test_the_socket_may_be_named(web):
    path = web.gate.path.parent / "user.sock"
    assert run(web, "-s", path, "show", "version", env={"LOOMGATE_SOCKET": "/nowhere"}).returncode == 0
    assert run(web, "-s", path, "shutdown").stdout.startswith("error: denied: ")


@pytest.mark.parametrize("words, start", [
    (["shw"], "error: unknown_command: "),
    (["show", "servers", "ap", "json"], '{"ok":false,"error":"no_such_backend"'),
    (["show", "servers", "a b"], "error: no_such_backend: there is no backend 'a b'"),
    (["show", "servers", 'a;b"c\\'], "error: no_such_backend: there is no backend 'a;b\"c\\x5c'"),
    (["show", "servers", ""], "error: no_such_backend: there is no backend ''"),
    (["stream", "x"], "error: unknown_command: "),
])
def test_an_error_is_1(web, words, start):
    done = run(web, *words)
    assert done.returncode == 1 and done.stdout.startswith(start) and done.stdout.count("\n") == 1, done
    assert done.stderr == ""


@pytest.mark.parametrize("words", [[], ["-x"], ["-s"], ["show", "a\nb"]])
def test_wrong_use_is_2(web, words):
    done = run(web, *words)
    assert done.returncode == 2 and done.stderr and not done.stdout, done


def test_nobody_there_is_2(web, tmp_path):
    assert "no socket" in run(web, "-s", tmp_path / "none", "help").stderr
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    done = run(web, "-s", tmp_path / "dead", "help")
    assert done.returncode == 2 and "refused" in done.stderr


def test_help_of_its_own(web):
    done = run(web, "-h")
    assert done.returncode == 0 and "usage: loomctl" in done.stdout and "Exit status" in done.stdout


def complete(web, *words):
    """What bash would offer for the last word."""
    quoted = " ".join(f"'{word}'" for word in ("loomctl", *words))
    script = (f"source {ROOT}/contrib/completion/loomgate.bash; COMP_WORDS=({quoted}); "
              f'COMP_CWORD={len(words)}; _loomctl; printf "%s\\n" "${{COMPREPLY[@]}}"')
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=TIMEOUT, env={
        **os.environ, "LOOMGATE_SOCKET": str(web.gate.path.parent / "admin.sock"),
        "PATH": f"{LOOMCTL.parent}:{os.environ['PATH']}"})
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout.split()


def test_completion(web):
    assert {"help", "show", "breaker", "shutdown"} <= set(complete(web, ""))
    assert complete(web, "sho") == ["show"]
    assert {"info", "servers"} <= set(complete(web, "show", ""))
    assert complete(web, "show", "serv") == ["servers"]
    assert complete(web, "show", "servers", "ap") == ["app", "app/a1"]
    assert complete(web, "breaker", "trip", "app/") == ["app/a1"]
    assert complete(web, "log", "level", "d") == ["debug"]
