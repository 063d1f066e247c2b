"""A scripted raw TCP server, for responses that no decent server would send."""

import socket
import struct
import threading

from waiting import TIMEOUT


class ServerConn:
    """One accepted connection, as a script sees it."""

    def __init__(self, sock, number):
        self.sock, self.number = sock, number
        self.buffer = b""

    def read_head(self):
        """The raw head with its empty line; b"" when the peer closed instead."""
        while b"\r\n\r\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                return b""
            self.buffer += data
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return head + b"\r\n\r\n"

    def read_exactly(self, count):
        while len(self.buffer) < count:
            data = self.sock.recv(65536)
            if not data:
                break
            self.buffer += data
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_request(self):
        """(head, body as it came: chunked ones still framed); (b"", b"") when the peer closed instead."""
        head = self.read_head()
        lines = head.lower().split(b"\r\n")
        body = b""
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            if name == b"content-length":
                body = self.read_exactly(int(value))
            elif name == b"transfer-encoding":
                while not body.endswith(b"0\r\n\r\n"):
                    body += self.read_exactly(1)
        return head, body

    def read_all(self):
        data = self.buffer
        self.buffer = b""
        while piece := self.sock.recv(65536):
            data += piece
        return data

    def send(self, data):
        self.sock.sendall(data)

    def send_slowly(self, data, event=None):
        """Byte by byte, each its own segment."""
        for at in range(len(data)):
            self.sock.sendall(data[at : at + 1])

    def wait_closed(self):
        """Until the peer ends the connection; True when it did so cleanly."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return False

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


class FakeServer:
    """`script(conn)` runs in a thread of its own for each connection, which is closed when it returns. `heads` collects
    what conn.read_head and read_request saw only if the script appends to it; a failed assertion in a script fails
    stop()."""

    def __init__(self, script, address=("127.0.0.1", 0)):
        self.script = script
        self.heads = []
        self.connections = 0
        self.errors = []
        self._conns, self._threads = [], []
        self._listener = socket.create_server(address, backlog=128)
        self.host, self.port = self._listener.getsockname()[:2]
        self.address = f"{self.host}:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @classmethod
    def answering(cls, data, close=False, slowly=False):
        """Answers each request of a connection with these bytes; `close` ends the connection after the first."""

        def script(conn):
            while True:
                head, _ = conn.read_request()
                if not head:
                    return
                server.heads.append(head)
                (conn.send_slowly if slowly else conn.send)(data)
                if close:
                    return

        server = cls(script)
        return server

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(TIMEOUT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            conn = ServerConn(sock, self.connections)
            thread = threading.Thread(target=self._serve, args=(conn,), daemon=True)
            self._conns.append(conn)
            self._threads.append(thread)
            thread.start()

    def _serve(self, conn):
        try:
            self.script(conn)
        except OSError:
            pass  # the proxy may leave whenever it likes
        except Exception as error:  # noqa: BLE001  (told by stop)
            self.errors.append(error)
        finally:
            conn.sock.close()

    def stop(self):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        except OSError:
            pass
        self._listener.close()
        self._acceptor.join(TIMEOUT)
        for conn in self._conns:
            try:
                conn.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(TIMEOUT)
        if self.errors:
            raise self.errors[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
