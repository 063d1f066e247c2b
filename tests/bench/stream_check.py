#!/usr/bin/python3
"""Does `stream stats` tell what wrk has seen? Runs both beside each other and compares counts and percentiles.

    stream_check.py --build build/release [--seconds 60] [--connections 64] [--only fast|delays]

With a reader of `stream stats every 100ms of web`, LoomGates of their own, and windows that take a whole run:

  full speed  one run: as many requests as go through; their count, from the differences of requests_total, within 1 %
  delays      six runs of a sixth of the time: the server takes 100 to 200 ms (delays.lua); the P99 within 5 % of wrk's,
              by the median of the runs

At full speed the P99 is shown, but not compared: most of what wrk measures there is its own queue and the kernel's, and
it counts an answer that takes more than twice the mean several times, for what it might have sent meanwhile. For the
same reason one moment without a CPU spoils a run. Exit status 1 when something is off.
"""

import argparse
import os
import pathlib
import statistics
import sys
import tempfile

sys.dont_write_bytecode = True

import contestants as field  # noqa: E402  (after the bytecode switch)
import load  # noqa: E402
from origin import Origin  # noqa: E402

COUNT_MOST, P99_MOST = 0.01, 0.05
DELAYED_RUNS = 6
DELAYED_MORE = 2  # so many times the connections: an answer takes longer
SETTLE_FRAMES = 15  # behind the load, until the last of it is counted
WINDOW_MORE = 20  # seconds that the window is longer than the run


class Run:
    def __init__(self, build, origin, path, connections, seconds, *args):
        gate = field.LoomgateControl(build, seconds + WINDOW_MORE)
        with tempfile.TemporaryDirectory(prefix="loomgate-stream-") as folder:
            gate.start("http", False, origin, folder, 0)
            try:
                with field.Stream(gate.control, "stream stats every 100ms of web") as stream:
                    stream.wait(1)
                    self.wrk = load.run_wrk(gate.port, path, connections, seconds, *args)
                    stream.wait(len(stream.lines) + SETTLE_FRAMES)
                    self.frames = list(stream.lines)
            finally:
                gate.stop()
        steps = zip(self.frames, self.frames[1:])
        self.counted = sum(after["requests_total"] - before["requests_total"] for before, after in steps)
        self.p99_ms = self.frames[-1]["p99_ms"]

    def print(self, name):
        dropped = sum(frame.get("dropped", 0) for frame in self.frames)
        print(f"{name}: {self.wrk.rate:.0f} requests/s, {self.wrk.failures} failures; {len(self.frames)} frames, "
              f"{dropped} dropped\n  requests: stream {self.counted}, wrk {self.wrk.requests}; "
              f"P99: stream {self.p99_ms:.3f} ms, wrk {self.wrk.p99 / 1000:.3f} ms", flush=True)


def off_by(mine, its):
    return abs(mine - its) / its


def is_off(what, off, most):
    print(f"  {what}: off by {off:.2%}, at most {most:.0%}{': TOO MUCH' if off > most else ''}", flush=True)
    return off > most


def check_fast(options, origin):
    run = Run(options.build, origin, "/size/1k", options.connections, options.seconds)
    run.print("full speed")
    return is_off("requests", off_by(run.counted, run.wrk.requests), COUNT_MOST)


def check_delays(options, origin):
    offs = []
    for number in range(DELAYED_RUNS):
        run = Run(options.build, origin, "/", options.connections * DELAYED_MORE,
                  max(1, options.seconds // DELAYED_RUNS), "-s", str(field.HERE / "delays.lua"))
        run.print(f"delays {number + 1}")
        offs.append(off_by(run.p99_ms, run.wrk.p99 / 1000))
    return is_off("P99, median of the runs", statistics.median(offs), P99_MOST)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build/release", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--only", choices=["fast", "delays"])
    options = parser.parse_args()
    os.sched_setaffinity(0, {field.cpus()[1]})
    off = False
    with Origin(options.build) as origin:
        if options.only != "delays":
            off |= check_fast(options, origin.port)
        if options.only != "fast":
            off |= check_delays(options, origin.port)
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
