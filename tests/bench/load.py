"""What the proxies are loaded with: wrk, a constant rate, many idle or stalled clients, many clients at once."""

import contextlib
import json
import re
import select
import socket
import subprocess
import time

from contestants import cpu_ns, cpus, pinned

REQUEST = b"GET /size/1k HTTP/1.1\r\nHost: localhost\r\n\r\n"
STALLED_REQUEST = b"GET /size/512k HTTP/1.1\r\nHost: localhost\r\n\r\n"
STALLED_WINDOW, STALLED_SEGMENT = 4096, 1400
allowed = {cpus()[1]}  # where the load runs
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


class Result:
    """What one run of wrk saw. Latencies in microseconds."""

    def __init__(self, text):
        self.requests = int(re.search(r"(\d+) requests in", text)[1])
        self.rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
        self.p50, self.p99 = (self._latency(text, percent) for percent in ("50", "99"))
        self.failures = 0
        if match := re.search(r"Non-2xx or 3xx responses: (\d+)", text):
            self.failures += int(match[1])
        if match := re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text):
            self.failures += sum(map(int, match.groups()))

    @staticmethod
    def _latency(text, percent):
        match = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s|m)\b", text)
        return float(match[1]) * UNITS[match[2]]


@contextlib.contextmanager
def on_cpus(others):
    """The load runs on these CPUs meanwhile."""
    usual = set(allowed)
    allowed.update(others)
    try:
        yield
    finally:
        allowed.intersection_update(usual)


def run_tool(command, seconds):
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, preexec_fn=pinned(*allowed))
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")
    return done.stdout


def run_wrk(port, path, connections, seconds, *args):
    """One thread of wrk, as many requests as go through."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *args, f"http://127.0.0.1:{port}{path}"]
    return Result(run_tool(command, seconds))


def run_pace(build, one, path, connections, seconds, *args, warm_seconds=1):
    """pace.c: its figures, latencies counted from when a request was due; and the proxy's CPU a request, without what
    it costs to open and close the connections."""
    command = [f"{build}/pace", "-k", f"-c{connections}", f"-s{seconds}", f"-w{warm_seconds}", *args,
               f"127.0.0.1:{one.port}", path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          preexec_fn=pinned(*allowed)) as pace:
        if pace.stdout.readline() != "counting\n":
            raise RuntimeError("pace failed")
        before = cpu_ns(one.pid)
        text = pace.stdout.readline()
        used = cpu_ns(one.pid) - before
        pace.stdin.close()
    result = json.loads(text)
    return result | {"cpu_us": used / 1000 / max(result["requests"], 1)}


def fetch(port, target):
    """One plain GET: the whole answer's bytes."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        pieces = []
        while piece := sock.recv(1 << 16):
            pieces.append(piece)
        return b"".join(pieces)


def read_answer(sock):
    """Reads one answer with Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    left = content_length(head) - len(body)
    while left > 0:
        left -= len(received(sock))


def received(sock):
    data = sock.recv(1 << 16)
    if not data:
        raise ConnectionError("closed")
    return data


def content_length(head):
    match = re.search(rb"\ncontent-length: *(\d+)", head, re.I)
    if not head.startswith(b"HTTP/1.1 200") or not match:
        raise ConnectionError(f"bad answer: {head[:80]!r}")
    return int(match[1])


def open_idle(port, count):
    """Clients that sent one request each and stay."""
    clients = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port), 10)
        sock.sendall(REQUEST)
        read_answer(sock)
        clients.append(sock)
    return clients


def open_stalled(port, count):
    """Clients that asked for a large answer and read none of it, with the small segments and window of a slow line."""
    clients = []
    for _ in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_WINDOW)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, STALLED_SEGMENT)
        sock.settimeout(10)
        sock.connect(("127.0.0.1", port))
        sock.sendall(STALLED_REQUEST)
        clients.append(sock)
    return clients


class Crowd:
    """`count` clients, all connected before the first request; each sends `requests` of them, one after the other."""

    def __init__(self, port, count, requests, seconds):
        self.failures = 0
        self.done = 0
        self.requests = requests
        self.states = {}  # descriptor: [socket, bytes so far, requests left]
        self.finished = []
        self.epoll = select.epoll()
        self.deadline = time.monotonic() + seconds
        try:
            self._connect(port, count)
            self.began = time.monotonic()
            self._exchange()
            self.seconds = time.monotonic() - self.began
        finally:
            for sock in self.finished + [state[0] for state in self.states.values()]:
                sock.close()
            self.epoll.close()

    def _connect(self, port, count):
        for _ in range(count):
            try:
                sock = socket.create_connection(("127.0.0.1", port), 10)
            except OSError:
                self.failures += self.requests
                continue
            sock.setblocking(False)
            self.states[sock.fileno()] = [sock, b"", self.requests]
            self.epoll.register(sock, select.EPOLLIN)

    def _exchange(self):
        for sock, _, _ in list(self.states.values()):
            self._send(sock)
        while self.states and time.monotonic() < self.deadline:
            for descriptor, _ in self.epoll.poll(1.0, 1024):
                if descriptor in self.states:
                    self._receive(descriptor)
        self.failures += sum(state[2] for state in self.states.values())

    def _send(self, sock):
        try:
            sock.send(REQUEST)
        except OSError:
            self._give_up(sock.fileno())

    def _give_up(self, descriptor):
        sock, _, left = self.states.pop(descriptor)
        self.failures += left
        sock.close()

    def _receive(self, descriptor):
        state = self.states[descriptor]
        try:
            state[1] += received(state[0])
            head, found, body = state[1].partition(b"\r\n\r\n")
            if not found or len(body) < content_length(head):
                return
        except OSError:
            self._give_up(descriptor)
            return
        self.done += 1
        state[1] = b""
        state[2] -= 1
        if state[2] > 0:
            self._send(state[0])
        else:
            self.epoll.unregister(descriptor)
            self.states.pop(descriptor)
            self.finished.append(state[0])  # stays connected until all are done
