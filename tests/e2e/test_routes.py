"""Routes: every kind of match, the first that holds wins, and the three actions."""

import pytest
from gates import get, shared
from support import Client, web_config


def respond(name, match, body=None):
    return {"name": name, "match": match, "respond": {"status": 200, "body": body or name}}


HOSTS = [
    respond("exact", {"host": "www.example.com"}),
    respond("upper", {"host": "UPPER.example.com"}),
    respond("list", {"host": ["a.example.org", "b.example.org"]}),
    respond("deep", {"host": "*.deep.example.com"}),
    respond("wild", {"host": "*.example.com"}),
    respond("address", {"host": "127.0.0.1"}),
    respond("ipv6", {"host": "[::1]"}),
]
PATHS = [
    respond("path", {"path": "/exact"}),
    respond("root", {"path": "/"}),
    respond("inner", {"path_prefix": "/api/v1"}),
    respond("prefix", {"path_prefix": "/api"}),
    respond("slash", {"path_prefix": "/dir/"}),
    respond("escaped", {"path": "/%41"}),
]
OTHERS = [
    respond("method", {"path": "/m", "method": "DELETE"}),
    respond("methods", {"path": "/m", "method": ["PUT", "PATCH"]}),
    respond("header", {"path": "/h", "header": {"X-Tenant": "blue"}}),
    respond("header-there", {"path": "/h", "header": {"X-Tenant": "*"}}),
    respond("headers", {"path": "/h", "header": {"X-One": "1", "X-Two": "2"}}),
    respond("query", {"path": "/q", "query": {"a": "1"}}),
    respond("query-there", {"path": "/q", "query": {"a": "*"}}),
    respond("queries", {"path": "/q", "query": {"x": "1", "y": "2"}}),
    respond("cookie", {"path": "/c", "cookie": {"user": "anna"}}),
    respond("cookie-there", {"path": "/c", "cookie": {"user": "*"}}),
    respond("source", {"path": "/s", "source": ["127.0.0.2/32", "10.0.0.0/8"]}),
    respond("sources", {"path": "/s", "source": "127.0.0.0/8"}),
    respond("all", {"host": "all.example.net", "path_prefix": "/all", "method": "GET", "header": {"X-A": "1"},
                    "query": {"b": "2"}, "cookie": {"c": "3"}, "source": ["127.0.0.0/8"]}),
    respond("both", {"path": "/both/exact", "path_prefix": "/both"}),
    respond("never", {"path": "/other", "path_prefix": "/both"}),
]


def build(world):
    routes = HOSTS + PATHS + OTHERS
    return web_config(frontend={"routes": routes, "default_backend": None}, backends={}) | {
        "backends": {},
        "frontends": {"web": {"bind": ["127.0.0.1:0"], "access_log": {"to": "stdout", "format": "json"},
        "routes": routes}},
    }


web = shared(build)


def check(web, expected, target="/none", host="none.example.net", fields=(), method="GET", source=None):
    with Client(web.gate.web, source=source) as client:
        client.first_record = len(web.gate.records.lines)
        response = client.request(method, target, list(fields), host=host).read_response()
        record = web.record_of(client)
    assert (response.status, response.text if expected else "404") == (200, expected) if expected else (404,
        "404"), response
    assert (record["route"], record["cause"]) == ((expected, "ok") if expected else (None, "no_route"))
    assert record["backend"] is None and record["server"] is None


@pytest.mark.parametrize(
    "host, expected",
    [
        ("www.example.com", "exact"), ("WWW.Example.COM", "exact"), ("www.example.com:8080", "exact"),
        ("www.example.com:", "exact"), ("upper.EXAMPLE.com", "upper"), ("a.example.org", "list"),
         ("b.example.org:1", "list"),
        ("c.example.org", None), ("x.example.com", "wild"), ("x.y.example.com", "wild"), ("X.Example.Com:80", "wild"),
        ("example.com", None), (".example.com", None), ("notexample.com", None), ("www.example.com.evil.net", None),
        ("x.deep.example.com", "deep"), ("deep.example.com", "wild"), ("127.0.0.1", "address"),
         ("127.0.0.1:8080", "address"),
        ("127.0.0.11", None), ("[::1]", "ipv6"), ("[::1]:8080", "ipv6"), ("a" * 300 + ".example.com", "wild"),
        ("a" * 300, None), ("*.example.com", "wild"),
    ],
)
def test_hosts(web, host, expected):
    check(web, expected, host=host)


def test_the_authority_of_an_absolute_target_decides(web):
    check(web, "exact", "http://www.example.com/none", host="a.example.org")
    check(web, None, "http://none/none", host="a.example.org")


@pytest.mark.parametrize(
    "target, expected",
    [
        ("/exact", "path"), ("/exact?a=b", "path"), ("/exact/", None), ("/Exact", None), ("/exactly", None),
         ("/", "root"),
        ("/?a", "root"), ("//", None), ("/api", "prefix"), ("/api/", "prefix"), ("/api/x", "prefix"),
         ("/api?x", "prefix"),
        ("/apix", None), ("/API", None), ("/api/v1", "inner"), ("/api/v1/x/y", "inner"), ("/api/v10", "prefix"),
        ("/api//v1", "prefix"), ("/dir/", "slash"), ("/dir/x", "slash"), ("/dir", None), ("/x/api", None),
         ("/%41", "escaped"),
        ("/A", None), ("http://none/exact", "path"), ("http://none", "root"),
    ],
)
def test_paths(web, target, expected):
    check(web, expected, target)


@pytest.mark.parametrize(
    "method, expected",
    [("DELETE", "method"), ("PUT", "methods"), ("PATCH", "methods"), ("GET", None), ("delete", None)]
)
def test_methods(web, method, expected):
    check(web, expected, "/m", method=method)


@pytest.mark.parametrize(
    "fields, expected",
    [
        ([("X-Tenant", "blue")], "header"), ([("x-tenant", "blue")], "header"),
         ([("X-Tenant", "Blue")], "header-there"),
        ([("X-Tenant", "")], "header-there"), ([("X-Tenant", "red"), ("X-Tenant", "blue")], "header"), ([], None),
        ([("X-Tenant_", "blue")], None), ([("X-One", "1"), ("X-Two", "2")], "headers"), ([("X-One", "1")], None),
        ([("X_Tenant", "blue")], None),
    ],
)
def test_headers(web, fields, expected):
    check(web, expected, "/h", fields=fields)


@pytest.mark.parametrize(
    "query, expected",
    [
        ("?a=1", "query"), ("?b=2&a=1", "query"), ("?a=2&a=1", "query"), ("?a=%31", "query"), ("?%61=1", "query"),
        ("?a=2", "query-there"), ("?a", "query-there"), ("?a=", "query-there"), ("?A=1", None), ("?aa=1", None),
         ("", None),
        ("?", None), ("?x=1&y=2", "queries"), ("?x=1", None), ("?x=1&y=3", None), ("?a=1=2", "query-there"),
    ],
)
def test_queries(web, query, expected):
    check(web, expected, "/q" + query)


@pytest.mark.parametrize(
    "cookies, expected",
    [
        (["user=anna"], "cookie"), (["a=b; user=anna; c=d"], "cookie"), (["a=b", "user=anna"], "cookie"),
        (["user=bob"], "cookie-there"), (["user="], "cookie-there"), (["User=anna"], None), (["xuser=anna"], None),
         ([], None),
        (["a=user=anna"], None), (["user=bob; user=anna"], "cookie"),
    ],
)
def test_cookies(web, cookies, expected):
    check(web, expected, "/c", fields=[("Cookie", one) for one in cookies])


@pytest.mark.parametrize("source, expected",
    [("127.0.0.1", "sources"), ("127.0.0.2", "source"), ("127.0.0.3", "sources")])
def test_sources(web, source, expected):
    check(web, expected, "/s", source=source)


ALL = dict(target="/all/x?b=2", host="all.example.net", fields=[("X-A", "1"), ("Cookie", "c=3")])


@pytest.mark.parametrize(
    "change, expected",
    [
        ({}, "all"), ({"target": "/x?b=2"}, None), ({"target": "/all/x?b=3"}, None), ({"host": "x"}, None),
        ({"method": "POST"}, None), ({"fields": [("X-A", "1")]}, None), ({"fields": [("Cookie", "c=3")]}, None),
    ],
)
def test_all_conditions_must_hold(web, change, expected):
    check(web, expected, **{**ALL, **change})


def test_path_and_prefix_together(web):
    check(web, "both", "/both/exact")
    check(web, None, "/both/x")
    check(web, None, "/other")


def test_the_first_match_wins(loomgate):
    routes = [
        respond("one", {"path_prefix": "/a"}), respond("two", {"path": "/a/b"}), respond("three", {"host": "h"}),
        respond("four", {"host": "*.h"}), respond("five", {"path": "/b"}), respond("six", {}),
    ]
    gate = loomgate(web_config("127.0.0.1:1", frontend={"routes": routes}))
    told = [gate.fetch(target, host=host).text
            for target, host in [("/a/b", "x"), ("/a", "h"), ("/b", "h"), ("/b", "x.h"), ("/b", "x"), ("/c", "x")]]
    assert told == ["one", "one", "three", "four", "five", "six"]


def test_unnamed_routes_are_numbered_in_the_record(loomgate):
    routes = [{"match": {"path": f"/{n}"}, "respond": {"status": 200}} for n in (1, 2)]
    gate = loomgate(web_config("127.0.0.1:1", frontend={"routes": routes}))
    for n in (1, 2):
        assert gate.fetch(f"/{n}").status == 200
        assert gate.record(path=f"/{n}")["route"] == f"route-{n}"


# --- actions --------------------------------------------------------------------------------------


def build_actions(world):
    one, two = world.origin(), world.origin("-n", "b2")
    world.one, world.two = one, two
    to = {
        "/scheme": "%{scheme}", "/host": "http://%{host}/", "/port": "http://x:%{port}/", "/path": "http://x%{path}",
        "/query": "http://x/?%{query}", "/uri": "https://%{host}%{uri}", "/plain": "/elsewhere",
        "/all": "%{scheme}://%{host}:%{port}%{path}?%{query}#%{uri}", "/odd": "http://x/%%{path}{}%{path}%",
    }
    redirects = [{"name": path[1:], "match": {"path_prefix": path}, "redirect": {"to": to}} for path, to in to.items()]
    statuses = [{"match": {"path": f"/s{n}"}, "redirect": {"to": "/x", "status": n}} for n in (301, 302, 303, 307, 308)]
    answers = [
        {"name": "full", "match": {"path": "/full"},
         "respond": {"status": 203, "body": "{\"a\": \"\u00e4\"}\n",
         "headers": {"Content-Type": "application/json", "X-A": "b"}}},
        {"match": {"path": "/bare"}, "respond": {"status": 204}},
        {"match": {"path": "/gone"}, "respond": {"status": 410}},
        {"match": {"path": "/text"}, "respond": {"body": "hi"}},
        {"match": {"path": "/large"}, "respond": {"body": "x" * 200_000}},
        {"match": {"path": "/503"}, "respond": {"status": 503, "headers": {"Retry-After": "7"}}},
    ]
    backends = [{"name": "to-two", "match": {"path_prefix": "/echo/two"}, "backend": "two"},
                {"name": "two-by-host", "match": {"host": "two"}, "backend": "two"}]
    return web_config(one, frontend={"routes": redirects + statuses + answers + backends},
                      backends={"two": {"servers": [two.address]}})


actions = shared(build_actions)


@pytest.mark.parametrize(
    "target, location",
    [
        ("/scheme", "http"), ("/host", "http://h.example/"), ("/path/a%20b?c", "http://x/path/a%20b"),
        ("/query?a=b&c", "http://x/?a=b&c"), ("/query", "http://x/?"), ("/query?", "http://x/?"),
        ("/uri/x?y=z", "https://h.example/uri/x?y=z"), ("/plain", "/elsewhere"), ("/port", "http://x:{port}/"),
        ("/all/x?y", "http://h.example:{port}/all/x?y#/all/x?y"), ("/odd", "http://x/%/odd{{}}/odd%"),
    ],
)
@pytest.mark.parametrize("host", ["h.example", "h.example:8080"])
def test_redirects(actions, target, location, host):
    with actions.client() as client:
        response = client.request("GET", target, host=host).read_response()
        own = actions.gate.web.rpartition(":")[2]
        assert (response.status, response.header("Location")) == (308, location.format(port=own))
        record = actions.record_of(client)
        assert (record["status"], record["cause"], record["server"]) == (308, "ok", None)
        assert client.request("GET", "/text").read_response().body == b"hi"  # the connection goes on


@pytest.mark.parametrize("host, told", [("[::1]", "[::1]"), ("[::1]:80", "[::1]"), ("A.example", "A.example")])
def test_hosts_in_redirects(actions, host, told):
    assert actions.fetch("/host", host=host).header("Location") == f"http://{told}/"
    assert actions.fetch(f"http://{host}/host").header("Location") == f"http://{told}/"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_statuses(actions, status):
    response = actions.fetch(f"/s{status}")
    assert (response.status, response.header("Location"), response.body) == (status, "/x", b"")


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(
    "path, status, body, content_type",
    [
        ("/full", 203, "{\"a\": \"\u00e4\"}\n".encode(), "application/json"), ("/bare", 204, b"", None),
         ("/gone", 410, b"", None),
        ("/text", 200, b"hi", "text/plain; charset=utf-8"),
         ("/large", 200, b"x" * 200_000, "text/plain; charset=utf-8"),
        ("/503", 503, b"", None),
    ],
    ids=["full", "bare", "gone", "text", "large", "503"],
)
def test_fixed_answers(actions, path, status, body, content_type, version):
    response = actions.fetch(path, version=version)
    assert (response.status, response.body, response.header("Content-Type")) == (status, body, content_type)
    assert response.header("Content-Length") == (None if status == 204 else str(len(body)))
    assert response.header("X-Request-Id") and response.header("Date")
    head = actions.fetch(path, method="HEAD", version=version)
    assert (head.status, head.body, head.header("Content-Length")) == (status, b"", response.header("Content-Length"))


def test_fields_of_fixed_answers(actions):
    response = actions.fetch("/full")
    assert response.headers.all("X-A") == ["b"] and response.headers.all("Content-Type") == ["application/json"]
    assert actions.fetch("/503").headers.all("Retry-After") == ["7"]


def test_backends(actions):
    assert actions.echo("/echo").name == "a1" == actions.echo("/echo/one").name
    assert actions.echo("/echo/two").name == "b2" and actions.echo(host="two").name == "b2"
    record = actions.gate.record(path="/echo/two")
    assert (record["route"], record["backend"], record["server"]) == ("to-two", "two", actions.two.address)
    record = actions.gate.record(path="/echo/one")
    assert (record["route"], record["backend"], record["server"]) == (None, "app", actions.one.address)


def test_without_a_match_and_without_a_default_it_is_404(web):
    response = web.fetch("/nothing", host="nobody")
    assert response.status == 404 and b"nothing is served here" in response.body


def test_a_local_answer_does_not_wait_for_the_body(actions):
    with actions.client() as client:
        client.send(get("/text", "Content-Length: 5", method="POST"))
        assert client.read_response("POST").body == b"hi"
        client.send(b"hello" + get("/gone"))
        assert client.read_response().status == 410


# --- timeouts of a route --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "timeouts, path, cause",
    [
        ({"response": "100ms"}, "/hang", "response_timeout"),
        ({"response": "100ms"}, "/delay/600/size/1", "response_timeout"),
        ({"request": "100ms"}, "/hang", "request_timeout"),
        ({"request": "100ms"}, "/delay/600/size/1", "request_timeout"),
    ],
)
def test_route_timeouts(loomgate, origin, timeouts, path, cause):
    """They are the route's alone."""
    routes = [{"name": "quick", "match": {"host": "quick"}, "backend": "app", "timeouts": timeouts}]
    gate = loomgate(web_config(origin("-n", "a1"), frontend={"routes": routes}))
    with gate.client() as client:
        response = client.request("GET", path, host="quick").read_response()
        assert response.status == 504
        record = gate.record(route="quick")
        assert (record["cause"], record["status"]) == (cause, 504) and 90 < record["total_ms"] < 550
        assert client.request("GET", "/delay/200/size/1", host="patient").read_response().body == b"0"


def test_route_timeout_in_a_body(loomgate, origin):
    routes = [{"name": "quick", "match": {"host": "quick"}, "backend": "app", "timeouts": {"server": "100ms"}}]
    gate = loomgate(web_config(origin("-n", "a1"), frontend={"routes": routes}))
    assert gate.fetch("/trickle/4/150", host="patient").body == b"0123"
    with gate.client() as client:
        response = client.request("GET", "/trickle/4/300", host="quick").read_head()
        assert response.status == 200 and len(client.read_all()) < 4
        assert gate.record(route="quick")["cause"] == "server_timeout"
