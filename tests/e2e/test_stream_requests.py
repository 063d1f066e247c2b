"""`stream requests`: exchanges as they end: what is told, filtered, sampled and counted, and what slow readers get."""

import json
import subprocess
import time

import pytest
from control_client import control, control_settings
from gates import shared
from support import ROOT, TIMEOUT, eventually, web_config

RECORD = ["time", "id", "frontend", "route", "backend", "server", "client", "method", "host", "path", "protocol",
          "status", "cause", "blame", "bytes_in", "bytes_out", "queue_ms", "connect_ms", "first_byte_ms", "total_ms",
          "tries", "reused"]


def build(world):
    """One worker: then records come in the order of the requests. `quiet` has no access log."""
    routes = [{"name": "own", "match": {"path": "/own"}, "respond": {"status": 200, "body": "x"}},
              {"name": "bad", "match": {"path": "/bad"}, "respond": {"status": 503}}]
    quiet = {"bind": ["127.0.0.1:0"], "default_backend": "app", "routes": routes}
    return web_config(world.origin(), settings=control_settings(), frontend={"routes": routes},
                      frontends={"quiet": quiet})


web = shared(build)


def ask(client, target):
    return client.request(target=target).read_response()


class Follower:
    """A stream on a connection of its own. `records`: what has come and was not taken yet."""

    def __init__(self, gate, words):
        self.gate, self.records, self.ended = gate, [], False
        self.raw = control(gate, "operator").open().send(f"stream requests {words}\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.close()

    def poll(self, seconds=0.02):
        """What comes within a moment; the empty line sets `ended`."""
        self.raw.sock.settimeout(seconds)
        try:
            data = self.raw.sock.recv(1 << 20)
            assert data or self.ended, "the connection was closed"
            self.raw.buffer += data
        except TimeoutError:
            pass
        finally:
            self.raw.sock.settimeout(TIMEOUT)
        *lines, self.raw.buffer = self.raw.buffer.split(b"\n")
        for line in lines:
            assert not self.ended
            if line:
                self.records.append(json.loads(line))
            else:
                self.ended = True

    def take(self, count=1):
        eventually(lambda: len(self.records) >= count or self.poll() or len(self.records) >= count, f"{count} records")
        taken, self.records = self.records[:count], self.records[count:]
        return taken

    def take_until(self, path):
        """The records up to and with the one of `path`."""
        taken = self.take()
        while taken[-1]["path"] != path:
            taken += self.take()
        return taken

    def await_open(self):
        """Asks until it is told of: whatever ends from then on is, too."""
        number = 0
        with self.gate.client("quiet") as client:
            while not self.records:
                number += 1
                assert ask(client, f"/own?await-{number}").status == 200
                self.poll()
        self.take_until(f"/own?await-{number}")
        return self


def follow(web, words=""):
    return Follower(web.gate, words)


# --- what is told -----------------------------------------------------------------------------------------------------


def test_each_exchange_is_told_as_in_the_access_log(web):
    with follow(web) as stream:
        stream.await_open()
        web.gate.fetch("/echo?1", host="example.org")
        first = stream.take()[0]
        assert list(first) == RECORD
        named = [first[name] for name in ("frontend", "backend", "path", "host")]
        assert named == ["web", "app", "/echo?1", "example.org"]
        assert web.gate.records.wait(lambda record: record["id"] == first["id"]) == first
        with web.gate.client("quiet") as client:
            ask(client, "/bad?2")
        second = stream.take()[0]
        assert [second[name] for name in ("frontend", "route", "status", "server")] == ["quiet", "bad", 503, None]


def test_only_what_the_filter_takes(web):
    with follow(web, 'where status>=500 and route==bad and path~"^/bad\\?[a-z]$" or path~await') as stream:
        stream.await_open()
        for target in ("/own", "/bad?1", "/bad?x", "/own?x", "/bad?xy", "/bad?y"):
            web.gate.fetch(target)
        assert [record["path"] for record in stream.take(2)] == ["/bad?x", "/bad?y"]


def test_several_at_once(web):
    with follow(web) as everything, follow(web, "where path~await or status==503") as failures:
        everything.await_open()
        failures.await_open()
        for target in ("/own", "/bad?last"):
            web.gate.fetch(target)
        assert [record["status"] for record in everything.take_until("/bad?last")[-2:]] == [200, 503]
        told = [record["path"] for record in failures.take_until("/bad?last")]
        assert [path for path in told if "await" not in path] == ["/bad?last"]


# --- its end ----------------------------------------------------------------------------------------------------------


def test_a_count_ends_it(web):
    with follow(web, "where status==503 count 3 json") as stream:
        while not stream.ended:
            web.gate.fetch("/bad")
            stream.poll()
        assert [record["status"] for record in stream.records] == [503] * 3
        assert stream.raw.send("log level\n").answer().startswith("error: usage: ")


@pytest.mark.parametrize("end", ["\n", "\r\n", None])
def test_an_empty_line_or_the_end_of_input_ends_it(web, end):
    with follow(web) as stream:
        stream.await_open()
        if end:
            assert stream.raw.send(end).until(b"\n") == b"\n"
            assert stream.raw.send("log level\n").answer().startswith("error: usage: ")
        else:
            stream.raw.end()
            assert stream.raw.rest() == b"\n"


def test_a_client_that_goes_takes_its_stream_with_it(web):
    for _ in range(80):  # more than there may be at once
        with follow(web, "where status>=500"):
            pass
    with follow(web) as stream:
        stream.await_open()


# --- by socat and loomctl ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [
    ["where", "status==503 and path~\"^/bad\"", "count", "2"],
    ["where", "status==503", "and", 'path~"(/bad|/b ad)"', "sample", "1000/s", "count", "2"],
])
def test_loomctl(web, words):
    """A shell has taken the outer quotes; loomctl quotes each of its words again."""
    command = [ROOT / "contrib" / "loomctl", "-s", control(web.gate).path, "stream", "requests", *words]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            web.gate.fetch("/bad")
            web.gate.fetch("/own")
        out, _ = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert [json.loads(line)["path"] for line in out.splitlines()] == ["/bad", "/bad"]


def test_misuse(web):
    admin = control(web.gate)
    for words, wanted in {
        "where status>=high": "behind 'where': column 9: a number is expected after 'status>=', not 'high'",
        "where": "column 1: a comparison is expected here",
        "where stauts==500": "did you mean 'status'?",
        "where status>=500 limit 5": "'limit' is not expected here; stream requests [where EXPR]",
        'where path~"(a"': "the regular expression is wrong",
        "where reused or": "a comparison is expected",
        "count 0": "'count' takes a number from 1 on",
        "count": "'count' takes a number from 1 on",
        "sample 10": "'sample' takes how many a second, such as 10/s",
        "sample 0/s": "'sample' takes how many a second",
        "sample 10/m": "'sample' takes how many a second",
        "sample 9999999/s": "at most 1000000/s",
        "where reused sample x": "'sample' takes how many a second",
    }.items():
        assert wanted in admin.error(f"stream requests {words}", "usage"), words
    assert "needs the level operator" in control(web.gate, "user").error("stream requests", "denied")


# --- much -------------------------------------------------------------------------------------------------------------


def test_a_sample(web):
    began = time.monotonic()
    with follow(web, "sample 2/s") as stream, follow(web) as everything:
        while not stream.records:
            web.gate.fetch("/own")
            stream.poll()
        everything.await_open()
        for number in range(200):
            web.gate.fetch(f"/own?{number}")
        everything.take_until("/own?199")
        stream.raw.send("\n")
        eventually(lambda: stream.poll() or stream.ended, "the end")
        assert len(stream.records) <= 2 * (time.monotonic() - began) + 1


def test_a_reader_that_does_not_read_loses_lines_and_is_told_how_many(web):
    """Traffic goes on; what is read and what is told as lost are all that there was."""
    with follow(web) as stream, web.gate.client("quiet") as client:
        stream.await_open()
        for number in range(600):
            assert ask(client, f"/own?{'x' * 3000}-{number}").status == 200
        told, asked, last = [], 600, None
        while last != f"/own?mark-{asked}":  # as long as others are on the way the mark may be lost as well
            asked += 1
            assert ask(client, f"/own?mark-{asked}").status == 200
            stream.poll(0.2)
            told += stream.records
            stream.records = []
            last = told[-1]["path"] if told else None
        lost = sum(record.get("dropped", 0) for record in told)
        assert len(told) + lost == asked and lost > 0
