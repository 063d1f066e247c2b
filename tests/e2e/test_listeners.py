"""Where it listens: addresses of all kinds, what is in the way, overrides, the pid file, dropped privileges."""

import grp
import os
import pwd
import signal
import socket
import stat
import subprocess

import pytest
from support import (LOOMGATE_BIN, TIMEOUT, Client, Echo, client_when_listening, environment, eventually, fetch, run_loomgate, web_config,
                     write_config)

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NEEDS_IPV6 = pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="needs IPv6")


def binding(*addresses, servers=(), settings=None, **frontend):
    routes = [{"match": {"path": "/hello"}, "respond": {"status": 200, "body": "hello"}}]
    config = web_config(*servers, settings=settings, frontend={"bind": list(addresses), "routes": routes, **frontend})
    if not servers:
        del config["backends"], config["frontends"]["web"]["default_backend"]
    return config


def start_failure(config, folder, *args):
    """It must not start: its status and what it said."""
    status, out, err = run_loomgate("-f", write_config(config, folder, "fails.yaml"), *args, folder=folder)
    assert status == 1 and not out, (status, out, err)
    return err


# ---- UNIX ----


@pytest.mark.parametrize("workers", [1, 2])
def test_unix_listener(loomgate, origin, tmp_path, workers):
    path = tmp_path / "front.sock"
    gate = loomgate(binding(f"unix:{path}", servers=[origin()], settings={"workers": workers}))
    assert gate.web == f"unix:{path}"
    for _ in range(10):
        echo = gate.echo(host="example.com")
        assert echo.header("Host") == "example.com"
    record = gate.record(path="/echo")
    assert record["client"].startswith("unix:")
    assert stat.S_ISSOCK(path.stat().st_mode)
    gate.stop()
    assert not path.exists(), "the socket's file stayed behind"


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_unix_server(loomgate, origin, tmp_path, mode):
    server = origin("-n", "u1", address=f"unix:{tmp_path}/server.sock")
    gate = loomgate(web_config(server, frontend={"mode": mode}))
    with gate.client() as client:
        for _ in range(3):
            assert Echo(client.request("GET", "/echo").read_response()).name == "u1"
    server.stop()
    if mode == "http":
        assert gate.fetch("/").status == 502
        assert gate.record(status=502)["cause"] == "connect_failed"


def test_stale_socket_file_is_replaced(loomgate, tmp_path):
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
        old.listen()
    assert path.exists()
    assert loomgate(binding(f"unix:{path}")).fetch("/hello").text == "hello"


def test_live_socket_is_not_taken(loomgate, tmp_path):
    path = tmp_path / "live.sock"
    first = loomgate(binding(f"unix:{path}"))
    told = start_failure(binding(f"unix:{path}"), tmp_path)
    assert str(path) in told and "in use" in told
    assert first.fetch("/hello").text == "hello", "the one that was there lost its socket"


@pytest.mark.parametrize("content", ["file", "folder", "link"])
def test_other_files_are_not_removed(tmp_path, content):
    path = tmp_path / "thing"
    if content == "file":
        path.write_text("precious")
    elif content == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    assert str(path) in start_failure(binding(f"unix:{path}"), tmp_path)
    assert os.path.lexists(path) and (content != "file" or path.read_text() == "precious")


def test_folder_that_is_not_there(tmp_path):
    assert "No such file" in start_failure(binding(f"unix:{tmp_path}/no/such/folder.sock"), tmp_path)


def test_sockets_of_a_failed_start_are_removed(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        start_failure(binding(f"unix:{tmp_path}/first.sock", f"127.0.0.1:{port}"), tmp_path)
    assert not (tmp_path / "first.sock").exists()


# ---- TCP ----


@NEEDS_IPV6
def test_ipv6(loomgate, origin):
    gate = loomgate(binding("[::1]:0", servers=[origin(address="[::1]:0")]))
    assert gate.web.startswith("[::1]:")
    with gate.client() as client:
        echo = Echo(client.request("GET", "/echo", host="[::1]:80").read_response())
        assert echo.header("X-Forwarded-For") == "::1"
        assert gate.record(path="/echo")["client"] == client.local


@NEEDS_IPV6
def test_ipv6_alone_leaves_ipv4(loomgate):
    gate = loomgate(binding("[::]:0"))
    port = int(gate.web.rsplit(":", 1)[1])
    assert fetch(("::1", port), "/hello").text == "hello"
    with pytest.raises(ConnectionRefusedError):
        fetch(("127.0.0.1", port), "/hello")


@pytest.mark.parametrize("address", ["*:0", ":0"])
@pytest.mark.parametrize("workers", [1, 2])
def test_any_address(loomgate, origin, address, workers):
    gate = loomgate(binding(address, servers=[origin()], settings={"workers": workers}))
    port = int(gate.web.rsplit(":", 1)[1])
    for _ in range(4):
        echo = Echo(fetch(("127.0.0.1", port), "/echo"))
        assert echo.header("X-Forwarded-For") == "127.0.0.1", "IPv4 clients are told as such"
        assert echo.header("X-Forwarded-Port") == str(port)
        if os.path.exists("/proc/net/if_inet6"):
            assert Echo(fetch(("::1", port), "/echo")).header("X-Forwarded-For") == "::1"


def test_host_name(loomgate, origin):
    port = origin().address.rsplit(":", 1)[1]
    gate = loomgate(binding("localhost:0", servers=[f"localhost:{port}"]))
    assert gate.fetch("/echo").status == 200


def test_name_that_does_not_resolve(tmp_path):
    assert "no-such-host.invalid" in start_failure(binding("no-such-host.invalid:0"), tmp_path)


def test_address_that_is_not_ours(tmp_path):
    assert "192.0.2.1" in start_failure(binding("192.0.2.1:0"), tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_taken_port_is_told(tmp_path, workers):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        told = start_failure(binding(address, settings={"workers": workers}), tmp_path, "--pid", tmp_path / "pid")
    assert address in told and "in use" in told
    assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_port_of_another_gate_is_not_shared(loomgate, tmp_path, workers):
    """Though both would set SO_REUSEPORT."""
    first = loomgate(binding("127.0.0.1:0", settings={"workers": workers}))
    told = start_failure(binding(first.web, settings={"workers": workers}), tmp_path)
    assert first.web in told and "in use" in told


def test_port_can_be_bound_again_at_once(loomgate, origin):
    server = origin()
    first = loomgate(binding("127.0.0.1:0", servers=[server]))
    address = first.web
    with first.client() as client:
        assert client.request("GET", "/").read_response().status == 200
        first.stop()  # its side of the connection lingers
    assert loomgate(binding(address, servers=[server])).fetch("/").status == 200


def test_several_binds(loomgate, origin, tmp_path):
    gate = loomgate(binding("127.0.0.1:0", {"address": "127.0.0.1:0", "backlog": 5}, f"unix:{tmp_path}/s",
                            servers=[origin()]))
    assert len(gate.addresses["web"]) == 3 and len(set(gate.addresses["web"])) == 3
    for address in gate.addresses["web"]:
        echo = Echo(fetch(address, "/echo"))
        if not address.startswith("unix:"):
            assert echo.header("X-Forwarded-Port") == address.rsplit(":", 1)[1]


# ---- connections that are handed over with their first bytes ----

DEFERRING = {"address": "127.0.0.1:0", "defer_accept": True}


@pytest.mark.threads
@pytest.mark.parametrize("workers", [1, 2])
def test_clients_are_accepted_when_they_have_spoken(loomgate, origin, workers):
    gate = loomgate(binding(DEFERRING, servers=[origin()], settings={"workers": workers}))
    for _ in range(20):
        assert gate.fetch("/hello").text == "hello" and gate.fetch("/echo").status == 200
    with gate.client() as client:
        client.send_slowly(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", step=7)
        assert client.read_response().text == "hello"
        assert client.request("POST", "/echo", body=b"x" * 300_000).read_response().status == 200
    with gate.client() as client:
        client.send(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
        assert [client.read_response().text for _ in range(3)] == ["hello"] * 3
    with gate.client() as client:
        assert client.send(b"nonsense\r\n\r\n").read_response().status == 400
    gate.client().send(b"GET /hello HTTP/1.1\r\n").reset()


def test_who_says_nothing_is_accepted_in_the_end(loomgate):
    """After a second or so its head is waited for as ever."""
    gate = loomgate(binding(DEFERRING, timeouts={"header": "200ms"}))
    with gate.client() as silent, gate.client() as half, gate.client() as late:
        half.send(b"GET /hello")
        assert half.read_response().status == 408
        assert silent.read_all() == b"" and not silent.was_reset
        assert late.read_all() == b"" and not late.was_reset


def test_deferred_tunnels_and_proxy_headers(loomgate, origin):
    server = origin()
    web = binding({**DEFERRING, "accept_proxy": True}, servers=[server])
    web["frontends"]["tcp"] = {"mode": "tcp", "bind": [DEFERRING], "default_backend": "app"}
    gate = loomgate(web)
    with gate.client() as client:
        client.send(b"PROXY TCP4 192.0.2.1 198.51.100.2 1111 2222\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n")
        assert Echo(client.read_response()).header("X-Forwarded-For") == "192.0.2.1"
    assert fetch(gate.address("tcp"), "/echo").status == 200


def test_a_unix_socket_defers_nothing(tmp_path):
    config = binding({"address": f"unix:{tmp_path}/s", "defer_accept": True})
    status, _, err = run_loomgate("-c", "-f", write_config(config, tmp_path))
    assert status == 1 and "error: 'defer_accept' is not for UNIX sockets" in err


def test_several_frontends(loomgate, origin):
    other = {"bind": ["127.0.0.1:0"], "routes": [{"match": {"path_prefix": "/"}, "respond": {"status": 418}}]}
    gate = loomgate(web_config(origin(), frontends={"other": other}))
    assert gate.fetch("/").status == 200 and fetch(gate.address("other"), "/").status == 418


# ---- the command line ----


def test_overrides(loomgate, origin):
    server = origin()
    config = binding("192.0.2.1:1", servers=["192.0.2.1:2"])
    overrides = ["frontends.web.bind.0=127.0.0.1:0", f"backends.app.servers.0={server.address}", "global.workers=2"]
    gate = loomgate(config, args=[word for one in overrides for word in ("-D", one)])
    assert gate.fetch("/").status == 200
    assert gate.logged(event="ready")["workers"] == 2


@pytest.mark.parametrize("key", ["global.wokers=1", "global=1", "nothing.at.all=1", "frontends.web.bind.7.address=x",
                                 "global.workers=many"])
def test_bad_overrides(tmp_path, key):
    told = start_failure(binding("127.0.0.1:0"), tmp_path, "-D", key)
    assert "error" in told and key.split("=")[0].split(".")[-1] in told


def test_pid_file(loomgate, tmp_path):
    path = tmp_path / "gate.pid"
    gate = loomgate(binding("127.0.0.1:0"), args=["--pid", path])
    assert int(path.read_text()) == gate.pid
    gate.stop()
    assert not path.exists()


def test_pid_file_that_cannot_be_written(tmp_path):
    assert "pid" in start_failure(binding("127.0.0.1:0"), tmp_path, "--pid", tmp_path / "no" / "pid")


# ---- privileges ----


def ids(pid):
    """(user ids, group ids, supplementary groups) of every thread."""
    seen = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as status:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        seen.add((fields["Uid"], fields["Gid"], fields["Groups"].strip()))
    assert len(seen) == 1, f"the threads differ: {seen}"
    user, group, groups = seen.pop()
    return set(map(int, user.split())), set(map(int, group.split())), set(map(int, groups.split()))


def pick_group(name):
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        pytest.skip(f"there is no group {name}")


@NEEDS_ROOT
def test_user_and_group(loomgate, origin):
    settings = {"user": "nobody", "group": "nogroup", "workers": 2}
    gate = loomgate(binding("127.0.0.1:0", servers=[origin()], settings=settings))
    user, group, groups = ids(gate.pid)
    assert user == {pwd.getpwnam("nobody").pw_uid} and group == {pick_group("nogroup")}
    assert 0 not in groups and gate.fetch("/").status == 200


@NEEDS_ROOT
def test_user_alone_brings_its_group(loomgate):
    gate = loomgate(binding("127.0.0.1:0", settings={"user": "nobody"}))
    user, group, groups = ids(gate.pid)
    assert (user, group) == ({pwd.getpwnam("nobody").pw_uid}, {pwd.getpwnam("nobody").pw_gid})
    assert 0 not in groups


@NEEDS_ROOT
def test_group_alone(loomgate):
    gate = loomgate(binding("127.0.0.1:0", settings={"group": "nogroup"}))
    user, group, groups = ids(gate.pid)
    assert user == {0} and group == {pick_group("nogroup")} and groups <= group


# LeakSanitizer reads /proc, which is not there after chroot.
NO_LEAK_CHECK = {"ASAN_OPTIONS": "detect_leaks=0:exitcode=99"}


@NEEDS_ROOT
def test_chroot(loomgate, origin, tmp_path):
    jail = tmp_path / "jail"
    jail.mkdir()
    log = tmp_path / "access.log"
    settings = {"chroot": str(jail), "user": "nobody", "group": "nogroup"}
    config = binding("127.0.0.1:0", servers=[origin()], settings=settings)
    config["frontends"]["web"]["access_log"] = {"to": f"file:{log}", "format": "json"}
    gate = loomgate(config, env=NO_LEAK_CHECK)
    assert os.readlink(f"/proc/{gate.pid}/root") == str(jail)
    assert os.readlink(f"/proc/{gate.pid}/cwd") == str(jail)
    assert gate.fetch("/").status == 200
    eventually(lambda: '"path":"/"' in log.read_text(), "the record in the log that was opened before")


@NEEDS_ROOT
def test_low_port_is_bound_before(loomgate, origin):
    for port in range(1, 1024):
        try:
            with socket.socket() as sock:
                sock.bind(("127.0.0.9", port))
            break
        except OSError:
            continue
    gate = loomgate(binding(f"127.0.0.9:{port}", servers=[origin()], settings={"user": "nobody"}))
    assert fetch(f"127.0.0.9:{port}", "/").status == 200 and gate.pid


@NEEDS_ROOT
@pytest.mark.parametrize("key, value", [("user", "no-such-user"), ("group", "no-such-group"), ("chroot", "/no/such")])
def test_privileges_that_cannot_be_dropped(tmp_path, key, value):
    told = start_failure(binding(f"unix:{tmp_path}/p.sock", settings={key: value}), tmp_path)
    assert value in told and not (tmp_path / "p.sock").exists()


def test_descriptors_are_not_inherited(loomgate, origin):
    """A socket of ours that leaks into the proxy would stay open with it."""
    gate = loomgate(binding("127.0.0.1:0", servers=[origin()]))
    assert gate.fetch("/").status == 200
    for number in os.listdir(f"/proc/{gate.pid}/fdinfo"):
        if int(number) < 3:
            continue
        with open(f"/proc/{gate.pid}/fdinfo/{number}") as info:
            flags = int(next(line for line in info if line.startswith("flags:")).split()[1], 8)
        assert flags & os.O_CLOEXEC, os.readlink(f"/proc/{gate.pid}/fd/{number}")


def test_start_without_standard_input(tmp_path, origin):
    """Descriptors 0 and 2 closed: sockets must not land there and be written to as a log."""
    path = write_config(binding(f"unix:{tmp_path}/s", servers=[origin()]), tmp_path)
    process = subprocess.Popen(["sh", "-c", 'exec "$0" -f "$1" <&- 2>&-', LOOMGATE_BIN, path], stdout=subprocess.PIPE,
                               env=environment(), cwd=tmp_path)
    try:
        with client_when_listening(f"unix:{tmp_path}/s") as client:
            for _ in range(20):
                assert client.request("GET", "/").read_response().status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.communicate()
