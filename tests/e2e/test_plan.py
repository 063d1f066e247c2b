"""`loomgate -c --plan`: what a file would change, asked from the command line."""

import os
import pwd
import socket
import subprocess
import tempfile

import pytest
from control_client import control_settings
from reloads import Reloader, say, servers_of, started
from support import LOOMGATE_BIN, TIMEOUT, environment, run_loomgate, web_config, write_config


@pytest.fixture
def gate(loomgate, origin):
    return started(loomgate, origin)


@pytest.fixture
def plan(tmp_path):
    def run(path, *args, folder=tmp_path):
        return run_loomgate("-c", "--plan", "-f", path, *args, folder=folder)

    return run


def config(**settings):
    return web_config("127.0.0.1:1", settings=settings)


def test_what_would_change(gate, plan):
    def edit(config):
        say("new")(config)
        servers_of(config)[0]["weight"] = 7

    before, path = gate.state(), gate.write(edit, "new.yaml")
    status, out, err = plan(path)
    first, *lines = out.splitlines()
    assert status == 0 and not err and first == f"{path}: valid"
    assert any("backends.app.servers.a1.weight" in line and "1 -> 7" in line for line in lines), out
    assert lines[0].startswith("ok: ") and lines[0].endswith("; nothing was done") and "" not in lines
    assert out.partition("\n")[2] == gate.control.ask(f"config plan {path}")
    assert gate.state() == before and gate.fetch("/own").text == "old"


def test_nothing_would_change(gate, plan):
    """A path that is not absolute is this process's own; the words of it stay together."""
    gate.write(None, "the same; as before.yaml")
    status, out, err = plan("the same; as before.yaml")
    assert status == 0 and not err and "\nok: nothing changes; nothing was done\n" in out


def test_the_first_that_grants_admin_is_asked(gate, plan, tmp_path):
    def edit(config):
        config["global"]["control"] = [{"socket": "nobody.sock", "level": "operator"},
                                       {"socket": "admin.sock", "level": "admin"},
                                       {"socket": "neither.sock", "level": "admin"}]

    status, out, err = plan(gate.write(edit, "new.yaml"))
    assert status == 0 and not err and "global.control" in out


def test_a_broken_file_is_not_asked_about(gate, plan, tmp_path):
    path = write_config({**gate.config, "version": 2}, tmp_path, "broken.yaml")
    status, out, err = plan(path)
    assert status == 1 and not out and f"{path}:" in err and "--plan" not in err


def test_the_process_finds_the_file_in_error(loomgate, origin, plan):
    """Which it reads with its own -D and environment."""
    gate = Reloader(loomgate, web_config(origin()), args=["-D", "global.log.level=info"])
    path = gate.write(None, "new.yaml")
    path.write_text(path.read_text().replace('"127.0.0.1:0"', '"${PLAN_TEST_ADDRESS}"'))
    status, out, err = run_loomgate("-c", "--plan", "-f", path, env={"PLAN_TEST_ADDRESS": "127.0.0.1:0"},
                                    folder=path.parent)
    assert status == 1 and out == f"{path}: valid\n"
    assert "says: config: " in err and "admin.sock" in err and "PLAN_TEST_ADDRESS" in err


def test_nothing_runs(plan, tmp_path):
    path = write_config(config(**control_settings("admin")), tmp_path, "x.yaml")
    status, out, err = plan(path)
    assert status == 1 and out == f"{path}: valid\n"
    assert "nobody answers at the control socket admin.sock: is LoomGate running" in err


@pytest.mark.parametrize("levels", [[], ["user", "operator"]], ids=["no socket", "none for administrators"])
def test_nobody_to_ask(plan, tmp_path, levels):
    settings = control_settings(*levels) if levels else {}
    status, out, err = plan(write_config(config(**settings), tmp_path, "x.yaml"))
    assert status == 1 and "x.yaml would change: none of its global.control has `level: admin`" in err


def test_denied(gate, plan, loomgate):
    """The running process knows the socket as one of a lower level."""
    other = loomgate({**gate.config, "global": {**gate.config["global"], **control_settings("operator")}})

    def edit(config):
        config["global"]["control"] = [{"socket": "operator.sock", "level": "admin"}]

    status, out, err = plan(gate.write(edit, "new.yaml"))
    assert status == 1 and "the control socket operator.sock says: denied: " in err and "admin" in err
    assert other.process.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_not_let_in(gate):
    nobody = pwd.getpwnam("nobody")
    settings = {"control": [{"socket": str(gate.control.path), "level": "admin"}]}  # its mode is 0600
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = write_config(config(**settings), folder, "x.yaml")
        done = subprocess.run([LOOMGATE_BIN, "-c", "--plan", "-f", path], capture_output=True, text=True,
                              timeout=TIMEOUT, user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], cwd=folder,
                              env=environment())
    assert done.returncode == 1 and f"{gate.control.path} does not let this user in" in done.stderr, done


def test_no_answer(plan, tmp_path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "admin.sock"))
        silent.listen()
        status, out, err = plan(write_config(config(**control_settings("admin")), tmp_path, "x.yaml"))
    assert status == 1 and "the control socket admin.sock did not answer within 5 s" in err

