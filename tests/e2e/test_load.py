"""Ten thousand clients at once: everybody is served."""

import os
import resource
import selectors
import socket

import pytest
from scale import IS_SANITIZED
from support import TIMEOUT, eventually, web_config

CLIENTS = 500 if IS_SANITIZED else 10000
ROUNDS = 10
REQUEST = b"GET /size/100 HTTP/1.1\r\nHost: a\r\n\r\n"


class Load:
    """So many connections, all open at the same time; each sends its next request when its answer is there."""

    def __init__(self, address, count):
        host, port = address.rsplit(":", 1)
        self.where = (host, int(port))
        self.selector = selectors.EpollSelector()
        self.count = count
        self.answered = 0
        self.failures = []
        self.left = {}  # socket: requests to be answered

    def connect(self):
        for _ in range(self.count):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(self.where)
            self.left[sock] = ROUNDS
            self.selector.register(sock, selectors.EVENT_WRITE)

    def drop(self, sock, why):
        self.selector.unregister(sock)
        sock.close()
        del self.left[sock]
        if why:
            self.failures.append(why)

    def start(self):
        """Waits until all are connected, then lets all of them ask at once."""
        waiting = set(self.left)
        while waiting:
            ready = self.selector.select(TIMEOUT)
            assert ready, f"{len(waiting)} connections do not come about"
            for key, _ in ready:
                error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                waiting.discard(key.fileobj)
                if error:
                    self.drop(key.fileobj, f"connect: {os.strerror(error)}")
                else:
                    self.selector.modify(key.fileobj, selectors.EVENT_READ, bytearray())
        for sock in self.left:
            sock.send(REQUEST)

    def run(self):
        while self.left:
            ready = self.selector.select(TIMEOUT)
            assert ready, f"{len(self.left)} clients wait in vain, {self.answered} answers"
            for key, _ in ready:
                self.read(key.fileobj, key.data)

    def read(self, sock, have):
        try:
            data = sock.recv(65536)
        except OSError as error:
            self.drop(sock, f"recv: {error}")
            return
        have += data
        if not data:
            self.drop(sock, f"closed with {self.left[sock]} to go: {bytes(have[:100])}")
            return
        end = have.find(b"\r\n\r\n")
        if end < 0 or len(have) < end + 104:
            return
        if not have.startswith(b"HTTP/1.1 200 ") or len(have) != end + 104:
            self.drop(sock, f"answer: {bytes(have[:200])}")
            return
        have.clear()
        self.answered += 1
        self.left[sock] -= 1
        if self.left[sock] == 0:
            self.drop(sock, None)
        else:
            sock.send(REQUEST)


@pytest.mark.parametrize("workers", [1, 2])
def test_many_clients_at_once(loomgate, origin, workers):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    clients = min(CLIENTS, (most - 200) // 2)
    server = origin()
    config = web_config(server, settings={"workers": workers, "max_connections": clients + 100},
                        backend={"pool": {"max_idle": 200}, "timeouts": {"connect": "60s", "response": "60s"}},
                        frontend={"access_log": "off", "timeouts": {"header": "60s"}})
    gate = loomgate(config)
    load = Load(gate.web, clients)
    load.connect()
    load.start()
    load.run()
    assert not load.failures, (len(load.failures), load.failures[:5])
    assert load.answered == clients * ROUNDS
    eventually(lambda: server.connections()[1] <= 200 * workers, "no more than the pool's idle connections")
    eventually(lambda: gate.descriptors() < 500 * workers, "closed descriptors")
    assert gate.fetch("/").status == 200


def test_idle_clients_cost_little(loomgate, origin):
    """Keep-alive connections that wait hold no buffers."""
    count = 500 if IS_SANITIZED else 4000
    gate = loomgate(web_config(origin(), frontend={"access_log": "off"}))
    for _ in range(50):
        assert gate.fetch("/size/100").status == 200
    before = gate.resident_bytes()
    clients = []
    for _ in range(count):
        client = gate.client()
        assert client.request("GET", "/size/100").read_response().status == 200
        clients.append(client)
    each = (gate.resident_bytes() - before) / count
    for client in clients:
        client.close()
    assert each < (40000 if IS_SANITIZED else 1500), f"{each} bytes for each"
