"""The clients that people use, through the proxy: each does a small run without an error."""

import asyncio
import http.client
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
import zlib

import pytest
from scale import scaled
from support import TIMEOUT, eventually, pattern, web_config

REQUESTS = scaled(2000, least=200)


def tool(name, *args, data=None):
    """Runs it to its end and returns its standard output."""
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([path, *map(str, args)], input=data, capture_output=True, timeout=TIMEOUT * 2)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout


@pytest.fixture
def gate(loomgate, origin):
    servers = [origin("-n", "a1"), origin("-n", "a2")]
    return loomgate(web_config(*servers, settings={"workers": 2}))


@pytest.fixture
def url(gate):
    return f"http://{gate.web}"


def all_ok(gate, count):
    """So many records, none of a failure."""
    records = gate.records.wait_count(lambda record: True, count)
    assert all(record["cause"] == "ok" for record in records), [r for r in records if r["cause"] != "ok"][:3]


# ---- curl ----


def test_curl(gate, url, tmp_path):
    assert tool("curl", "-sS", f"{url}/size/100000") == pattern(100000)
    assert tool("curl", "-sS", f"{url}/chunked/100000?trailers=1") == pattern(100000)
    assert tool("curl", "-sS", "-0", f"{url}/chunked/1000") == pattern(1000)
    assert b"200" in tool("curl", "-sS", "-I", f"{url}/size/10").splitlines()[0]
    both = tool("curl", "-sS", "-w", "%{num_connects}\n", "-o", tmp_path / "a", f"{url}/size/10", "-o", tmp_path / "b",
                f"{url}/size/11")
    assert both.split() == [b"1", b"0"], "the connection was not reused"


def test_curl_uploads(gate, url, tmp_path):
    body = pattern(3_000_000)
    (tmp_path / "body").write_bytes(body)
    expected = b"bytes %d adler32 %08x\n" % (len(body), zlib.adler32(body))
    assert tool("curl", "-sS", "-T", tmp_path / "body", f"{url}/sink") == expected  # asks by Expect: 100-continue
    assert tool("curl", "-sS", "-T", "-", f"{url}/sink", data=body) == expected  # chunked
    assert tool("curl", "-sS", "--data-binary", f"@{tmp_path}/body", f"{url}/sink") == expected
    form = tool("curl", "-sS", "-F", f"file=@{tmp_path}/body", f"{url}/sink")
    assert int(form.split()[1]) > len(body)


def test_curl_many_at_once(gate, url, tmp_path):
    tool("curl", "-sS", "--parallel", "--parallel-max", 20, "--fail", f"{url}/size/[1-{REQUESTS // 10}]", "-o",
         tmp_path / "#1")
    assert (tmp_path / "77").read_bytes() == pattern(77) if REQUESTS >= 770 else True
    all_ok(gate, REQUESTS // 10)


def test_curl_sees_failures(gate, url):
    done = tool("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{http_code}", f"{url}/reset")
    assert done.split()[0] == b"502"
    path = shutil.which("curl")
    cut = subprocess.run([path, "-sS", f"{url}/cut/100000"], capture_output=True, timeout=TIMEOUT)
    assert cut.returncode in (18, 56), "a cut body looked whole"
    cut = subprocess.run([path, "-sS", f"{url}/cut-chunked/100000"], capture_output=True, timeout=TIMEOUT)
    assert cut.returncode in (18, 56), "a cut chunked body looked whole"


# ---- load generators ----


@pytest.mark.threads
def test_wrk(gate, url):
    said = tool("wrk", "-t2", "-c40", "-d1s", f"{url}/size/1000").decode()
    assert int(re.search(r"([0-9]+) requests in", said)[1]) > 100
    assert "Socket errors" not in said and "Non-2xx" not in said, said


@pytest.mark.parametrize("keep_alive", [[], ["-k"]], ids=["close", "keep-alive"])
def test_ab(gate, url, keep_alive):
    said = tool("ab", "-q", *keep_alive, "-n", REQUESTS, "-c", 20, f"{url}/size/1000").decode()
    assert re.search(rf"Complete requests:\s+{REQUESTS}\n", said) and re.search(r"Failed requests:\s+0\n", said), said
    assert "Non-2xx" not in said
    if keep_alive:
        assert int(re.search(r"Keep-Alive requests:\s+([0-9]+)", said)[1]) > REQUESTS * 0.9, said
    all_ok(gate, REQUESTS)


def test_ab_posts(gate, url, tmp_path):
    (tmp_path / "body").write_bytes(pattern(16384))
    posts = ("-p", tmp_path / "body", "-T", "text/plain")
    said = tool("ab", "-q", "-k", "-n", 200, "-c", 10, *posts, f"{url}/sink").decode()
    assert re.search(r"Complete requests:\s+200\n", said) and re.search(r"Failed requests:\s+0\n", said), said


@pytest.mark.threads
@pytest.mark.parametrize("pipelined", [1, 10])
def test_h2load(gate, url, pipelined):
    said = tool("h2load", "--h1", "-n", REQUESTS, "-c", 20, "-m", pipelined, f"{url}/size/1000").decode()
    counts = re.search(r"requests: .* ([0-9]+) succeeded, ([0-9]+) failed, ([0-9]+) errored", said)
    assert counts and counts.groups() == (str(REQUESTS), "0", "0"), said
    assert f"status codes: {REQUESTS} 2xx" in said


# ---- libraries ----

NODE = """
const http = require('http');
const agent = new http.Agent({keepAlive: true, maxSockets: 8});
const [base, count] = [process.argv[2], Number(process.argv[3])];
let left = count, sockets = new Set(), bad = 0;
function one(i) {
  const post = i % 3 === 0;
  const request = http.request(base + (post ? '/sink' : '/chunked/' + i + '?trailers=1'),
                               {agent, method: post ? 'POST' : 'GET'}, (response) => {
    let size = 0;
    sockets.add(response.socket.localPort);
    response.on('data', (chunk) => { size += chunk.length; });
    response.on('end', () => {
      if (response.statusCode !== 200 || (!post && size !== i) || !response.complete) bad++;
      if (--left === 0) {
        console.log(JSON.stringify({bad, sockets: sockets.size}));
        agent.destroy();
      }
    });
  });
  request.on('error', (error) => { console.error(error); process.exit(1); });
  if (post) { request.write('x'.repeat(i)); request.end('end'); } else request.end();
}
for (let i = 0; i < count; i++) one(i);
"""


def test_node(gate, url, tmp_path):
    (tmp_path / "client.js").write_text(NODE)
    said = json.loads(tool("node", tmp_path / "client.js", url, REQUESTS // 4))
    assert said["bad"] == 0 and said["sockets"] <= 8
    all_ok(gate, REQUESTS // 4)


def test_python_http_client(gate):
    connection = http.client.HTTPConnection(gate.web, timeout=TIMEOUT)
    connection.connect()
    local = connection.sock.getsockname()
    for size in (0, 1, 1000, 100000):
        connection.request("GET", f"/size/{size}")
        assert connection.getresponse().read() == pattern(size)
        connection.request("POST", "/sink", body=iter([b"x" * size, b"y"]), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})
        assert connection.getresponse().read().startswith(b"bytes %d " % (size + 1))
        connection.request("HEAD", f"/size/{size}")
        response = connection.getresponse()
        assert response.read() == b"" and response.length in (None, 0, size)
    assert connection.sock.getsockname() == local, "not the same connection"
    connection.close()
    all_ok(gate, 12)


def test_python_urllib(gate, url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for size in (0, 1000, 100000):
        assert opener.open(f"{url}/chunked/{size}", timeout=TIMEOUT).read() == pattern(size)
    answer = opener.open(f"{url}/sink", data=b"abc", timeout=TIMEOUT).read()
    assert answer.startswith(b"bytes 3 ")
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(f"{url}/status/503", timeout=TIMEOUT)
    assert caught.value.code == 503
    with pytest.raises(http.client.IncompleteRead):
        opener.open(f"{url}/cut/1000", timeout=TIMEOUT).read()


def test_python_asyncio_streams(gate):
    host, port = gate.web.rsplit(":", 1)

    async def one(number):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /size/%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % number)
        data = await reader.read()
        writer.close()
        return data.endswith(pattern(number)) and data.startswith(b"HTTP/1.1 200 ")

    async def all_of_them():
        return await asyncio.gather(*[one(number) for number in range(1, 200)])

    assert all(asyncio.run(all_of_them()))
    all_ok(gate, 199)


def test_through_a_forward_proxy_request(gate, url):
    """A client that takes us for its forward proxy sends absolute-form targets."""
    target = tool("curl", "-sS", "-x", url, "http://some.example/echo?x=1").decode()
    assert "GET /echo?x=1 HTTP/1.1" in target and re.search(r"(?i)host: some\.example", target)


def test_nothing_is_left_behind(gate, url):
    before = gate.descriptors()
    tool("curl", "-sS", "--parallel", f"{url}/size/[1-50]", "-o", "/dev/null")
    eventually(lambda: gate.descriptors() <= before + 60, "closed descriptors")
