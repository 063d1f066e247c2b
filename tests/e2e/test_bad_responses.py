"""Servers that answer against the law, too much, too early or not to the end: 502, or an answer that is visibly cut;
never one that looks complete and is not, and never a connection that is used again."""

import itertools
import threading

import pytest
from gates import assert_alive, shared
from support import TIMEOUT, Cut, web_config

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Plan:
    """What the server does with one request: `data` is sent, whole or byte by byte, then `after`: "wait" till the proxy
    leaves (`rest` is what it still sent), "fin" or "rst"; `go` is waited for before that when `held`."""

    numbers = itertools.count()

    def __init__(self, data, slowly=False, after="wait", held=False):
        self.data, self.slowly, self.after = data, slowly, after
        self.target = f"/plan-{next(self.numbers)}"
        self.go, self.ended = threading.Event(), threading.Event()
        if not held:
            self.go.set()
        self.connection, self.rest = None, b""

    def run(self, conn):
        self.connection = conn.number
        try:
            (conn.send_slowly if self.slowly else conn.send)(self.data)
            assert self.go.wait(TIMEOUT)
            if self.after == "rst":
                conn.reset()
                return
            if self.after == "fin":
                conn.half_close()
            self.rest = conn.read_all()
        except OSError:
            pass  # it left in the middle, or with RST
        finally:
            self.ended.set()

    def wait_end(self):
        assert self.ended.wait(TIMEOUT), "the proxy keeps the connection"
        assert self.rest == b"", f"the proxy used the connection again: {self.rest!r}"


class Stage:
    """The server: plans for some targets, `ok` for all others."""

    def __init__(self, world):
        self.plans = {}
        self.server = world.serve(self._script)
        self.address = self.server.address

    def _script(self, conn):
        while True:
            head = conn.read_head()
            if not head:
                return
            plan = self.plans.get(head.split(b" ")[1].decode())
            if plan:
                plan.run(conn)
                return
            conn.send(OK)

    def plan(self, data, **options):
        plan = Plan(data, **options)
        self.plans[plan.target] = plan
        return plan


def build(world):
    world.stage = Stage(world)
    return web_config(world.stage, backend={"timeouts": {"response": "20s"}, "retry": "off", "breaker": "off"})


web = shared(build)


def rows(table):
    return pytest.mark.parametrize("data",
        [pytest.param(data, id=name.replace(" ", "-")) for name, data in table.items()])


either_speed = pytest.mark.parametrize("slowly", [False, True], ids=["whole", "slowly"])


def head(*lines, status=b"HTTP/1.1 200 OK"):
    return b"\r\n".join([status, *lines]) + b"\r\n\r\n"


def check_502(web, plan, cause, method="GET"):
    """502 with that cause; the server's connection ends, the client's goes on."""
    with web.client() as client:
        response = client.request(method, plan.target).read_response()
        assert (response.status, response.header("Connection")) == (502, None), response
        record = web.record_of(client)
        assert client.request("GET", "/next").read_response().body == b"ok"
    told = {key: record[key] for key in ("status", "cause", "blame", "server")}
    assert told == {"status": 502, "cause": cause, "blame": "server", "server": web.stage.address}
    assert [(one["server"], one["cause"]) for one in record["tries"]] == [(web.stage.address, cause)]
    assert web.stage.address not in repr(response) and "127.0.0.1" not in repr(response)
    plan.wait_end()
    assert_alive(web)
    return response


STATUS_LINES = {
    "status 099": b"HTTP/1.1 099 x", "status 000": b"HTTP/1.1 000 x", "status 600": b"HTTP/1.1 600 x",
    "status 999": b"HTTP/1.1 999 x", "status 1000": b"HTTP/1.1 1000 x", "status 20": b"HTTP/1.1 20 x",
    "letters in the status": b"HTTP/1.1 2x0 x", "a sign": b"HTTP/1.1 +20 x", "no status": b"HTTP/1.1 ",
    "a version alone": b"HTTP/1.1", "two spaces": b"HTTP/1.1  200 OK", "a tab": b"HTTP/1.1\t200 OK",
    "no space behind the status": b"HTTP/1.1 200OK", "a hyphen": b"HTTP/1.1 200-OK", "0.9": b"HTTP/0.9 200 OK",
    "1.2": b"HTTP/1.2 200 OK", "2.0": b"HTTP/2.0 200 OK", "1": b"HTTP/1 200 OK", "1.10": b"HTTP/1.10 200 OK",
    "ICY": b"ICY 200 OK", "RTSP": b"RTSP/1.0 200 OK", "lower case": b"http/1.1 200 OK",
    "a space in front": b" HTTP/1.1 200 OK",
    "a word": b"hello", "a request": b"GET / HTTP/1.1", "CR in the reason": b"HTTP/1.1 200 O\rK",
    "NUL in the reason": b"HTTP/1.1 200 O\0K", "BEL in the reason": b"HTTP/1.1 200 O\x07K",
    "ESC in the reason": b"HTTP/1.1 200 \x1b[1mOK", "DEL in the reason": b"HTTP/1.1 200 O\x7fK",
}
BAD_HEADS = {name: line + b"\r\nContent-Length: 0\r\n\r\n" for name, line in STATUS_LINES.items()} | {
    "LF behind the status line": b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "CR behind the status line": b"HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n",
    "an empty line in front": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "gzip": head(b"Transfer-Encoding: gzip") + b"hello",
    "identity": head(b"Transfer-Encoding: identity") + b"hello",
    "a list of codings": head(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "chunked not last": head(b"Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n",
    "chunked twice": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunked with a parameter": head(b"Transfer-Encoding: chunked;q=1") + b"0\r\n\r\n",
    "an empty coding": head(b"Transfer-Encoding:") + b"hello",
    "chunked with 1.0": head(b"Transfer-Encoding: chunked", status=b"HTTP/1.0 200 OK") + b"0\r\n\r\n",
    "length and coding": head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "coding and length": head(b"Transfer-Encoding: chunked", b"Content-Length: 5") + b"0\r\n\r\n",
    "two lengths": head(b"Content-Length: 5", b"Content-Length: 6") + b"hello",
    "a list of lengths": head(b"Content-Length: 5, 6") + b"hello",
    "a word for a length": head(b"Content-Length: 5x") + b"hello",
    "an empty length": head(b"Content-Length:") + b"hello",
    "a negative length": head(b"Content-Length: -1"),
    "a signed length": head(b"Content-Length: +2") + b"ab",
    "2^63": head(b"Content-Length: 9223372036854775808"),
    "2^64": head(b"Content-Length: 18446744073709551616"),
    "a bad length in a 304": head(b"Content-Length: -1", status=b"HTTP/1.1 304 Not Modified"),
    "a bad length in a 204": head(b"Content-Length: x", status=b"HTTP/1.1 204 No Content"),
    "obs-fold": head(b"X: a", b" b", b"Content-Length: 0"),
    "obs-fold of a length": head(b"Content-Length:", b" 0"),
    "a space before the colon": head(b"Content-Length : 0"),
    "a space before another colon": head(b"X : 0", b"Content-Length: 0"),
    "an empty name": head(b": a", b"Content-Length: 0"),
    "no colon": head(b"X", b"Content-Length: 0"),
    "a bracket in a name": head(b"X[: a", b"Content-Length: 0"),
    "NUL in a value": head(b"X: a\0b", b"Content-Length: 0"),
    "ESC in a value": head(b"X: \x1b[1m", b"Content-Length: 0"),
    "CR in a value": head(b"X: a\rSet-Cookie: b", b"Content-Length: 0"),
    "LF in a value": head(b"X: a\nSet-Cookie: b", b"Content-Length: 0"),
    "LF as the empty line": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n",
    "CR X as the empty line": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\rX",
    "101 that nobody asked for": head(b"Connection: Upgrade", b"Upgrade: websocket",
    status=b"HTTP/1.1 101 Switching Protocols"),
    "a bad interim answer": b"HTTP/1.1 103 Early Hints\nLink: x\r\n\r\n" + OK,
    "an interim answer with a bad field": b"HTTP/1.1 103 Early Hints\r\nLink : x\r\n\r\n" + OK,
    "a good interim answer and a bad one": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 600 x\r\n\r\n",
    "a body behind an interim answer": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello" + OK,
}


@either_speed
@rows(BAD_HEADS)
def test_bad_heads(web, data, slowly):
    check_502(web, web.stage.plan(data, slowly=slowly), "bad_response")


@rows({
    "a long field": head(b"X: " + b"a" * 70000, b"Content-Length: 0"),
    "a field without end": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000,
    "a status line without end": b"HTTP/1.1 200 " + b"a" * 70000,
    "many fields": head(*[b"X-%d: %d" % (i, i) for i in range(1200)], b"Content-Length: 0"),
    "fields without end": b"HTTP/1.1 200 OK\r\n" + b"X: 0123456789\r\n" * 6000,
    "a huge interim answer": head(b"Link: " + b"a" * 70000, status=b"HTTP/1.1 103 Early Hints") + OK,
})
def test_huge_heads(web, data):
    check_502(web, web.stage.plan(data), "response_too_large")


@either_speed
@rows({
    "after half a status line": b"HTTP/1.1 20", "after the status line": b"HTTP/1.1 200 OK\r\n",
    "in the fields": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ",
    "before the empty line": b"HTTP/1.1 200 OK\r\nX: a\r\n\r",
    "after an interim answer": b"HTTP/1.1 103 Early Hints\r\n\r\n",
})
@pytest.mark.parametrize("after", ["fin", "rst"])
def test_ends_in_the_head(web, data, slowly, after):
    plan = web.stage.plan(data, slowly=slowly, after=after)
    with web.client() as client:
        response = client.request("GET", plan.target).read_response()
        assert response.status == 502
        record = web.record_of(client)
        assert client.request("GET", "/next").read_response().body == b"ok"
    assert record["status"] == 502 and record["blame"] == "server"
    assert record["cause"] == "reset_before_response"
    plan.wait_end()


@pytest.mark.parametrize("after", ["fin", "rst"])
def test_ends_without_a_word(web, after):
    """On a fresh connection: there is nothing to send it again on."""
    web.fetch("/warm", headers=[("Connection", "close")])
    plan = web.stage.plan(b"", after=after)
    with web.client() as client:
        response = client.request("POST", plan.target, body=b"x").read_response()
        assert response.status == 502
        assert web.record_of(client)["cause"] in ("reset_before_response", "closed_idle")
    assert plan.ended.wait(TIMEOUT)


# --- once bytes were sent -------------------------------------------------------------------------

CUT_BODIES = {
    "a length, nothing of it": (head(b"Content-Length: 10"), b""),
    "a length, half of it": (head(b"Content-Length: 10"), b"hello"),
    "a length, all but a byte": (head(b"Content-Length: 10"), b"hellohell"),
    "chunks, none": (CHUNKED, b""),
    "chunks, in a size": (CHUNKED, b"5"),
    "chunks, behind a size": (CHUNKED, b"5\r\n"),
    "chunks, in the data": (CHUNKED, b"a\r\nhello"),
    "chunks, behind the data": (CHUNKED, b"5\r\nhello"),
    "chunks, between": (CHUNKED, b"5\r\nhello\r\n"),
    "chunks, in the last size": (CHUNKED, b"5\r\nhello\r\n0"),
    "chunks, before the end": (CHUNKED, b"5\r\nhello\r\n0\r\n"),
    "chunks, in the trailers": (CHUNKED, b"5\r\nhello\r\n0\r\nX: a\r\n"),
}


def check_cut(web, plan, version, causes):
    """The answer begins and does not end; the client can tell."""
    with web.client() as client:
        client.request("GET", plan.target, version=version)
        response = client.read_head()
        assert response.status == 200
        plan.go.set()
        with pytest.raises(Cut) as cut:
            client.read_body(response)
        record = web.record_of(client)
    assert (record["status"], record["blame"]) == (200, "server") and record["cause"] in causes, record
    plan.wait_end()
    assert_alive(web)
    return response, cut.value


@either_speed
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("after", ["fin", "rst"])
@pytest.mark.parametrize("parts", CUT_BODIES.values(), ids=CUT_BODIES.keys())
def test_cut_bodies(web, parts, after, version, slowly):
    plan = web.stage.plan(b"".join(parts), after=after, held=True, slowly=slowly)
    response, cut = check_cut(web, plan, version, ["response_cut"])
    assert b"hellohello".startswith(response.body)
    if version == "1.0" and parts[0] == CHUNKED:
        assert cut.was_reset, "a close is how such a body ends well"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("status", [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK"])
def test_a_reset_close_delimited_body_is_cut(web, version, status):
    plan = web.stage.plan(head(status=status) + b"hello", after="rst", held=True)
    response, cut = check_cut(web, plan, version, ["response_cut"])
    assert response.framing == ("close" if version == "1.0" else "chunked")
    assert version == "1.1" or cut.was_reset


BAD_CHUNKS = {
    "no size": b"\r\n", "a word": b"x\r\n", "0x": b"0x1\r\na\r\n0\r\n\r\n", "minus": b"-1\r\n",
    "a space": b" 1\r\na\r\n0\r\n\r\n",
    "2^63": b"8000000000000000\r\na", "2^64 + 1": b"10000000000000001\r\na\r\n0\r\n\r\n",
    "LF behind a size": b"1\na\r\n0\r\n\r\n",
    "CR behind a size": b"1\ra\r\n0\r\n\r\n", "data too long": b"1\r\nab\r\n0\r\n\r\n",
    "LF behind data": b"1\r\na\n0\r\n\r\n",
    "two other bytes behind data": b"1\r\naXX0\r\n\r\n", "no CR LF behind data": b"1\r\na0\r\n\r\n",
    "a control in an extension": b'1;a="\x01"\r\na\r\n0\r\n\r\n',
    "a long extension": b"1;" + b"a" * 3000 + b"\r\na\r\n0\r\n\r\n",
    "digits without end": b"0" * 5000, "a trailer without a colon": b"0\r\nX\r\n\r\n",
    "a folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "a trailer with LF": b"0\r\nX: a\n\r\n", "a trailer with a control": b"0\r\nX: \x01\r\n\r\n",
    "LF as the end": b"0\r\n\n", "CR X as the end": b"0\r\n\rX",
    "a long trailer": b"0\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    "many trailers": b"0\r\n" + b"X: a\r\n" * 100 + b"\r\n", "trailers without end": b"0\r\n" + b"X: a\r\n" * 5000,
}


@either_speed
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@rows(BAD_CHUNKS)
def test_bad_chunks(web, data, slowly, version):
    """Behind a first chunk that is good. The answer may have begun or not."""
    plan = web.stage.plan(CHUNKED + b"5\r\nhello\r\n" + data, slowly=slowly and len(data) < 1000)
    with web.client() as client:
        client.request("GET", plan.target, version=version)
        with pytest.raises(Cut) as cut:
            response = client.read_response()
            assert response.status == 502
            raise Cut("not begun", None)
        record = web.record_of(client)
    response = cut.value.response
    assert record["blame"] == "server" and record["cause"] in ("bad_response", "response_too_large")
    assert record["status"] == (response.status if response else record["status"])
    if response and version == "1.0":
        assert cut.value.was_reset
    plan.wait_end()
    assert_alive(web)


# --- too much -------------------------------------------------------------------------------------

SURPLUS = {
    "a length": ("GET", head(b"Content-Length: 2") + b"ok", 200, b"ok"),
    "a length of zero": ("GET", head(b"Content-Length: 0"), 200, b""),
    "chunks": ("GET", CHUNKED + b"2\r\nok\r\n0\r\n\r\n", 200, b"ok"),
    "HEAD with a length": ("HEAD", head(b"Content-Length: 5"), 200, b""),
    "HEAD with chunks": ("HEAD", CHUNKED, 200, b""),
    "204": ("GET", head(status=b"HTTP/1.1 204 No Content"), 204, b""),
    "204 with a length": ("GET", head(b"Content-Length: 5", status=b"HTTP/1.1 204 No Content"), 204, b""),
    "304 with a length": ("GET", head(b"Content-Length: 5", status=b"HTTP/1.1 304 Not Modified"), 304, b""),
    "304 with chunks": ("GET", head(b"Transfer-Encoding: chunked", status=b"HTTP/1.1 304 Not Modified"), 304, b""),
}


@pytest.mark.parametrize("surplus", [b"hello", EVIL, b"\r\n", b"\0"], ids=["text", "answer", "line", "NUL"])
@pytest.mark.parametrize("method, data, status, body", SURPLUS.values(), ids=SURPLUS.keys())
def test_surplus_bytes(web, method, data, status, body, surplus):
    """The answer is good; its connection is not used again, and what is behind it goes to nobody."""
    plan = web.stage.plan(data + surplus)
    with web.client() as client:
        response = client.request(method, plan.target).read_response()
        assert (response.status, response.body) == (status, body)
        assert client.request("GET", "/next").read_response().body == b"ok"
        assert web.record_of(client)["cause"] == "ok"
    plan.wait_end()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("said", [EVIL, b"x", b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", b""],
                         ids=["answer", "byte", "408", "fin"])
def test_an_idle_connection_that_speaks_is_closed(web, method, said):
    ready, sent = threading.Event(), threading.Event()

    class Unsolicited(Plan):
        def run(self, conn):
            self.connection = conn.number
            try:
                conn.send(OK)
                assert ready.wait(TIMEOUT)
                conn.send(said) if said else conn.half_close()
                sent.set()
                self.rest = conn.read_all()
            except OSError:
                pass
            finally:
                self.ended.set()

    plan = Unsolicited(b"")
    web.stage.plans[plan.target] = plan
    with web.client() as client:
        assert client.request("GET", plan.target).read_response().body == b"ok"
        ready.set()
        plan.wait_end()
        body = b"x" if method == "POST" else None
        response = client.request(method, "/next", body=body).read_response()
        assert (response.status, response.body) == (200, b"" if method == "HEAD" else b"ok")


@either_speed
def test_good_answers_do_not_cost_the_connection(loomgate, fake_server, slowly):
    """The counter-check to the surplus."""

    def script(conn):
        for _, answer, _, _ in SURPLUS.values():
            if not conn.read_head():
                return
            (conn.send_slowly if slowly else conn.send)(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer)
        conn.wait_closed()

    server = fake_server(script)
    with loomgate(web_config(server)).client() as client:
        for method, _, status, body in SURPLUS.values():
            response = client.request(method, "/").read_response()
            assert (response.status, response.body, len(response.interim)) == (status, body, 1)
        assert server.connections == 1


# --- floods ---------------------------------------------------------------------------------------

HINT = head(b"Link: " + b"a" * 8000, status=b"HTTP/1.1 103 Early Hints")


def test_interim_answers_to_a_client_that_does_not_read(loomgate, fake_server):
    """They are held back like a body, or refused; not kept."""
    sent, ended = [], threading.Event()

    def script(conn):
        conn.read_head()
        conn.sock.settimeout(1)  # held back for so long: it will not go on
        try:
            while sum(sent) < 128 << 20:
                sent.append(conn.sock.send(HINT * 10))
        except OSError:
            pass
        ended.set()
        conn.wait_closed()

    gate = loomgate(web_config(fake_server(script)))
    with gate.client(rcvbuf=4096) as client:
        before = gate.resident_bytes()
        client.request("GET", "/")
        assert ended.wait(TIMEOUT)
        assert sum(sent) < 128 << 20 and gate.resident_bytes() - before < 16 << 20


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_interim_answers_without_end(loomgate, fake_server, version):
    """No head of the answer proper within timeouts.response, however much is said before it."""
    stop = threading.Event()

    def script(conn):
        if conn.read_head():
            while not stop.wait(0.001):
                conn.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    gate = loomgate(web_config(fake_server(script), backend={"timeouts": {"response": "300ms"}}))
    with gate.client() as client:
        try:
            response = client.request("GET", "/", version=version).read_response()
            assert response.status in (502, 504)
            assert gate.record(blame="server")["status"] == response.status
        finally:
            stop.set()


def test_interim_answers_by_the_hundred(loomgate, fake_server):
    """So many are odd, and still within the law; a limit must be told as a 502."""
    gate = loomgate(web_config(fake_server(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 300 + OK)))
    response = gate.fetch("/")
    assert (response.status, len(response.interim)) == (200, 300) or response.status == 502
    gate.record(cause="ok" if response.status == 200 else "bad_response")


def test_extensions_in_an_answer_are_paid_for_by_data(web):
    plan = web.stage.plan(CHUNKED + (b"1;" + b"x" * 900 + b"\r\na\r\n") * 20 + b"0\r\n\r\n")
    with web.client() as client:
        with pytest.raises(Cut):
            assert client.request("GET", plan.target).read_response().status == 502
            raise Cut("not begun", None)
        assert web.record_of(client)["cause"] == "bad_response"
    plan.wait_end()
