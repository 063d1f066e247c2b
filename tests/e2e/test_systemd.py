"""The units of contrib/systemd: systemd understands them, and they give away no more rights than they have to. Sockets
that are held by systemd, and what it is told."""

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
from support import LOOMGATE_BIN, ROOT, TIMEOUT, Client, fetch, web_config
from upgrades import Upgrader

UNITS = ROOT / "contrib" / "systemd"
MOST_EXPOSED = "20"  # of systemd's scale to 100; a service without any restriction has 96


def analyze(*args):
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze")
    return subprocess.run(["systemd-analyze", *map(str, args)], capture_output=True, text=True, timeout=TIMEOUT)


@pytest.fixture
def service(tmp_path):
    """The unit as it is, but for the program, which must be there to be found good."""
    text = (UNITS / "loomgate.service").read_text()
    installed = re.search(r"^ExecStart=(\S+) ", text, re.M)[1]
    (tmp_path / "loomgate.service").write_text(text.replace(installed, str(LOOMGATE_BIN)))
    return tmp_path / "loomgate.service"


def test_the_socket_is_understood(service):
    shutil.copy(UNITS / "loomgate.socket", service.parent)
    done = analyze("verify", "--man=no", service.parent / "loomgate.socket")
    assert done.returncode == 0 and not done.stdout + done.stderr


def test_the_unit_is_understood(service):
    done = analyze("verify", "--man=no", service)
    assert done.returncode == 0 and not done.stdout + done.stderr


def test_a_mistake_would_be_found(service):
    service.write_text(service.read_text().replace("Type=notify", "Type=notfiy"))
    assert "notfiy" in analyze("verify", "--man=no", service).stderr


def test_exposure_is_low(service):
    if int(re.search(r"systemd (\d+)", analyze("--version").stdout)[1]) < 250:
        pytest.skip("this systemd-analyze cannot look at a file alone")
    done = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", service)
    assert done.returncode == 0, done.stdout[-400:]


# --- sockets ----------------------------------------------------------------------------------------------------------

LAUNCHER = """
import os, sys
names, count = sys.argv[1], int(sys.argv[2])
for i, fd in enumerate(map(int, sys.argv[3:3 + count])):
    os.dup2(fd, 3 + i)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=names)
os.execv(sys.argv[3 + count], sys.argv[3 + count:])
"""


class Manager:
    """Holds listening sockets, and starts a program with them as descriptors 3 and on, as systemd does."""

    def __init__(self):
        self.sockets, self.lifted = [], []

    def listen(self, family, address, shares=False):
        one = socket.socket(family)
        self.sockets.append(one)
        if shares:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(address)
        one.listen(100)
        return "%s:%d" % one.getsockname() if family == socket.AF_INET else f"unix:{address}"

    def options(self):
        """For the fixture `loomgate`."""
        self.lifted = [fcntl.fcntl(one, fcntl.F_DUPFD, 200) for one in self.sockets]
        names = ":".join("loomgate.socket" for _ in self.lifted)
        prefix = [sys.executable, "-c", LAUNCHER, names, str(len(self.lifted)), *map(str, self.lifted)]
        return {"prefix": prefix, "pass_fds": self.lifted}

    def close(self):
        for fd in self.lifted:
            os.close(fd)
        for one in self.sockets:
            one.close()


@pytest.fixture
def manager():
    one = Manager()
    yield one
    one.close()


def test_sockets_of_the_service_manager(loomgate, origin, manager, tmp_path):
    web = manager.listen(socket.AF_INET, ("127.0.0.1", 0))
    local = manager.listen(socket.AF_UNIX, str(tmp_path / "web.sock"))
    unused = manager.listen(socket.AF_INET, ("127.0.0.1", 0))
    manager.listen(socket.AF_UNIX, str(tmp_path / "admin.sock"))
    config = web_config(origin(), settings={"workers": 3}, frontend={"bind": [web, local]})
    config["global"]["control"] = [{"socket": str(tmp_path / "admin.sock"), "level": "admin"}]
    with Client(web) as early:  # before there is a service
        early.request("GET", "/echo")
        gate = Upgrader(loomgate, tmp_path, config, **manager.options())
        assert early.read_response().status == 200
    gate.gate.logged(event="socket_unused", address=unused, name="loomgate.socket")
    for _ in range(2):
        assert {line["address"] for line in gate.log.lines if line.get("event") == "listening"} == {web, local}
        for _ in range(20):
            assert fetch(web, "/echo").status == fetch(local, "/echo").status == 200
        assert gate.control.json("show info")["pid"] == gate.serving
        gate.upgrade()
    gate.stop()
    # The manager goes on to hold them.
    assert (tmp_path / "web.sock").exists() and (tmp_path / "admin.sock").exists()
    with Client(web) as late, Client(local) as later:
        gate = loomgate(config | {"global": config["global"] | {"workers": 1}}, **manager.options())
        assert late.request("GET", "/echo").read_response().status == 200
        assert later.request("GET", "/echo").read_response().status == 200


def test_all_sockets_of_a_group_are_served(loomgate, origin, manager):
    web = manager.listen(socket.AF_INET, ("127.0.0.1", 0), shares=True)
    for _ in range(4):
        manager.listen(socket.AF_INET, manager.sockets[0].getsockname(), shares=True)
    gate = loomgate(web_config(origin(), settings={"workers": 2}, frontend={"bind": [web]}), **manager.options())
    for _ in range(60):
        assert gate.fetch("/echo").status == 200
    assert not [line for line in gate.log.lines if line.get("event") == "socket_unused"]


def test_descriptors_that_are_none(loomgate, origin, manager):
    web = manager.listen(socket.AF_INET, ("127.0.0.1", 0))
    manager.sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    gate = loomgate(web_config(origin(), frontend={"bind": [web]}), wait=False, **manager.options())
    assert gate.wait_exit() == 1
    assert "descriptor 4 cannot be used" in gate.logged(event="start_failed")["message"]


# --- what it is told --------------------------------------------------------------------------------------------------


def test_an_upgrade_names_the_main_process(loomgate, origin, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify.sock"))
        notify.settimeout(TIMEOUT)
        gate = Upgrader(loomgate, tmp_path, web_config(origin()), env={"NOTIFY_SOCKET": str(tmp_path / "notify.sock")})
        assert notify.recv(1000).startswith(b"READY=1")
        for _ in range(2):
            before = gate.serving
            gate.upgrade()
            assert notify.recv(1000) == b"MAINPID=%d" % gate.serving
            gate.wait_gone(before)
        gate.replace(b"#!/bin/sh\nexit 1\n")
        gate.refuse_upgrade("exited with status 1")
        gate.reload()
        assert notify.recv(1000).startswith(b"RELOADING=1") and notify.recv(1000).startswith(b"READY=1")
        gate.stop()
        assert notify.recv(1000).startswith(b"STOPPING=1")
        notify.setblocking(False)
        with pytest.raises(BlockingIOError):
            notify.recv(1000)
