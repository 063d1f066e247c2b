"""A proxy that all tests of a file share, for tables of many quick rows; and a server that keeps what it was sent.

    web = shared(lambda world: web_config(world.recorder))       # a fixture of the module
    def test_x(web): web.fetch("/"); web.recorder.take()

A row that ends the proxy is the one that fails; the proxy's clean end is asserted when the file is through.
"""

import contextlib
import queue
import re

import pytest
from support import TIMEOUT, FakeServer, Loomgate, Origin

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
END_OF_CHUNKS = re.compile(rb"(?:\A|\r\n)0\r\n(?:[^\r\n]+\r\n)*\r\n")


class Recorder:
    """A server that answers every request with `answer` and keeps the requests: whole ones for `take`, those whose body
    was cut for `take_cut`."""

    def __init__(self, answer=OK):
        self.answer = answer
        self.count = 0
        self._whole, self._cut = queue.Queue(), queue.Queue()
        self.server = FakeServer(self._script)
        self.address = self.server.address

    def _script(self, conn):
        while True:
            head = conn.read_head()
            if not head:
                return
            self.count += 1
            body, is_whole = self._read_body(conn, head.lower())
            (self._whole if is_whole else self._cut).put((head, body))
            if not is_whole:
                return
            conn.send(self.answer)

    @staticmethod
    def _read_body(conn, head):
        chunked = b"\r\ntransfer-encoding: chunked\r\n" in head
        length = re.search(rb"\r\ncontent-length: ([0-9]+)\r\n", head)
        assert not (chunked and length), head
        want = int(length[1]) if length else 0
        with contextlib.suppress(OSError):  # a cut may be a reset
            while len(conn.buffer) < want or (chunked and not END_OF_CHUNKS.search(conn.buffer)):
                data = conn.sock.recv(65536)
                if not data:
                    break
                conn.buffer += data
        end = END_OF_CHUNKS.search(conn.buffer) if chunked else None
        is_whole = bool(end) if chunked else len(conn.buffer) >= want
        if chunked:
            want = end.end() if end else len(conn.buffer)
        return conn.read_exactly(min(want, len(conn.buffer))), is_whole

    @staticmethod
    def _split(seen):
        head, body = seen
        line, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        return line, fields, body

    def take(self):
        """The next request: (request line, field lines, body with its framing), as text, text and bytes."""
        return self._split(self._whole.get(timeout=TIMEOUT))

    def take_cut(self):
        """The same for a request whose body did not come to its end."""
        return self._split(self._cut.get(timeout=TIMEOUT))

    def is_empty(self):
        return self._whole.empty()

    def forget(self):
        for seen in (self._whole, self._cut):
            while not seen.empty():
                seen.get()

    def stop(self):
        self.server.stop()


class World:
    """What a shared proxy stands in: servers that are started on demand, and the proxy itself."""

    def __init__(self, stack):
        self._stack = stack
        self.gate = None

    def _started(self, one):
        self._stack.callback(one.stop)
        return one

    def origin(self, *args):
        self.a1 = self._started(Origin.start("-n", "a1", *args))
        return self.a1

    def record(self, answer=OK):
        self.recorder = self._started(Recorder(answer))
        return self.recorder

    def serve(self, script, **options):
        start = FakeServer.answering if isinstance(script, bytes) else FakeServer
        return self._started(start(script, **options))

    def client(self, frontend="web", **options):
        client = self.gate.client(frontend, **options)
        client.first_record = len(self.gate.records.lines)  # ports come again
        return client

    def fetch(self, target="/", **options):
        return self.gate.fetch(target, **options)

    def echo(self, target="/echo", **options):
        return self.gate.echo(target, **options)

    def record_of(self, client, **equal):
        """The access record of the first exchange of this connection that has these fields."""
        equal["client"] = client.local

        def matches(record):
            return all(record.get(key) == value for key, value in equal.items())

        return self.gate.records.wait(matches, f"an access record {equal}", start=client.first_record)


def shared(build):
    """Makes the module's fixture; `build(world)` returns the configuration."""

    @pytest.fixture(scope="module")
    def fixture(tmp_path_factory):
        with contextlib.ExitStack() as stack:
            world = World(stack)
            world.gate = Loomgate(build(world), tmp_path_factory.mktemp("gate"))
            try:
                yield world
                assert world.gate.process.poll() is None, "\n".join(world.gate.log.raw[-80:])
                world.gate.stop()
            finally:
                world.gate.kill()

    return fixture


def assert_alive(world):
    """After a row that could have ended it."""
    assert world.gate.process.poll() is None, "\n".join(world.gate.log.raw[-80:])


def send_bravely(client, data, step=None):
    """Sends although the other side may have heard enough of it."""
    with contextlib.suppress(ConnectionError):
        if step:
            client.send_slowly(data, step=step)
        else:
            client.send(data)


def answer_of(world, data, step=None, method="GET", frontend="web"):
    """Sends bytes on a connection of their own, wants one answer and then the end: (response, its access record)."""
    with world.client(frontend) as client:
        send_bravely(client, data, step)
        response = client.read_response(method)
        assert client.is_closed()
        return response, world.record_of(client)


def get(target, *fields, host="h", version="1.1", method="GET", body=b""):
    """The bytes of a request."""
    lines = [f"{method} {target} HTTP/{version}", *([f"Host: {host}"] if host is not None else []), *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def unchunked(body):
    """The data of chunks, however they were cut."""
    data = b""
    while body and not body.startswith(b"0\r\n"):
        size, _, rest = body.partition(b"\r\n")
        if not rest:
            return body  # has no chunks
        data += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return data
