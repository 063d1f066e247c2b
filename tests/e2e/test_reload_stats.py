"""Counters and windows go on over reloads: a stream of them has no jump, and what is known of servers stays."""

import itertools
import json
import threading

import pytest
from control_client import control
from reloads import Reloader, servers_of
from scale import scaled
from support import TIMEOUT, Cut, web_config

HELD = {"open": ("breaker", "open"), "drained": ("admin", "drain"), "heavy": ("weight", 5)}
LINES = 2 + 2 + 2 + len(HELD)  # frontends, backends, servers


class Reader(threading.Thread):
    """Reads a stream of stats until its end; its frames, {(kind, name): line} each."""

    def __init__(self, raw):
        super().__init__(daemon=True)
        self.raw, self.frames, self.failure = raw, [], None
        self.came = threading.Condition()
        raw.send("stream stats every 50ms\n")
        self.start()

    def run(self):
        try:
            while True:
                lines = []
                for _ in range(LINES):
                    line = self.raw.line()
                    if line == "\n":
                        return
                    lines.append(json.loads(line))
                with self.came:
                    self.frames.append({(line["kind"], line["name"]): line for line in lines})
                    self.came.notify_all()
        except (OSError, AssertionError, ValueError) as error:
            self.failure = error

    def wait_more(self, count=2):
        """Frames that were made from now on; the first may have been under way."""
        with self.came:
            want = len(self.frames) + count
            assert self.came.wait_for(lambda: len(self.frames) >= want, TIMEOUT), self.failure

    def end(self):
        self.raw.send("\n")
        self.join(TIMEOUT)
        assert not self.failure and not self.is_alive(), self.failure
        return self.frames


class Load(threading.Thread):
    """One request after the other, on two connections: `done` of them."""

    def __init__(self, gate):
        super().__init__(daemon=True)
        self.gate, self.done, self.failure, self.over = gate, 0, None, threading.Event()
        self.start()

    def run(self):
        try:
            with self.gate.client() as one, self.gate.client() as other:
                for client in itertools.cycle([one, other]):
                    if self.over.is_set():
                        return
                    assert client.request("GET", "/size/100").read_response().status == 200
                    self.done += 1
        except (OSError, Cut, AssertionError) as error:
            self.failure = error

    def end(self):
        self.over.set()
        self.join(TIMEOUT)
        assert not self.failure, self.failure
        return self.done


def variant(n):
    """Everything changes but the names: weights, timeouts, balance, routes, and a frontend comes and goes."""
    def edit(config):
        for server in servers_of(config):
            server["weight"] = 1 + n % 7
        config["frontends"]["web"]["timeouts"] = {"client": f"{20 + n % 5}s"}
        config["frontends"]["web"]["routes"] = [
            {"name": f"r{i}", "match": {"path": f"/r{i}"}, "respond": {"status": 200}} for i in range(n % 5)]
        config["backends"]["app"]["balance"] = ["round_robin", "least_requests", "random_two", "peak_ewma"][n % 4]
        config["frontends"]["second"]["timeouts"] = {"header": f"{3 + n}s"}
        config["backends"]["other"]["pool"] = {"max_idle": 1 + n}

    return edit


@pytest.fixture
def gate(loomgate, origin):
    servers = [{"name": name, "address": origin("-n", name).address} for name in ("plain", *HELD)]
    return Reloader(loomgate, web_config(
        *servers, settings={"workers": 2, "telemetry": {"windows": ["1s", "1h"]}}, frontend={"access_log": "off"},
        frontends={"second": {"bind": ["127.0.0.1:0"], "default_backend": "other"}},
        backends={"other": {"servers": [{**servers[0], "name": "single"}]}}))


def hold(gate):
    for command in ("breaker trip app/open for 1h", "drain app/drained", "weight app/heavy 5"):
        gate.control.ok(command)


def reach(line):
    """How many seconds the window has, which is longer than the test: all that was counted is in it."""
    return line["requests_total"] / line["rps"] if line["requests_total"] else 0


def check_steps(frames):
    """From each frame to the next nothing goes back, and none is missing."""
    for before, after in itertools.pairwise(frames):
        for key, line in after.items():
            old = before[key]
            assert line["seq"] == old["seq"] + 1 and "dropped" not in line, (old, line)
            assert line["requests_total"] >= old["requests_total"], (old, line)
            assert reach(line) >= reach(old) * 0.99, (old, line)
            assert all(line["errors_total"].get(cause, 0) >= n for cause, n in old["errors_total"].items()), (old, line)
            assert old["p99_ms"] is None or line["p99_ms"] is not None, (old, line)


@pytest.mark.threads
def test_a_stream_has_no_jump(gate):
    hold(gate)
    with control(gate).open() as raw:
        load, reader = Load(gate), Reader(raw)
        reader.wait_more()
        for n in range(scaled(30, least=8)):
            gate.reload(variant(n), is_logged=False)
            reader.wait_more(1)
        done = load.end()
        reader.wait_more()
        frames = reader.end()
    check_steps(frames)
    for frame in frames:
        for name, (field, value) in HELD.items():
            assert frame["server", name][field] == value, frame["server", name]
        for key in (("frontend", "web"), ("backend", "app")):
            assert frame[key]["requests_total"] <= done
    last = frames[-1]
    assert last["frontend", "web"]["requests_total"] == last["backend", "app"]["requests_total"] == done
    tries = sum(line["requests_total"] for (kind, _), line in last.items() if kind == "server")
    assert tries == done
    assert all(last["server", name]["requests_total"] == 0 for name in ("open", "drained"))
    gate.wait_alone()
