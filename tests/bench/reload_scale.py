#!/usr/bin/python3
"""A thousand backends of ten servers and ten thousand routes: how long does it take to check and to apply, what does it
cost in memory, and how long does it hold up a worker?

    reload_scale.py [--build build/release] [--backends 1000] [--servers 10] [--routes 10000] [--clients 5000]

Prints the time of `loomgate -c`, then of each reload of one process, in which CLIENTS idle clients and an idle
connection to each of the servers are there:

  took     from the request to the last worker's having taken it up: `took_us` of the event `reloaded`
  answer   what the one who asked has waited, by the clock of this script
  longest  the longest turn of the loop of any worker in the last 10 to 20 seconds, as `show workers` tells it

At last the memory of processes that begin with servers alone, and with routes alone. Exit status 1 when a file takes a
second, a turn 5 milliseconds, or a request fails.

A turn in which the worker has to leave its CPU to another process is a long one, too. So the proxy is run with a
real-time priority (chrt -f 1) where that is allowed, which the first line tells. What cannot be kept away are the
kernel's interrupts: where ten thousand connections are closed ("maintenance", "large to small"), they are more than
half of the time, as the other ends are on this machine, too. Judge those two steps on a machine that is idle.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--build", default="build/release", help="folder with loomgate and origin")
parser.add_argument("--backends", type=int, default=1000)
parser.add_argument("--servers", type=int, default=10, help="of each backend")
parser.add_argument("--routes", type=int, default=10000)
parser.add_argument("--clients", type=int, default=5000, help="idle ones")
options = parser.parse_args()
os.environ["BUILD"] = str(pathlib.Path(options.build).resolve())
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from contestants import memory_kib  # noqa: E402  (after the path and the build are set)
from http_client import Client  # noqa: E402
from reloads import Reloader, large  # noqa: E402
from support import LOOMGATE_BIN, Loomgate, Origin, web_config, write_config  # noqa: E402
from waiting import eventually  # noqa: E402

MOST_S, LONGEST_S = 1.0, 0.005
ALONE = ["chrt", "-f", "1"]
SETTINGS = {"workers": 2, "max_connections": 20000}
FRONTEND = {"access_log": "off", "timeouts": {"keep_alive": "1h"}}


def may_be_alone():
    try:
        return subprocess.run([*ALONE, "true"], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


class Scale:
    def __init__(self, folder, origin):
        self.folder, self.origin, self.failures = folder, origin, []
        self.prefix = ALONE if may_be_alone() else []
        print(f"the proxy runs {'with a real-time priority' if self.prefix else 'like everything else'}")

    def big(self, backends=None, servers=None, routes=None):
        sizes = {"backends": backends or options.backends, "servers": servers or options.servers,
                 "routes": options.routes if routes is None else routes}
        return large(self.origin.address, **sizes, settings=SETTINGS, frontend=FRONTEND)

    def small(self):
        return web_config(self.origin.address, settings=SETTINGS, frontend=FRONTEND)

    def start(self, config):
        (self.folder / "run").mkdir(exist_ok=True)
        return Reloader(lambda *args, **more: Loomgate(*args, self.folder / "run", **more), config,
                        prefix=self.prefix)

    def judge(self, name, value, most):
        if value > most:
            self.failures.append(f"{name}: {value * 1000:.1f} ms")

    def check(self):
        path = write_config(self.big(), self.folder, "big.yaml")
        began = time.monotonic()
        subprocess.run([LOOMGATE_BIN, "-c", "-f", path], check=True, stdout=subprocess.DEVNULL)
        took = time.monotonic() - began
        self.judge("check", took, MOST_S)
        print(f"{options.backends} backends x {options.servers} servers, {options.routes} routes: "
              f"{path.stat().st_size:,} bytes, checked by loomgate -c in {took * 1000:.0f} ms", flush=True)

    def reload(self, gate, name, edit):
        settings = gate.config["global"]  # with the control socket
        config = edit()
        config["global"] = settings
        gate.write(config)
        with gate.control.open() as raw:
            began = time.monotonic()
            raw.send("reload\n")
            answer = raw.answer()
            waited = time.monotonic() - began
        assert answer.startswith("ok: "), answer
        gate.config = config
        took = gate.logged(event="reloaded", number=gate.state()["total"])["took_us"] / 1e6
        gate.wait_alone()
        longest = [row["latency"]["max"] for row in gate.control.json("show workers")]
        print(f"{name:38} took {took * 1000:6.1f} ms, answer {waited * 1000:6.1f} ms, longest turns "
              f"{', '.join(f'{one * 1000:.2f}' for one in longest)} ms, RSS {gate.resident_bytes() / 1048576:.1f} MiB, "
              f"idle to servers {sum(row['idle_to_servers'] for row in gate.control.json('show workers'))}", flush=True)
        self.judge(name, took, MOST_S)
        self.judge(f"{name}: a turn", max(longest), LONGEST_S)

    def use_all(self, gate):
        """Each server has served, and keeps a connection."""
        began = time.monotonic()
        with gate.client() as client:
            for n in range(options.backends * options.servers):
                route = n % options.routes
                response = client.request("GET", f"/size/{route}", host=f"h{route % 100}.example.org").read_response()
                if response.status != 200 or len(response.body) != route:
                    self.failures.append(f"/size/{route}: {response!r}")
                    break
        idle = sum(row["idle_to_servers"] for row in gate.control.json("show workers"))
        print(f"{n + 1} requests, one to each server: {time.monotonic() - began:.1f} s, {idle} idle connections")

    def reloads(self):
        gate, clients = self.start(self.small()), []
        try:
            print(f"RSS at the beginning {gate.resident_bytes() / 1048576:.1f} MiB")
            for _ in range(options.clients):
                clients.append(gate.client())
                assert clients[-1].request("GET", "/size/2").read_response().status == 200
            print(f"{options.clients} idle clients: RSS {gate.resident_bytes() / 1048576:.1f} MiB")
            self.steps(gate)
            eventually(lambda: gate.control.json("show info")["connections"]["open"] == 0, "all clients gone", 60)
        finally:
            for client in clients:
                client.close()
            gate.stop()

    def steps(self, gate):
        def heavier():
            config = self.big()
            config["backends"]["b0"]["servers"][0]["weight"] = 5
            return config

        def elsewhere():
            config = self.big()
            config["frontends"]["other"] = config["frontends"].pop("web")
            return config

        def in_maintenance():
            config = self.big()
            for name in list(config["backends"])[1:]:
                for server in config["backends"][name]["servers"]:
                    server["maint"] = True
            return config

        self.reload(gate, "small to large", self.big)
        self.use_all(gate)
        self.reload(gate, "a single weight", heavier)
        self.reload(gate, "all servers into maintenance", in_maintenance)
        self.reload(gate, "and back", self.big)
        self.use_all(gate)
        self.reload(gate, "large to small", self.small)
        self.reload(gate, "small to large", self.big)
        self.use_all(gate)
        self.reload(gate, "the same again", self.big)
        self.reload(gate, "the frontend goes: all clients leave", elsewhere)

    def memory(self):
        kib = {}
        for name, config in (("small", self.small()), ("servers", self.big(routes=0)),
                             ("routes", self.big(backends=1, servers=1)), ("all", self.big())):
            gate = self.start(config)
            kib[name] = memory_kib(gate.pid)[0]
            gate.stop()
        each = {"servers": options.backends * options.servers, "routes": options.routes}
        more = {name: kib[name] - kib["small"] for name in each}
        costs = [f"{more[name]:,} KiB for {count:,} {name}: {more[name] / count:.2f} KiB each"
                 for name, count in each.items()]
        print(f"RSS of a fresh process: {kib['small']:,} KiB small, {kib['all']:,} KiB large; {'; '.join(costs)}")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started here ends
    origin = Origin.start("-n", "o")
    try:
        with tempfile.TemporaryDirectory(prefix="lg-scale-") as folder:
            scale = Scale(pathlib.Path(folder), origin)
            scale.check()
            scale.reloads()
            scale.memory()
    finally:
        origin.stop()
    for failure in scale.failures:
        print("FAILED:", failure)
    return 1 if scale.failures else 0


if __name__ == "__main__":
    sys.exit(main())
