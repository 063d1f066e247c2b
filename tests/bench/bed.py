"""What every row of the benchmark stands on: the origin, the running contestants, a measurement with its samples.

A row is a name, a function that measures, `run(bed)`, and one that prints, `show([results])`. What `run` returns is
plain data, all samples and no medians, so that a run can be kept as JSON and be printed, judged and drawn later.
Neighbours in the table of rows that share `show` are printed together.
"""

import collections
import os
import platform
import resource
import socket
import sys
import threading
import time

import contestants as field
import load
from origin import Origin

Row = collections.namedtuple("Row", "name run show")


def say(text):
    print(text, file=sys.stderr, flush=True)


def sample_of(result, cpu_ns):
    """A run of wrk and what the proxy used meanwhile."""
    return {"cpu_us": cpu_ns / 1000 / max(result.requests, 1), "rate": result.rate, "p50_us": result.p50,
            "p99_us": result.p99, "failures": result.failures}


class Bed:
    """`results`: name of a row to its data, of the rows that have run."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.rounds, self.seconds = options.rounds, options.seconds
        self.notes, self.results = [], {}
        self._start_sink()
        self.origin = Origin(options.build)

    def _start_sink(self):
        """Where HAProxy's log datagrams go."""
        self.sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sink.bind(("127.0.0.1", 0))
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self):
        buffer = bytearray(8192)
        while True:
            try:
                self.sink.recv_into(buffer)
            except OSError:
                return

    def close(self):
        self.origin.stop()
        self.sink.close()

    # ---- contestants ----

    def start(self, one, mode="http", log=False):
        return one.start(mode, log, self.origin.port, self.folder, self.sink.getsockname()[1])

    def start_all(self, mode="http", log=False, kinds=field.ALL):
        """Those who can take part in such a row, running; the others are noted."""
        running = []
        for kind in kinds:
            if kinds is field.ALL and self.options.contestants and kind.name not in self.options.contestants:
                continue
            one = kind(self.options.build)
            if reason := one.why_not(mode, log):
                self.note(f"{kind.name}: {reason}")
                continue
            try:
                self.start(one, mode, log)
            except RuntimeError as error:
                self.note(f"{kind.name}: {error}")
                continue
            running.append(one)
            self._check_answer(one, mode)
        return running

    @staticmethod
    def stop_all(running):
        for one in running:
            one.stop()

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            say(f"note: {text}")

    def _check_answer(self, one, mode):
        """All must do the same work; says what one does not do."""
        try:
            if load.fetch(one.port, "/size/64k").partition(b"\r\n\r\n")[2] != self.direct("/size/64k"):
                self.note(f"{one.name}: gives a wrong body")
            if mode == "http" and one.name != "relay":
                if b"x-forwarded-for: 127.0.0.1" not in load.fetch(one.port, "/echo").lower():
                    self.note(f"{one.name}: sends no X-Forwarded-For")
        except OSError as error:
            self.note(f"{one.name}: {error}")

    def direct(self, target):
        """The body that the origin itself gives."""
        return load.fetch(self.origin.port, target).partition(b"\r\n\r\n")[2]

    # ---- measuring ----

    def measure(self, one, path="/size/1k", connections=64, seconds=None, args=()):
        """One run of wrk against one proxy."""
        before = field.cpu_ns(one.pid)
        result = load.run_wrk(one.port, path, connections, seconds or self.seconds, *args)
        return sample_of(result, field.cpu_ns(one.pid) - before)

    def interleave(self, title, measures, rounds=None):
        """{name: [sample of each round]} of {name: function that measures}; each second round goes the other way."""
        samples = {name: [] for name in measures}
        rounds = rounds or self.rounds
        for number in range(rounds):
            for name in list(measures)[::-1 if number % 2 else 1]:
                sample = measures[name]()
                samples[name].append(sample)
                say(f"{title} {number + 1}/{rounds} {name}: " + ", ".join(f"{k} {v:.4g}" for k, v in sample.items()))
        return samples

    def meta(self):
        """Of what the figures are: nothing that names the machine."""
        wrk = field.first_line("wrk", "-v").split(" [")[0]
        kinds = [kind(self.options.build) for kind in field.ALL]
        return {
            "date": time.strftime("%Y-%m-%d"),
            "versions": {one.name: one.version() for one in kinds if one.why_not("http", False) is None},
            "load": wrk, "kernel": ".".join(platform.release().split("-")[0].split(".")[:2]), "cpus": os.cpu_count(),
            "cpu": cpu_model(), "rounds": self.rounds, "seconds": self.seconds,
            "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[1], "notes": self.notes,
        }


def cpu_model():
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                return line.partition(": ")[2].strip()
    return platform.machine()
