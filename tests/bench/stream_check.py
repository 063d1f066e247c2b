#!/usr/bin/python3
"""Does `stream stats` tell what wrk has seen? Runs both beside each other and compares counts and percentiles.

    stream_check.py --build build/release [--seconds 60] [--connections 64]

Two runs, each of a LoomGate of its own, with a reader of `stream stats every 100ms of web` and a window that takes the
whole run:

  full speed  as many requests as go through: their count, from the differences of requests_total, within 1 %
  delays      the server takes 100 to 200 ms (delays.lua): the same, and the P99 within 5 % of wrk's. (At full speed most
              of what wrk measures is its own queue and the kernel's, and it counts slow answers several times, for what
              it might have sent meanwhile.)

Exit status 1 when something is off.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import contestants as field  # noqa: E402  (after the bytecode switch)
import load  # noqa: E402

COUNT_MOST, P99_MOST = 0.01, 0.05
SETTLE_FRAMES = 15  # behind the load, until the last of it is counted
DELAYED_MORE = 8  # so many times the connections, that there is as much to do
WINDOW_MORE = 20  # seconds that the window is longer than the run


def start_origin(build):
    origin = subprocess.Popen([f"{build}/origin", "-w", "127.0.0.1:0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, preexec_fn=field.pinned(field.cpus()[1]))
    return origin, int(origin.stdout.readline().split()[2].rsplit(":", 1)[1])


class Run:
    def __init__(self, name, options, origin, path, connections, *args):
        self.name, self.connections = name, connections
        gate = field.LoomgateControl(options.build, options.seconds + WINDOW_MORE)
        with tempfile.TemporaryDirectory(prefix="loomgate-stream-") as folder:
            gate.start("http", False, origin, folder, 0)
            try:
                self.load(gate, options, path, args)
            finally:
                gate.stop()

    def load(self, gate, options, path, args):
        with field.Stream(gate.control, "stream stats every 100ms of web") as stream:
            stream.wait(1)
            self.wrk = load.run_wrk(gate.port, path, self.connections, options.seconds, *args)
            stream.wait(len(stream.lines) + SETTLE_FRAMES)
            self.frames = list(stream.lines)

    def counted(self):
        steps = zip(self.frames, self.frames[1:])
        return sum(after["requests_total"] - before["requests_total"] for before, after in steps)

    def off_by(self, mine, its, most):
        off = abs(mine - its) / its
        print(f"  {'within' if off <= most else 'OFF'}: {off:.2%} of at most {most:.0%}")
        return off > most

    def check(self, with_p99):
        dropped = sum(frame.get("dropped", 0) for frame in self.frames)
        print(f"{self.name}: {self.wrk.rate:.0f} requests/s, {len(self.frames)} frames, {dropped} dropped, "
              f"{self.wrk.failures} failures")
        print(f"  requests: stream {self.counted()}, wrk {self.wrk.requests}")
        off = self.off_by(self.counted(), self.wrk.requests, COUNT_MOST)
        mine, its = self.frames[-1]["p99_ms"], self.wrk.p99 / 1000
        print(f"  P99: stream {mine:.3f} ms, wrk {its:.3f} ms{'' if with_p99 else ' (not compared)'}")
        return (with_p99 and self.off_by(mine, its, P99_MOST)) or off


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build/release", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    os.sched_setaffinity(0, {field.cpus()[1]})
    origin, port = start_origin(options.build)
    try:
        fast = Run("full speed", options, port, "/size/1k", options.connections)
        slow = Run("delays", options, port, "/", options.connections * DELAYED_MORE, "-s",
                   str(field.HERE / "delays.lua"))
    finally:
        origin.terminate()
        origin.wait()
    return 1 if fast.check(False) | slow.check(True) else 0


if __name__ == "__main__":
    sys.exit(main())
