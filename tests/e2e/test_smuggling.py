"""Requests that are against the law: refused with the right status, closed, told in the record, and never forwarded."""

import pytest
from gates import answer_of, assert_alive, get, send_bravely, shared, unchunked
from support import eventually, web_config

LIMITS = {"header_size": 4096, "header_count": 20, "uri_size": 1024, "body_size": 1000}
SMUGGLED = get("/smuggled")


def build(world):
    return web_config(world.record(), frontend={"limits": LIMITS})


web = shared(build)


def row(name, cause, status, data):
    return pytest.param(data, cause, status, id=name.replace(" ", "-"))


def field(line, name, cause="bad_field", status=400):
    """A GET with this line between Host and another field."""
    line = line if isinstance(line, bytes) else line.encode("latin-1")
    return row(name, cause, status, b"GET /bad HTTP/1.1\r\nHost: h\r\n" + line + b"\r\nX-Last: 1\r\n\r\n")


def post(lines, name, cause, status=400, body=b"hello", version=b"1.1"):
    host = b"Host: h\r\n"
    head = b"POST /bad HTTP/" + version + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return row(name, cause, status, head + body)


def first_line(line, name, cause, status=400):
    return row(name, cause, status, line + b"\r\nHost: h\r\n\r\n")


def host(lines, name, version=b"1.1"):
    head = b"GET /bad HTTP/" + version + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return row(f"Host: {name}", "bad_host", 400, head)


CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
TE = b"Transfer-Encoding: "
CL = b"Content-Length: "

LENGTHS = [
    post([CL + b"5", TE + b"chunked"], "length and coding", "bad_framing", body=CHUNKS),
    post([TE + b"chunked", CL + b"5"], "coding and length", "bad_framing", body=CHUNKS),
    post([TE + b"chunked", CL + b"0"], "coding and length 0", "bad_framing", body=CHUNKS),
    post([TE + b"chunked", b"content-length:5"], "coding and length in lower case", "bad_framing", body=CHUNKS),
    post([TE + b"x", CL + b"5"], "an unknown coding and a length", "bad_framing"),
    post([CL + b"5", CL + b"6"], "two lengths that differ", "bad_length"),
    post([CL + b"5", b"X-Between: 1", b"content-length: 6"], "two lengths apart", "bad_length"),
    post([CL + b"5, 6"], "a list of lengths that differ", "bad_length"),
    post([CL + b"5, x"], "a length and a word", "bad_length"),
    post([CL], "an empty length", "bad_length"),
    post([CL + b"+5"], "a signed length", "bad_length"),
    post([CL + b"-1"], "a negative length", "bad_length"),
    post([CL + b"-0"], "minus zero", "bad_length"),
    post([CL + b"0x5"], "a hexadecimal length", "bad_length"),
    post([CL + b"5.0"], "a fraction", "bad_length"),
    post([CL + b"1e1"], "an exponent", "bad_length"),
    post([CL + b"5 5"], "a length with a space", "bad_length"),
    post([CL + b"5\t5"], "a length with a tab", "bad_length"),
    post([CL + b'"5"'], "a quoted length", "bad_length"),
    post([CL + b"5;x"], "a length with a parameter", "bad_length"),
    post([CL + b"\xb2"], "a length of a superscript digit", "bad_length"),
    post([CL + b"9223372036854775808"], "2^63", "bad_length"),
    post([CL + b"18446744073709551616"], "2^64, which is 0 in 64 bits", "bad_length"),
    post([CL + b"18446744073709551621"], "2^64 + 5", "bad_length"),
    post([CL + b"340282366920938463463374607431768211461"], "2^128 + 5", "bad_length"),
    post([b"Content-Length : 5"], "a space before the colon of a length", "bad_field"),
    post([b"Content-Length\t: 5"], "a tab before the colon of a length", "bad_field"),
    post([b"X: a", b" Content-Length: 5"], "a length in a fold", "bad_field"),
    post([b"Content-Length:", b" 5"], "a folded length", "bad_field"),
    post([b"Content-Length: 5\r", b"X: y"], "a length with CR CR LF", "bad_field"),
    post([b"X: a\rContent-Length: 5"], "a length behind a bare CR", "bad_field"),
    post([b"X: a\nContent-Length: 5"], "a length behind a bare LF", "bad_field"),
    post([b"Content-Length: 5\x00"], "a length with NUL", "bad_field"),
    post([b"Content-Length: \x0b5"], "a length with a vertical tab", "bad_field"),
]

CODINGS = [
    post([TE + coding], f"coding {name}", "bad_transfer_coding", 501, CHUNKS)
    for name, coding in {
        "gzip": b"gzip", "identity": b"identity", "a list": b"gzip, chunked", "not last": b"chunked, gzip",
        "twice": b"chunked, chunked", "empty": b"", "a comma": b",", "a parameter": b"chunked;q=1",
        "comma behind": b"chunked,", "comma before": b",chunked", "quoted": b'"chunked"', "x before": b"xchunked",
        "x behind": b"chunkedx", "space inside": b"chun ked", "two words": b"chunked identity", "cow": b"cow",
    }.items()
] + [
    post([TE + b"chunked", TE + b"chunked"], "two codings", "bad_transfer_coding", 501, CHUNKS),
    post([TE, TE + b"chunked"], "an empty coding and chunked", "bad_transfer_coding", 501, CHUNKS),
    post([TE + b"chunked", TE + b"identity"], "chunked and identity", "bad_transfer_coding", 501, CHUNKS),
    post([TE + b"identity", TE + b"chunked"], "identity and chunked", "bad_transfer_coding", 501, CHUNKS),
    post([b"Transfer-Encoding : chunked"], "a space before the colon of a coding", "bad_field", body=CHUNKS),
    post([b"Transfer-Encoding\x0b: chunked"], "a vertical tab before the colon", "bad_field", body=CHUNKS),
    post([b"X: a", b" Transfer-Encoding: chunked"], "a coding in a fold", "bad_field", body=CHUNKS),
    post([b"Transfer-Encoding:", b" chunked"], "a folded coding", "bad_field", body=CHUNKS),
    post([b"Transfer-Encoding: \x0bchunked"], "a vertical tab before chunked", "bad_field", body=CHUNKS),
    post([b"Transfer-Encoding: chunked\x00"], "NUL behind chunked", "bad_field", body=CHUNKS),
    post([b"X: a\nTransfer-Encoding: chunked"], "a coding behind a bare LF", "bad_field", body=CHUNKS),
    post([b"X: a\rTransfer-Encoding: chunked"], "a coding behind a bare CR", "bad_field", body=CHUNKS),
    post([TE + b"chunked"], "chunked with 1.0", "bad_framing", 400, CHUNKS, b"1.0"),
    post([TE + b"chunked", b"Connection: keep-alive"], "chunked with 1.0 and keep-alive", "bad_framing", 400, CHUNKS,
         b"1.0"),
    post([TE + b"chunked", CL + b"5"], "both with 1.0", "bad_framing", 400, CHUNKS, b"1.0"),
]

FIELDS = [
    field("X: a\r\n b", "obs-fold with a space"),
    field("X: a\r\n\tb", "obs-fold with a tab"),
    field("X:\r\n b", "obs-fold of an empty value"),
    field("X: a\r\n ", "obs-fold of nothing"),
    field(" X: a", "white space in front of a name"),
    field("X : a", "a space before the colon"),
    field("X\t: a", "a tab before the colon"),
    field("Connection : close", "a space before the colon of Connection"),
    field(": a", "an empty name"),
    field(":", "a colon alone"),
    field("X", "no colon"),
    field("X Y: a", "a space in a name"),
    *(field(f"X{c}Y: a", f"name with {ord(c):02x}") for c in "\x00\x01\x0b\x1f\"(),/;<=>?@[\\]{}\x7f\x80\xe4\xff"),
    *(field(f"X: a{chr(c)}b", f"value with {c:02x}") for c in [0, 1, 7, 8, 11, 12, 14, 27, 31, 127]),
    field("X: a\rb", "CR in a value"),
    field("X: a\r", "CR CR LF behind a value"),
    field("X: a\nY: b", "LF in a value"),
    field("X: a\n", "LF behind a value, then CR LF"),
    field("\n", "an empty line of LF"),
    row("LF LF ends the head", "bad_field", 400, b"GET /bad HTTP/1.1\r\nHost: h\n\n"),
    row("LF as the empty line", "bad_field", 400, b"GET /bad HTTP/1.1\r\nHost: h\r\n\n"),
    row("CR X as the empty line", "bad_field", 400, b"GET /bad HTTP/1.1\r\nHost: h\r\n\rX"),
    row("CR CR LF as the empty line", "bad_field", 400, b"GET /bad HTTP/1.1\r\nHost: h\r\n\r\r\n"),
]

LINES = [
    first_line(b"GET /bad", "no version", "bad_request_line"),
    row("no version and nothing else", "bad_request_line", 400, b"GET /bad\r\n"),
    first_line(b"GET /bad ", "an empty version", "bad_request_line"),
    first_line(b"GET /bad HTTP/0.9", "0.9", "bad_version", 505),
    first_line(b"GET /bad HTTP/1.2", "1.2", "bad_version", 505),
    first_line(b"GET /bad HTTP/2.0", "2.0", "bad_version", 505),
    first_line(b"GET /bad HTTP/9.9", "9.9", "bad_version", 505),
    row("the HTTP/2 preface", "bad_version", 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    first_line(b"GET /bad HTTP/2", "2", "bad_request_line"),
    first_line(b"GET /bad HTTP/1.10", "1.10", "bad_request_line"),
    first_line(b"GET /bad HTTP/01.1", "01.1", "bad_request_line"),
    first_line(b"GET /bad HTTP/1,1", "1,1", "bad_request_line"),
    first_line(b"GET /bad http/1.1", "lower case", "bad_request_line"),
    first_line(b"GET /bad HTTPS/1.1", "HTTPS", "bad_request_line"),
    first_line(b"SETUP /bad RTSP/1.0", "RTSP", "bad_request_line"),
    first_line(b"SOURCE /bad ICE/1.0", "ICE", "bad_request_line"),
    first_line(b"GET /bad HTTP/1.1 ", "a space behind", "bad_request_line"),
    first_line(b"GET /bad HTTP/1.1 HTTP/1.1", "two versions", "bad_request_line"),
    first_line(b"GET  /bad HTTP/1.1", "two spaces before the target", "bad_request_line"),
    first_line(b"GET /bad  HTTP/1.1", "two spaces before the version", "bad_request_line"),
    first_line(b"GET\t/bad HTTP/1.1", "a tab", "bad_request_line"),
    first_line(b" GET /bad HTTP/1.1", "a space in front", "bad_request_line"),
    first_line(b"GET /b ad HTTP/1.1", "a space in the target", "bad_request_line"),
    first_line(b"G(T /bad HTTP/1.1", "a method that is no token", "bad_request_line"),
    first_line(b"G\xe4T /bad HTTP/1.1", "a method above ASCII", "bad_request_line"),
    first_line(b"A" * 33 + b" /bad HTTP/1.1", "a long method", "bad_request_line"),
    row("a word", "bad_request_line", 400, b"hello\r\n\r\n"),
    row("a response", "bad_request_line", 400, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    row("TLS", "bad_request_line", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)),
    row("an empty line of LF", "bad_request_line", 400, b"\nGET /bad HTTP/1.1\r\nHost: h\r\n\r\n"),
    row("many empty lines", "bad_request_line", 400, b"\r\n" * 50 + b"GET /bad HTTP/1.1\r\nHost: h\r\n\r\n"),
    row("LF behind the line", "bad_request_line", 400, b"GET /bad HTTP/1.1\nHost: h\r\n\r\n"),
    row("CR behind the line", "bad_request_line", 400, b"GET /bad HTTP/1.1\rHost: h\r\n\r\n"),
    row("CR CR LF behind the line", "bad_request_line", 400, b"GET /bad HTTP/1.1\r\r\nHost: h\r\n\r\n"),
    row("everything with LF", "bad_request_line", 400, b"GET /bad HTTP/1.1\nHost: h\n\n"),
    first_line(b"GET /bad\x00 HTTP/1.1", "NUL in the target", "bad_request_line"),
    first_line(b"GET /bad\x7f HTTP/1.1", "DEL in the target", "bad_request_line"),
    first_line(b"GET /bad\x01 HTTP/1.1", "01 in the target", "bad_request_line"),
    first_line(b"GET /bad\rx HTTP/1.1", "CR in the target", "bad_request_line"),
]

TARGETS = [
    first_line(b"GET /bad#x HTTP/1.1", "a fragment", "bad_target"),
    first_line(b"GET /bad?x#y HTTP/1.1", "a fragment behind a query", "bad_target"),
    first_line(b"GET /b\xc3\xa4d HTTP/1.1", "bytes above ASCII", "bad_target"),
    first_line(b"GET /b\tad HTTP/1.1", "a tab in the target", "bad_target"),
    first_line(b"GET * HTTP/1.1", "GET *", "bad_target"),
    first_line(b"OPTIONS ** HTTP/1.1", "**", "bad_target"),
    first_line(b"OPTIONS *? HTTP/1.1", "*?", "bad_target"),
    first_line(b"GET bad HTTP/1.1", "no slash", "bad_target"),
    first_line(b"GET ?bad HTTP/1.1", "a query alone", "bad_target"),
    first_line(b"GET h:80 HTTP/1.1", "an authority", "bad_target"),
    first_line(b"GET \\bad HTTP/1.1", "a backslash in front", "bad_target"),
    first_line(b"GET ftp://h/bad HTTP/1.1", "another scheme", "bad_target"),
    first_line(b"GET http:/bad HTTP/1.1", "half a scheme", "bad_target"),
    first_line(b"GET http:///bad HTTP/1.1", "no authority", "bad_target"),
    first_line(b"GET http://u:p@h/bad HTTP/1.1", "userinfo", "bad_target"),
    first_line(b"GET http://h\\x/bad HTTP/1.1", "a backslash in the authority", "bad_target"),
    first_line(b"GET http://h:x/bad HTTP/1.1", "an authority with a bad port", "bad_target"),
    first_line(b"GET http://[::1/bad HTTP/1.1", "an open bracket", "bad_target"),
    first_line(b"GET http://a b/bad HTTP/1.1", "a space in the authority", "bad_request_line"),
    first_line(b"CONNECT h:80 HTTP/1.1", "CONNECT", "method_refused", 501),
    first_line(b"CONNECT /bad HTTP/1.1", "CONNECT to a path", "method_refused", 501),
    first_line(b"CONNECT h:80 HTTP/1.0", "CONNECT with 1.0", "method_refused", 501),
]

HOSTS = [
    host([], "none"),
    host([b"Host: h", b"Host: h"], "two that agree"),
    host([b"Host: h", b"X: y", b"host: g"], "two that differ"),
    host([b"Host: h", b"Host: g"], "two with 1.0", b"1.0"),
    *(host([b"Host: " + value], name) for name, value in {
        "a space": b"a b", "a path": b"a/b", "userinfo": b"u@a", "a port of letters": b"a:b", "two ports": b"a:1:2",
        "a port too high": b"a:65536", "a negative port": b"a:-1", "an open bracket": b"[::1",
        "bracket and more": b"[::1]a",
        "no IPv6": b"[::g]", "a name in brackets": b"[h]", "half an escape": b"a%2", "bytes above ASCII": b"\xc3\xa4",
        "a quote": b'a"b', "a hash": b"a#b", "a question mark": b"a?b", "a list": b"a, b", "a backslash": b"a\\b",
        "a tab": b"a\tb", "a URL": b"http://a/", "angle brackets": b"<a>",
    }.items()),
    row("Host: bad beside an absolute target", "bad_host", 400, b"GET http://h/bad HTTP/1.1\r\nHost: a b\r\n\r\n"),
    row("Host: none beside an absolute target", "bad_host", 400, b"GET http://h/bad HTTP/1.1\r\n\r\n"),
    row("Host: two beside an absolute target", "bad_host", 400,
        b"GET http://h/bad HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
]

OTHERS = [
    post([b"Expect: 200-ok", CL + b"5"], "an unknown expectation", "bad_expectation", 417),
    post([b"Expect: 100-continue, x", CL + b"5"], "a list of expectations", "bad_expectation", 417),
    post([CL + b"1001"], "a body too large", "body_too_large", 413, b""),
    post([CL + b"9223372036854775807"], "the largest length", "body_too_large", 413, b""),
]

HUGE = [
    first_line(b"GET /" + b"a" * 1024 + b" HTTP/1.1", "a target too long", "uri_too_long", 414),
    row("a request line without end", "uri_too_long", 414, b"GET /" + b"a" * 5000),
    field("X: " + "a" * 5000, "a field too long", "header_too_large", 431),
    field("X" * 5000 + ": a", "a name too long", "header_too_large", 431),
    row("a field without end", "header_too_large", 431, b"GET /bad HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 6000),
    row("a head of many fields without end", "header_too_large", 431,
        b"GET /bad HTTP/1.1\r\nHost: h\r\n" + b"X: 12345678\r\n" * 400),
    field("\r\n".join(f"X-{i}: {i}" for i in range(20)), "too many fields", "too_many_fields", 431),
]

# (bytes behind the head, what of the body may have been forwarded)
BAD_CHUNKS = {
    "no size": b"\r\n", "no number": b"x\r\n", "0x": b"0x5\r\nhello\r\n0\r\n\r\n", "minus": b"-1\r\nx\r\n0\r\n\r\n",
    "plus": b"+1\r\nx\r\n0\r\n\r\n", "space before a size": b" 1\r\na\r\n0\r\n\r\n",
    "tab before a size": b"\t1\r\na\r\n0\r\n\r\n", "a word behind a size": b"1 a\r\na\r\n0\r\n\r\n",
    "2^63": b"8000000000000000\r\na\r\n0\r\n\r\n", "2^64 + 1": b"10000000000000001\r\na\r\n0\r\n\r\n",
    "LF behind a size": b"1\na\r\n0\r\n\r\n", "CR behind a size": b"1\ra\r\n0\r\n\r\n",
    "CR CR LF behind a size": b"1\r\r\na\r\n0\r\n\r\n", "NUL behind a size": b"1\x00\r\na\r\n0\r\n\r\n",
    "LF in an extension": b"1;a\na\r\n0\r\n\r\n", "CR in an extension": b"1;a\ra\r\n0\r\n\r\n",
    "a control in an extension": b'1;a="\x01"\r\na\r\n0\r\n\r\n',
    "an extension without a name": b"1;\r\na\r\n0\r\n\r\n",
    "an extension without a value": b"1;a=\r\na\r\n0\r\n\r\n", "an open quote": b'1;a="b\r\na\r\n0\r\n\r\n',
    "a long extension": b"1;" + b"a" * 3000 + b"\r\na\r\n0\r\n\r\n",
    "extensions without end": b"1;" + b"a" * 5000,
    "digits without end": b"0" * 5000,
    "data too long": b"1\r\nab\r\n0\r\n\r\n", "no CR LF behind data": b"1\r\na0\r\n\r\n",
    "LF behind data": b"1\r\na\n0\r\n\r\n", "CR behind data": b"1\r\na\r0\r\n\r\n",
    "any two bytes behind data": b"1\r\naXX0\r\n\r\n", "data too short": b"5\r\nhel\r\n0\r\n\r\n",
    "the last size with LF": b"1\r\na\r\n0\n\r\n", "a last size of letters": b"1\r\na\r\n0g\r\n\r\n",
}
BAD_TRAILERS = {
    "no colon": b"X\r\n\r\n", "obs-fold": b"X: a\r\n b\r\n\r\n", "LF": b"X: a\n\r\n", "CR": b"X: a\rb\r\n\r\n",
    "space before the colon": b"X : a\r\n\r\n", "an empty name": b": a\r\n\r\n", "a control": b"X: \x01\r\n\r\n",
    "LF as the end": b"\n", "CR X as the end": b"\rX",
}
HUGE_TRAILERS = {
    "one too long": b"X: " + b"a" * 9000 + b"\r\n\r\n", "one without end": b"X: " + b"a" * 9000,
    "too many": b"X: a\r\n" * 100 + b"\r\n",
}

HEADS = LENGTHS + CODINGS + FIELDS + LINES + TARGETS + HOSTS + OTHERS


def check_refused(web, response, record, cause, status):
    assert (response.status, response.header("Connection")) == (status, "close"), response
    told = {key: record[key] for key in ("status", "cause", "blame", "server", "tries", "frontend")}
    assert told == {"status": status, "cause": cause, "blame": "client", "server": None, "tries": [], "frontend": "web"}
    assert response.header("X-Request-Id") == record["id"] and record["id"] in response.text


def forget(web):
    web.recorder.forget()
    return web.recorder.count


def check_nothing_forwarded(web):
    """What arrives at the server as a whole request is this one, and nothing before it."""
    assert web.fetch("/sentinel").status == 200
    assert web.recorder.take()[0] == "GET /sentinel HTTP/1.1"
    assert web.recorder.is_empty()
    assert_alive(web)


@pytest.mark.parametrize("data, cause, status", HEADS + HUGE)
def test_refused_whole(web, data, cause, status):
    before = forget(web)
    check_refused(web, *answer_of(web, data + SMUGGLED), cause, status)
    assert web.recorder.count == before
    check_nothing_forwarded(web)


@pytest.mark.parametrize("data, cause, status", HEADS)
def test_refused_byte_by_byte(web, data, cause, status):
    before = forget(web)
    check_refused(web, *answer_of(web, data + SMUGGLED, step=1), cause, status)
    assert web.recorder.count == before
    check_nothing_forwarded(web)


@pytest.mark.parametrize("data, cause, status", HUGE)
def test_refused_in_pieces(web, data, cause, status):
    before = forget(web)
    check_refused(web, *answer_of(web, data + SMUGGLED, step=101), cause, status)
    assert web.recorder.count == before
    check_nothing_forwarded(web)


@pytest.mark.parametrize("step", [None, 7])
@pytest.mark.parametrize("data, cause, status", HEADS + HUGE)
def test_refused_behind_a_good_one(web, data, cause, status, step):
    web.recorder.forget()
    good = get("/good", "Content-Length: 3", method="POST", body=b"abc")
    with web.client() as client:
        send_bravely(client, good + data + SMUGGLED, step)
        assert client.read_response().status == 200
        response = client.read_response()
        assert client.is_closed()
        record = web.record_of(client, status=status)
    check_refused(web, response, record, cause, status)
    line, _, body = web.recorder.take()
    assert (line, body) == ("POST /good HTTP/1.1", b"abc")
    check_nothing_forwarded(web)


def chunked_rows(table, cause, status, before=b""):
    return [row(name, cause, status, before + data) for name, data in table.items()]


CHUNK_ROWS = (
    chunked_rows(BAD_CHUNKS, "bad_chunk", 400)
    + chunked_rows({f"trailer: {name}": data for name, data in BAD_TRAILERS.items()}, "bad_field", 400,
                   b"1\r\na\r\n0\r\n")
)


def check_cut(web, data, step):
    """The head may have been forwarded, but no whole request."""
    web.recorder.forget()
    head = get("/cut", "Transfer-Encoding: chunked", method="POST")
    with web.client() as client:
        send_bravely(client, head + data + SMUGGLED, step)
        response = client.read_response()
        assert client.is_closed()
        record = web.record_of(client)
    assert (response.header("Connection"), record["blame"]) == ("close", "client")
    check_nothing_forwarded(web)
    return response.status, record["cause"], record["status"]


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize("data, cause, status", CHUNK_ROWS)
def test_bad_chunks(web, data, cause, status, step):
    assert check_cut(web, data, step) == (status, cause, status)


@pytest.mark.parametrize("data", [b"1\r\nab\r\n0\r\n\r\n", b"g\r\n", b"0\r\nX : a\r\n\r\n"])
def test_the_server_sees_the_cut(web, data):
    """A chunked body of which the server has the beginning when it turns out to be bad."""
    web.recorder.forget()
    count = web.recorder.count
    with web.client() as client:
        client.send(get("/cut", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n")
        eventually(lambda: web.recorder.count > count, "the head's arrival")
        client.send(data + SMUGGLED)
        assert client.read_response().status == 400 and client.is_closed()
        assert web.record_of(client)["server"] == web.recorder.address
    line, fields, body = web.recorder.take_cut()
    assert line == "POST /cut HTTP/1.1" and "Transfer-Encoding: chunked" in fields
    assert not body.endswith(b"0\r\n\r\n")
    check_nothing_forwarded(web)


@pytest.mark.parametrize("step", [None, 53])
@pytest.mark.parametrize("data", HUGE_TRAILERS.values(), ids=HUGE_TRAILERS.keys())
def test_huge_trailers(web, data, step):
    status, cause, told = check_cut(web, b"1\r\na\r\n0\r\n" + data, step)
    assert (status, cause) in [(431, "header_too_large"), (431, "too_many_fields")] and told == status


@pytest.mark.parametrize("step", [None, 53])
def test_chunks_beyond_the_limit(web, step):
    body = b"1f4\r\n" + b"a" * 500 + b"\r\n"
    assert check_cut(web, body * 3 + b"0\r\n\r\n", step) == (413, "body_too_large", 413)


def test_extensions_are_paid_for_by_data(web):
    """Tiny chunks with large extensions: a flood of framing."""
    body = b"1;" + b"x" * 900 + b"\r\na\r\n"
    assert check_cut(web, body * 20 + b"0\r\n\r\n", None) == (400, "bad_chunk", 400)


@pytest.mark.parametrize("step", [None, 1])
def test_bytes_behind_the_last_request_are_dropped(web, step):
    web.recorder.forget()
    with web.client() as client:
        send_bravely(client, get("/last", "Connection: close") + SMUGGLED, step)
        response = client.read_response()
        assert (response.status, response.header("Connection")) == (200, "close") and client.is_closed()
    assert web.recorder.take()[0] == "GET /last HTTP/1.1"
    check_nothing_forwarded(web)


@pytest.mark.parametrize("step", [None, 1])
def test_bytes_behind_a_1_0_request_are_dropped(web, step):
    web.recorder.forget()
    with web.client() as client:
        send_bravely(client, get("/last", version="1.0") + SMUGGLED, step)
        assert client.read_response().status == 200 and client.is_closed()
    assert web.recorder.take()[0] == "GET /last HTTP/1.1"
    check_nothing_forwarded(web)


# What looks alike and is within the law must pass; what the server sees has one meaning.
@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize(
    "lines, sent, framing, body",
    [
        ([CL + b"005"], b"hello", "Content-Length: 5", b"hello"),
        ([b"Content-Length:\t5 \t"], b"hello", "Content-Length: 5", b"hello"),
        ([b"CONTENT-LENGTH:5"], b"hello", "Content-Length: 5", b"hello"),
        ([CL + b"0"], b"", "Content-Length: 0", b""),
        ([b"transfer-ENCODING:\tChunked \t"], CHUNKS, "Transfer-Encoding: chunked", CHUNKS),
        ([TE + b"chunked"], b'5 ; a = "b;\\"" ;c\r\nhello\r\n000\r\n\r\n', "Transfer-Encoding: chunked", CHUNKS),
        ([TE + b"chunked"], b"0\r\nContent-Length: 7\r\nHost: evil\r\n\r\n",
         "Transfer-Encoding: chunked", b"0\r\n\r\n"),
        ([b"Content_Length: 7", b"Transfer_Encoding: chunked", CL + b"5"], b"hello", "Content-Length: 5", b"hello"),
        ([b"Connection: Content-Length, Transfer-Encoding, Host", CL + b"5"], b"hello", "Content-Length: 5", b"hello"),
        ([b"Connection: transfer-encoding", TE + b"chunked"], CHUNKS, "Transfer-Encoding: chunked", CHUNKS),
    ],
)
def test_framing_is_written_anew(web, lines, sent, framing, body, step):
    web.recorder.forget()
    head = b"POST /good HTTP/1.1\r\nHost: h\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    with web.client() as client:
        send_bravely(client, head + sent + get("/next"), step)
        assert [client.read_response().status for _ in range(2)] == [200, 200]
    line, fields, got = web.recorder.take()
    framed = [one for one in fields if one.lower().startswith(("content-length:", "transfer-encoding:"))]
    assert (line, framed, fields[0]) == ("POST /good HTTP/1.1", [framing], "Host: h")
    assert unchunked(got) == unchunked(body)
    assert web.recorder.take()[0] == "GET /next HTTP/1.1"


def test_a_cut_request_is_not_completed(web):
    """The client leaves in the middle of its body: the server must see that."""
    for head, half in [(get("/half", "Content-Length: 10", method="POST"), b"hello"),
                       (get("/half", "Transfer-Encoding: chunked", method="POST"), b"5\r\nhello\r\n")]:
        web.recorder.forget()
        with web.client() as client:
            client.send(head + half).half_close()
            assert client.read_all() == b""
            assert web.record_of(client)["cause"] == "client_closed"
        check_nothing_forwarded(web)
