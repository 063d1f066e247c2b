"""Fields of heads on their way: what is the connection's own, what LoomGate sets, what must not be shadowed."""

import email.utils
import re
import time

import pytest
from gates import get, shared
from support import web_config

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TRUSTED = ["127.0.0.1/32"]
STRANGER = "127.0.0.9"


def frontend(**more):
    return {"bind": ["127.0.0.1:0"], "access_log": {"to": "stdout", "format": "json"}, "default_backend": "app", **more}


def build(world):
    return web_config(
        world.record(),
        frontends={
            "append": frontend(forwarded={"x_forwarded": "append", "trusted": TRUSTED}),
            "replace": frontend(forwarded={"x_forwarded": "replace", "trusted": TRUSTED}),
            "off": frontend(forwarded={"x_forwarded": "off"}),
            "trust": frontend(request_id={"header": "X-Request-Id", "trust": True}),
            "named": frontend(request_id={"header": "X_Trace.Id", "trust": True}),
        },
    )


web = shared(build)


def sent(web, *fields, name="web", source=None, host="h", target="/", method="GET", body=None, version="1.1"):
    """What the server gets: {lower-case name: [value, ...]}, and the client's response and record."""
    web.recorder.forget()
    with web.client(name, source=source) as client:
        pairs = [tuple(one.split(": ", 1)) if ": " in one else (one.rstrip(":"), "") for one in fields]
        response = client.request(method, target, pairs, body, host=host, version=version).read_response()
        assert response.status == 200, response
        record = web.record_of(client)
    seen = {}
    for line in web.recorder.take()[1]:
        key, _, value = line.partition(":")
        seen.setdefault(key.lower(), []).append(value.strip())
    return seen, response, record


# --- hop by hop -----------------------------------------------------------------------------------

HOP = ["Connection: keep-alive", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: gzip", "Upgrade: foo",
       "HTTP2-Settings: AA"]


def test_hop_by_hop_fields_of_requests_are_removed(web):
    seen, _, _ = sent(web, *HOP, "X-Kept: 1")
    assert seen["x-kept"] == ["1"]
    assert not {"connection", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings"} & set(seen)


@pytest.mark.parametrize(
    "connection, gone",
    [
        (["x-a"], {"x-a"}), (["X-A, x-b"], {"x-a", "x-b"}), (["X-A", "close, X-B"], {"x-a", "x-b"}),
        ([",, X-A ,,"], {"x-a"}), (["\tX-A\t,\tX-B"], {"x-a", "x-b"}), (["x-c"], set()), (["x"], set()),
         (['"X-A"'], set()),
    ],
)
def test_fields_named_by_connection_are_removed_from_requests(web, connection, gone):
    seen, _, _ = sent(web, "X-A: 1", *(f"Connection: {one}" for one in connection), "X-B: 2", "x-a: 3")
    assert {"x-a", "x-b"} - set(seen) == gone and "connection" not in seen


def test_repeated_connection_naming_itself(web):
    seen, _, _ = sent(web, "Connection: connection, X-A", "X-A: 1", "Connection: X-B", "X-B: 2")
    assert not {"x-a", "x-b", "connection"} & set(seen)


def test_connection_does_not_remove_what_is_protected(web):
    names = ["Host", "Content-Length", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port",
             "X-Request-Id", "Transfer-Encoding"]
    seen, response, record = sent(web, f"Connection: {', '.join(names).lower()}", method="POST", body=b"abc")
    assert (seen["host"], seen["content-length"]) == (["h"], ["3"])
    assert seen["x-forwarded-for"] == ["127.0.0.1"] and seen["x-forwarded-proto"] == ["http"]
    assert seen["x-forwarded-host"] == ["h"] and "x-forwarded-port" in seen
    assert seen["x-request-id"] == [record["id"]] == [response.header("X-Request-Id")]


def answered(loomgate, fake_server, *lines, body=b"ok", **request):
    answer = "\r\n".join(["HTTP/1.1 200 OK", *lines,
        f"Content-Length: {len(body)}"]).encode("latin-1") + b"\r\n\r\n" + body
    gate = loomgate(web_config(fake_server(answer)))
    return gate.fetch("/", **request)


def test_hop_by_hop_fields_of_responses_are_removed(loomgate, fake_server):
    response = answered(loomgate, fake_server, "Connection: X-A, keep-alive", "X-A: 1", "Keep-Alive: timeout=5, max=7",
                        "Proxy-Connection: close", "Upgrade: h2,h2c", "TE: x", "X-B: 2", "connection: x-c", "X-C: 3")
    assert response.header("X-B") == "2" and response.body == b"ok"
    for name in ["Connection", "X-A", "X-C", "Keep-Alive", "Proxy-Connection", "Upgrade", "TE"]:
        assert name not in response.headers, name


def test_connection_of_a_response_does_not_remove_the_length_or_the_id(loomgate, fake_server):
    response = answered(loomgate, fake_server, "Connection: Content-Length, X-Request-Id, Transfer-Encoding")
    assert (response.header("Content-Length"), response.body) == ("2", b"ok") and response.header("X-Request-Id")


def test_fields_of_an_interim_answer(loomgate, fake_server):
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-A\r\nX-A: 1\r\nKeep-Alive: 5\r\n\r\n"
    gate = loomgate(web_config(fake_server(answer + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
    assert gate.fetch("/").interim[0].headers == [("Link", "</a>")]


def test_end_to_end_fields_pass_in_order(web, loomgate, fake_server):
    lines = ["Server: x/1", "Set-Cookie: a=b", "Set-Cookie: c=d", "WWW-Authenticate: Basic realm=x", "ETag: W/\"1\"",
        "Vary: *",
             "Warning: 1", "Via: 1.1 other", "X-Powered-By: y", "Cache-Control: no-store", "X-Last: z"]
    response = answered(loomgate, fake_server, *lines)
    assert [f"{name}: {value}" for name, value in response.headers if f"{name}: {value}" in lines] == lines
    fields = ["Authorization: Basic eA==", "Cookie: a=b", "Accept: */*", "Forwarded: for=x", "Via: 1.1 other",
        "Max-Forwards: 3",
              "Trailer: X-Sum", "Range: bytes=0-"]
    seen, _, _ = sent(web, *fields)
    for one in fields:
        name, _, value = one.partition(": ")
        assert seen[name.lower()] == [value]


# --- Via, Date, Server, TE ------------------------------------------------------------------------


def test_no_via_and_no_server_of_our_own(web):
    seen, response, _ = sent(web)
    assert "via" not in seen and "Via" not in response.headers and "Server" not in response.headers


def test_date_is_added(web):
    _, response, _ = sent(web)
    told = response.header("Date")
    assert re.fullmatch(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT", told)
    assert abs(email.utils.parsedate_to_datetime(told).timestamp() - time.time()) < 10


def test_date_is_kept(loomgate, fake_server):
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    assert answered(loomgate, fake_server, f"dAtE: {date}").headers.all("Date") == [date]


def test_date_of_answers_of_our_own(web):
    with web.client() as client:
        client.send(b"nonsense\r\n\r\n")
        assert client.read_response().header("Date")


@pytest.mark.parametrize(
    "fields, te",
    [
        (["TE: trailers", "Connection: TE"], ["trailers"]),
         (["TE: gzip;q=0.5, Trailers", "Connection: te"], ["trailers"]),
        (["TE: gzip", "Connection: TE"], None), (["TE:", "Connection: TE"], None), ([], None),
    ],
)
def test_te(web, fields, te):
    seen, _, _ = sent(web, *fields)
    assert seen.get("te") == te
    assert [one.lower() for one in seen.get("connection", [])] == (["te"] if te else [])


# --- X-Forwarded-* --------------------------------------------------------------------------------

FORGED = ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Forwarded-Port: 443",
          "x-forwarded-for: 2.2.2.2"]
KEYS = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"]


def forwarded(seen):
    return [seen.get(key) for key in KEYS]


def own(web, name, client="127.0.0.1", host="h"):
    return [[client], ["http"], [host], [web.gate.address(name).rpartition(":")[2]]]


@pytest.mark.parametrize("name", ["web", "append", "replace"])
def test_forwarded_is_set(web, name):
    assert forwarded(sent(web, name=name, host="a.example:81")[0]) == own(web, name, host="a.example:81")


@pytest.mark.parametrize("name, source",
    [("web", None), ("append", STRANGER), ("replace", None), ("replace", STRANGER)])
def test_forged_ones_are_replaced(web, name, source):
    """Nobody is trusted by default; `replace` trusts nobody."""
    assert forwarded(sent(web, *FORGED, name=name, source=source)[0]) == own(web, name, source or "127.0.0.1")


def test_those_of_a_trusted_client_are_kept_and_continued(web):
    told = forwarded(sent(web, *FORGED, name="append")[0])
    assert told == [["1.1.1.1, 2.2.2.2, 127.0.0.1"], ["https"], ["evil"], ["443"]]
    told = forwarded(sent(web, "X-Forwarded-For: 1.1.1.1", name="append")[0])
    assert told == [["1.1.1.1, 127.0.0.1"], *own(web, "append")[1:]]
    told = forwarded(sent(web, "X-Forwarded-For:", name="append")[0])
    assert told == own(web, "append")


def test_off_leaves_them_alone(web):
    assert forwarded(sent(web, name="off")[0]) == [None] * 4
    assert forwarded(sent(web, *FORGED, name="off")[0]) == [["1.1.1.1", "2.2.2.2"], ["https"], ["evil"], ["443"]]


VARIANTS = ["X_Forwarded_For: 6.6.6.6", "x-forwarded_for: 6.6.6.6", "X_FORWARDED-PROTO: https",
    "X-Forwarded_Host: evil",
            "x_forwarded_port: 1"]


@pytest.mark.parametrize("name, source", [("web", None), ("append", None), ("append", STRANGER), ("replace", None)])
def test_nothing_shadows_them(web, name, source):
    """Many a server sees '_' and '-' as one: such a spelling must not bring in what was refused."""
    seen, _, _ = sent(web, *VARIANTS, name=name, source=source)
    assert forwarded(seen) == own(web, name, source or "127.0.0.1")
    assert {key for key in seen if key.replace("_", "-").startswith("x-forwarded")} == set(KEYS)


def test_other_names_with_underscores_pass_as_they_are(web):
    seen, _, _ = sent(web, "X_Custom_Name: 1", "Content_Length: 5", "Transfer_Encoding: chunked", "x.dotted: 2")
    assert (seen["x_custom_name"], seen["x.dotted"]) == (["1"], ["2"])


def test_forwarded_of_an_absolute_target_tells_its_authority(web):
    assert sent(web, target="http://real.example/", host="other")[0]["x-forwarded-host"] == ["real.example"]


def test_no_forwarded_host_without_a_host(web):
    seen, _, _ = sent(web, host=None, version="1.0")
    assert "x-forwarded-host" not in seen and seen["x-forwarded-for"] == ["127.0.0.1"]


# --- the id ---------------------------------------------------------------------------------------


def test_every_exchange_has_an_id(web):
    ids = []
    for _ in range(20):
        before = int(time.time() * 1000)
        seen, response, record = sent(web)
        (one,) = seen["x-request-id"]
        assert UUID7.fullmatch(one) and response.headers.all("X-Request-Id") == [one] and record["id"] == one
        made = int(one.replace("-", "")[:12], 16)
        assert before - 1000 <= made <= int(time.time() * 1000) + 1000, "its first 48 bits are the time"
        ids.append(one)
    assert len(set(ids)) == 20 and [one[:13] for one in ids] == sorted(one[:13] for one in ids)


def test_a_clients_id_is_replaced_unless_trusted(web):
    seen, response, record = sent(web, "X-Request-Id: mine", "x-request-id: also-mine")
    (one,) = seen["x-request-id"]
    assert UUID7.fullmatch(one) and (response.header("X-Request-Id"), record["id"]) == (one, one)


@pytest.mark.parametrize("own_id", ["mine", "a" * 128, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "0"])
def test_a_trusted_id_is_kept(web, own_id):
    seen, response, record = sent(web, f"X-Request-Id: {own_id}", name="trust")
    assert (seen["x-request-id"], response.headers.all("X-Request-Id"), record["id"]) == ([own_id], [own_id], own_id)


@pytest.mark.parametrize("own_id", ["", "a" * 129, "a b", "a\tb", "\xe4", "a" * 5000])
def test_an_id_that_is_none_is_replaced(web, own_id):
    seen, response, record = sent(web, f"X-Request-Id: {own_id}", name="trust")
    (one,) = seen["x-request-id"]
    assert UUID7.fullmatch(one) and (response.headers.all("X-Request-Id"), record["id"]) == ([one], one)


@pytest.mark.parametrize("name", ["web", "trust"])
def test_no_spelling_shadows_the_id(web, name):
    seen, response, record = sent(web, "X_Request_Id: forged", "x-request_id: forged", name=name)
    assert [key for key in seen if key.replace("_", "-") == "x-request-id"] == ["x-request-id"]
    assert seen["x-request-id"] == [record["id"]] and UUID7.fullmatch(record["id"])


def test_the_ids_field_has_the_configured_name(web):
    seen, response, record = sent(web, "X_Trace.Id: mine", "X-Request-Id: other", "X-Trace.Id: shadow", name="named")
    assert (seen["x_trace.id"], response.header("X_Trace.Id"), record["id"]) == (["mine"], "mine", "mine")
    assert seen["x-request-id"] == ["other"] and "x-trace.id" not in seen


def test_a_servers_id_is_not_returned_beside_ours(loomgate, fake_server):
    response = answered(loomgate, fake_server, "X-Request-Id: servers", "x_request_id: servers")
    (one,) = response.headers.all("X-Request-Id")
    assert UUID7.fullmatch(one) and "x_request_id" not in response.headers


def test_pipelined_requests_have_their_own_ids(web):
    with web.client() as client:
        client.send(get("/") * 3)
        ids = [client.read_response().header("X-Request-Id") for _ in range(3)]
    assert len(set(ids)) == 3


def test_an_id_cannot_forge_a_record(web):
    """Quotes, braces and backslashes are escaped, in JSON answers and in the log."""
    own_id = '","status":777,"x":"\\'
    _, response, record = sent(web, f"X-Request-Id: {own_id}", name="trust")
    assert response.header("X-Request-Id") == own_id and (record["id"], record["status"]) == (own_id, 200)


# --- traceparent ----------------------------------------------------------------------------------

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_traceparent_passes_and_is_logged(web):
    seen, _, record = sent(web, f"traceparent: {TRACE}", "tracestate: a=b")
    assert (seen["traceparent"], seen["tracestate"], record["traceparent"]) == ([TRACE], ["a=b"], TRACE)
    assert "traceparent" not in sent(web)[2]
