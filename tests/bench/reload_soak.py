#!/usr/bin/python3
"""Reloads under load, and very many of them: does any request fail, any tunnel close, does memory grow?

    reload_soak.py [--build build/release] [--reloads 500] [--seconds 60] [--more 5000] [--size 1024]
                   [--connections 256] [--tunnels 50] [--prefix "valgrind --leak-check=full ..."]
                                                                                      (`make soak` runs the whole)

One LoomGate with two workers and four origins. Its configurations alternate between weights, timeouts, servers, routes,
balancers and frontends. Three parts, one behind the other, in the same process:

  good    RELOADS of them in SECONDS, under wrk with keep-alive connections, clients with a connection a request,
          TUNNELS WebSockets that are never still, and a download and an upload of SIZE MiB that last all the time
  broken  the same, and every second file is broken
  more    as many again as MORE says, without load but with the tunnels: the resident memory every tenth of them

With --prefix the proxy runs under another program, such as valgrind; what that says and its exit status count too.
Exit status 1 when a request failed, a tunnel closed, bytes were wrong, or memory grew (which a sanitizer's build, or a
prefix, is not asked for) by more than 2 MiB after the first tenth of MORE.
"""

import argparse
import os
import pathlib
import re
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib

sys.dont_write_bytecode = True
parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--build", default="build/release", help="folder with loomgate and origin")
parser.add_argument("--reloads", type=int, default=500)
parser.add_argument("--seconds", type=float, default=60)
parser.add_argument("--more", type=int, default=5000)
parser.add_argument("--size", type=int, default=1024, help="MiB of the download, and of the upload")
parser.add_argument("--connections", type=int, default=256, help="of wrk")
parser.add_argument("--tunnels", type=int, default=50)
parser.add_argument("--prefix", default="", help="what runs the proxy")
options = parser.parse_args()
os.environ["BUILD"] = str(pathlib.Path(options.build).resolve())
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from http_client import Client, Cut, fetch  # noqa: E402  (after the path and the build are set)
from load import Result  # noqa: E402
from reloads import WEBSOCKET, Reloader, variants  # noqa: E402
from scale import IS_SANITIZED  # noqa: E402
from support import PATTERN, Loomgate, Origin, pattern, web_config  # noqa: E402
from waiting import eventually  # noqa: E402

PIECE = 256 * 1024
FRESH_CLIENTS = 2
GROWTH_MOST = 2 * 1024 * 1024
BROKEN = "version: 1\nfrontends: {web: {bnd: []}}\n"


class Task(threading.Thread):
    """Runs on; how it failed is kept."""

    def __init__(self, gate):
        super().__init__(daemon=True)
        self.gate, self.count, self.failures, self.over = gate, 0, [], threading.Event()
        self.start()

    def run(self):
        try:
            self.work()
        except (OSError, Cut, AssertionError) as error:
            self.failures.append(f"{type(self).__name__} after {self.count}: {error!r}")

    def end(self):
        self.over.set()
        self.join()
        return self.failures


class Fresh(Task):
    """A connection a request."""

    def work(self):
        while not self.over.is_set():
            with self.gate.client() as client:
                response = client.request("GET", "/size/10").read_response()
                assert response.status == 200 and response.body == pattern(10), response
            self.count += 1


class Paced(Task):
    """Moves SIZE MiB in SECONDS, evenly."""

    def pieces(self):
        """Offset and length of each piece, when it is due."""
        size, began = options.size << 20, time.monotonic()
        while self.count < size:
            due = began + self.count / size * options.seconds
            self.over.wait(max(0.0, due - time.monotonic()))
            yield self.count, min(PIECE, size - self.count)


class Download(Paced):
    def work(self):
        expected = PATTERN * (PIECE // len(PATTERN) + 2)
        with self.gate.client() as client:
            response = client.request("GET", f"/size/{options.size}m").read_head()
            assert response.status == 200, response
            for at, n in self.pieces():
                start = at % len(PATTERN)
                assert client.read_exactly(n) == expected[start:start + n], f"other bytes from {at} on"
                self.count += n


class Upload(Paced):
    def work(self):
        data, checksum, size = os.urandom(PIECE), 1, options.size << 20
        with self.gate.client() as client:
            client.send(f"POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode())
            for _, n in self.pieces():
                client.send(data[:n])
                checksum = zlib.adler32(data[:n], checksum)
                self.count += n
            response = client.read_response("POST")
        assert response.text == f"bytes {size} adler32 {checksum:08x}\n", response.text


class Tunnels(Task):
    """WebSockets; each always waits for the echo of a word."""

    def work(self):
        with selectors.DefaultSelector() as selector:
            for _ in range(options.tunnels):
                client = self.gate.client()
                assert client.request("GET", "/upgrade", WEBSOCKET).read_response().status == 101
                selector.register(client.sock, selectors.EVENT_READ)
                client.sock.sendall(b"word")
            while not self.over.is_set():
                for key, _ in selector.select(1):
                    self.echo(key.fileobj)
                self.over.wait(0.02)
            for key in list(selector.get_map().values()):
                key.fileobj.close()

    def echo(self, sock):
        got = sock.recv(4, socket.MSG_WAITALL)
        assert got == b"word", f"a tunnel ended, or has other bytes: {got!r}"
        sock.sendall(got)
        self.count += 1


class Wrk:
    def __init__(self, gate, seconds):
        command = ["wrk", "-t1", f"-c{options.connections}", f"-d{seconds:.0f}s", "--latency", "--timeout", "30s",
                   f"http://{gate.web}/size/100"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def end(self):
        return Result(self.process.communicate(timeout=options.seconds * 4 + 120)[0])


def reload_all(gate, files, count, seconds, broken, say=None):
    """`count` reloads, evenly over the seconds (0: as fast as they go); the answers are as they should be."""
    began = time.monotonic()
    with gate.control.open() as raw:
        raw.sock.settimeout(300)
        for n in range(count):
            time.sleep(max(0.0, began + n * seconds / count - time.monotonic()))
            is_bad = broken and n % 2 == 1
            gate.write(BROKEN if is_bad else next(files))
            answer = raw.send("reload\n").answer()
            assert answer.startswith("error: config: " if is_bad else "ok: "), answer
            if say:
                say(n + 1)
    return time.monotonic() - began


def mib(size):
    return f"{size / 1048576:.1f} MiB"


def under_load(gate, files, tunnels, broken):
    """One part; what failed."""
    before, echoes = gate.resident_bytes(), tunnels.count
    tasks = [Download(gate), Upload(gate), *(Fresh(gate) for _ in range(FRESH_CLIENTS))]
    wrk = Wrk(gate, options.seconds + 1)
    seconds = reload_all(gate, files, options.reloads, options.seconds, broken)
    result, during = wrk.end(), gate.resident_bytes()
    for task in tasks[:2]:
        task.join(options.seconds * 4 + 120)  # by themselves
    moved = [task.count for task in tasks[:2]]
    failures = [failure for task in tasks for failure in task.end()] + tunnels.failures
    if result.failures:
        failures.append(f"wrk: {result.failures} failures")
    fresh = sum(task.count for task in tasks[2:])
    eventually(lambda: gate.control.json("show info")["connections"]["open"] <= options.tunnels, "tunnels alone", 60)
    print(f"{'broken' if broken else 'good':7} {options.reloads} reloads in {seconds:.1f} s"
          f"{' (every second file broken)' if broken else ''}; {result.requests:,} requests by wrk -c "
          f"{options.connections}, {fresh:,} with a connection each, {moved[0] >> 20} MiB down, {moved[1] >> 20} MiB "
          f"up, {tunnels.count - echoes:,} echoes in {options.tunnels} tunnels; failed requests: {result.failures}, "
          f"other failures: {len(failures) - bool(result.failures)}; RSS {mib(before)}, under load {mib(during)}, after "
          f"{mib(gate.resident_bytes())}", flush=True)
    return failures


def many_more(gate, files):
    """The last part; what is wrong."""
    seen = []

    def say(n):
        if n % max(1, options.more // 10) == 0:
            seen.append(gate.resident_bytes())
            print(f"more    {n} reloads: RSS {mib(seen[-1])}", flush=True)

    seconds = reload_all(gate, files, options.more, 0, False, say)
    growth = max(seen) - seen[0]
    print(f"more    {options.more} reloads in {seconds:.1f} s ({seconds / options.more * 1000:.2f} ms each, with the "
          f"writing of the file); growth after the first tenth: {growth / 1024:.0f} KiB")
    judged = not IS_SANITIZED and not options.prefix
    return [f"memory grew by {mib(growth)}"] if judged and growth > GROWTH_MOST else []


def soak(gate):
    tunnels = Tunnels(gate)
    eventually(lambda: tunnels.count >= options.tunnels or tunnels.failures, "all tunnels", 60)
    files = variants(gate, gate.origins)
    failures = under_load(gate, files, tunnels, False) + under_load(gate, files, tunnels, True)
    failures += many_more(gate, files) if options.more else []
    failures += tunnels.end()
    gate.wait_alone()
    info = gate.control.json("show info")["requests"]
    if info["failed"]["gateway"] or info["failed"]["server"]:
        failures.append(f"the proxy tells of failures: {info['failed']}")
    print(f"tunnels closed: {len(tunnels.failures)}; reloads in all {gate.state()['total']}, refused "
          f"{gate.state()['failed']}; snapshots left of those before: {gate.state()['snapshots_alive'] - 1}")
    return failures


def say_end_of_prefix(gate):
    for line in gate.log.raw:
        if re.match(r"==\d+==.*(ERROR SUMMARY|lost:|still reachable:|no leaks)", line):
            print(line)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started here ends
    origins = [Origin.start("-n", f"s{i}") for i in range(4)]
    health = {"http": {"path": "/"}, "interval": "500ms", "fast_interval": "500ms", "timeout": "10s"}
    config = web_config(*origins, settings={"workers": 2}, frontend={"access_log": "off"}, backend={"health": health})
    with tempfile.TemporaryDirectory(prefix="lg-soak-") as folder:
        gate = Reloader(lambda *args, **more: Loomgate(*args, pathlib.Path(folder), **more), config,
                        prefix=shlex.split(options.prefix))
        gate.origins = origins
        try:
            fetch(gate.web, "/")
            failures = soak(gate)
            gate.stop(allow_errors=True)
        finally:
            gate.kill()
            for origin in origins:
                origin.stop()
    if options.prefix:
        say_end_of_prefix(gate)
    for failure in failures[:20]:
        print("FAILED:", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
