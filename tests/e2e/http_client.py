"""A raw HTTP/1 client: sends the bytes it is given and takes answers apart strictly.

A response that is not perfect fails the test (`BadResponse`), one that ends too early raises `Cut`, so that a test
never mistakes half an answer for a whole one.
"""

import re
import socket
import struct
import time

from waiting import TIMEOUT

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([0-9]{3}) ([\t\x20-\x7e\x80-\xff]*)")
VISIBLE = rb"[\x21-\x7e\x80-\xff]"
FIELD_LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:" + VISIBLE + rb"(?:[\t\x20-\x7e\x80-\xff]*" + VISIBLE + rb")?)?)[ \t]*"
)
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(;[\t\x20-\x7e\x80-\xff]*)?")


class BadResponse(AssertionError):
    """What came is not a correct HTTP/1 response."""


class Cut(Exception):
    """The connection ended before the response did. `response` is what there was of it, None without a whole head;
    `raw` are the bytes of an unfinished head; `was_reset` tells RST from FIN."""

    def __init__(self, what, response, raw=b"", was_reset=False):
        super().__init__(f"{what}, {'RST' if was_reset else 'FIN'}, response {response!r}, raw {raw!r}")
        self.response, self.raw, self.was_reset = response, raw, was_reset


class Fields(list):
    """(name, value) pairs in order, as text, names as received."""

    def all(self, name):
        return [value for key, value in self if key.lower() == name.lower()]

    def get(self, name, default=None):
        """The only value; several are an error of the one who sent them."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else default

    def __contains__(self, name):
        return bool(self.all(name)) if isinstance(name, str) else super().__contains__(name)


class Response:
    def __init__(self, version, status, reason, headers):
        self.version, self.status, self.reason, self.headers = version, status, reason, headers
        self.body = b""
        self.trailers = Fields()
        self.interim = []  # the 1xx responses before it
        self.framing = "none"  # length, chunked, close
        self.chunks = []  # sizes

    @property
    def text(self):
        return self.body.decode()

    def header(self, name, default=None):
        return self.headers.get(name, default)

    def __repr__(self):
        return f"<{self.status} {self.reason} {list(self.headers)} {len(self.body)} bytes {self.body[:200]!r}>"


def parse_fields(lines):
    fields = Fields()
    for line in lines:
        match = FIELD_LINE.fullmatch(line)
        if not match:
            raise BadResponse(f"not a field line: {line!r}")
        fields.append((match[1].decode(), match[2].decode("latin-1")))
    return fields


def parse_head(raw):
    """`raw` without its empty line."""
    lines = raw.split(b"\r\n")
    match = STATUS_LINE.fullmatch(lines[0])
    if not match:
        raise BadResponse(f"not a status line: {lines[0]!r}")
    return Response(f"1.{match[1].decode()}", int(match[2]), match[3].decode("latin-1"), parse_fields(lines[1:]))


def parse_address(address):
    """("127.0.0.1", 80), "127.0.0.1:80", "[::1]:80", "unix:/path" to (family, socket address)."""
    if isinstance(address, tuple):
        return (socket.AF_INET6 if ":" in address[0] else socket.AF_INET), address
    if address.startswith("unix:"):
        return socket.AF_UNIX, address[5:]
    host, port = address.rsplit(":", 1)
    host = host.strip("[]")
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port))


class Client:
    """One connection. Use as a context manager; everything times out after `timeout` seconds."""

    def __init__(self, address, timeout=TIMEOUT, source=None, rcvbuf=None):
        family, where = parse_address(address)
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(where)
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.ended = False
        self.was_reset = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def local(self):
        """Our address as `host:port`, as it stands in the access record."""
        host, port = self.sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    # ---- sending ----

    def send(self, data):
        self.sock.sendall(data)
        return self

    def send_slowly(self, data, pause=0.0, step=1):
        """In pieces of `step` bytes, each its own segment (a pause of 0 still yields to the other side)."""
        for at in range(0, len(data), step):
            self.sock.sendall(data[at : at + step])
            time.sleep(pause)
        return self

    def request(self, method="GET", target="/", headers=(), body=None, host="localhost", version="1.1", chunked=False):
        """Sends a request and returns self. `headers` is a list of pairs or a dict; Content-Length (or, with `chunked`,
        Transfer-Encoding; `chunked` may be a chunk size) is added for a body."""
        self.method = method
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        head = f"{method} {target} HTTP/{version}\r\n"
        if host is not None:
            head += f"Host: {host}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in pairs)
        data = b""
        if chunked:
            head += "Transfer-Encoding: chunked\r\n"
            data = encode_chunked(body or b"", chunked if chunked is not True else 4096)
        elif body is not None:
            head += f"Content-Length: {len(body)}\r\n"
            data = body
        return self.send(head.encode("latin-1") + b"\r\n" + data)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self):
        """RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    # ---- reading ----

    def _fill(self):
        """Reads more; False at the end."""
        if self.ended:
            return False
        try:
            data = self.sock.recv(256 * 1024)
        except (ConnectionResetError, BrokenPipeError):
            data, self.was_reset = b"", True
        self.ended = not data
        self.buffer += data
        return bool(data)

    def _line(self, response):
        """One line without its CR LF."""
        while b"\n" not in self.buffer:
            if not self._fill():
                raise Cut("in a line", response, self.buffer, self.was_reset)
        line, self.buffer = self.buffer.split(b"\n", 1)
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            raise BadResponse(f"not a line that ends with CR LF: {line!r}")
        return line[:-1]

    def read_exactly(self, count, response=None):
        pieces, have = [self.buffer], len(self.buffer)
        while have < count:
            self.buffer = b""
            if not self._fill():
                self.buffer = b"".join(pieces)
                raise Cut(f"{have} of {count} bytes", response, self.buffer, self.was_reset)
            pieces.append(self.buffer)
            have += len(self.buffer)
        data = b"".join(pieces)
        self.buffer = data[count:]
        return data[:count]

    def read_some(self):
        """What there is, at least a byte; b"" at the end."""
        if not self.buffer:
            self._fill()
        data, self.buffer = self.buffer, b""
        return data

    def read_all(self):
        """Until the connection ends."""
        pieces = [self.buffer]
        self.buffer = b""
        while self._fill():
            pieces.append(self.buffer)
            self.buffer = b""
        return b"".join(pieces)

    def read_head(self):
        """A head, of a 1xx or a final response; the body stays unread."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._fill():
                raise Cut("in the head" if self.buffer else "no response", None, self.buffer, self.was_reset)
        raw, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return parse_head(raw)

    def read_response(self, method=None):
        """A whole final response; 1xx ones before it are in .interim. A 101 is final."""
        method = method or getattr(self, "method", "GET")
        interim = []
        response = self.read_head()
        while response.status < 200 and response.status != 101:
            interim.append(response)
            response = self.read_head()
        response.interim = interim
        self.read_body(response, method)
        return response

    def read_body(self, response, method="GET"):
        codings, lengths = response.headers.all("Transfer-Encoding"), response.headers.all("Content-Length")
        if codings and lengths:
            raise BadResponse(f"Transfer-Encoding and Content-Length: {response!r}")
        if len(lengths) > 1 or (lengths and not lengths[0].isdecimal()):
            raise BadResponse(f"bad Content-Length: {response!r}")
        if response.status < 200 or response.status == 204:
            if codings or lengths:
                raise BadResponse(f"a body announced where none may be: {response!r}")
            return
        if method == "HEAD" or response.status == 304:
            return
        if codings:
            if codings != ["chunked"] or response.version == "1.0":
                raise BadResponse(f"bad Transfer-Encoding: {response!r}")
            response.framing = "chunked"
            self._read_chunked(response)
        elif lengths:
            response.framing = "length"
            try:
                response.body = self.read_exactly(int(lengths[0]), response)
            except Cut as cut:
                response.body = cut.raw
                raise
        else:
            response.framing = "close"
            response.body = self.read_all()
            if self.was_reset:
                raise Cut("a body ended by RST", response, was_reset=True)

    def _read_chunked(self, response):
        body = []
        try:
            while True:
                line = self._line(response)
                match = CHUNK_LINE.fullmatch(line)
                if not match:
                    raise BadResponse(f"not a chunk size: {line!r}")
                size = int(match[1], 16)
                if size == 0:
                    break
                response.chunks.append(size)
                try:
                    body.append(self.read_exactly(size, response))
                except Cut as cut:
                    body.append(cut.raw)
                    raise
                if self.read_exactly(2, response) != b"\r\n":
                    raise BadResponse("no CR LF after a chunk")
            lines = []
            while line := self._line(response):
                lines.append(line)
            response.trailers = parse_fields(lines)
        finally:
            response.body = b"".join(body)

    def is_closed(self):
        """Waits for the end of the connection; fails when bytes come instead."""
        assert self.read_some() == b"", "bytes where the end was expected"
        return True


def encode_chunked(body, size=4096, trailers=()):
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return data + b"0\r\n" + b"".join(f"{n}: {v}\r\n".encode() for n, v in trailers) + b"\r\n"


def fetch(address, target="/", method="GET", headers=(), body=None, **options):
    """One request on a connection of its own."""
    with Client(address) as client:
        return client.request(method, target, headers, body, **options).read_response()
