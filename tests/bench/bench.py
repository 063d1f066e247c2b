#!/usr/bin/python3
"""`make bench`: LoomGate beside HAProxy, nginx and a raw byte relay, each with one thread, on the same origin and load.

The proxy has one CPU, the load (wrk) and the origin have another. Rounds are interleaved, so that a busy moment of
the machine hits all of them; what is printed are medians. CPU is what the proxy's processes used, all threads,
divided by the requests that wrk counted.

    bench.py --build build/release [--rounds 5] [--seconds 3] [--only ROW]... [--contestants a,b]
"""

import argparse
import os
import pathlib
import platform
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

import contestants as field  # noqa: E402  (after the bytecode switch)
import load  # noqa: E402
import reloads  # noqa: E402

POST = ["-s", str(field.HERE / "post.lua")]
CLOSE = ["-H", "Connection: close"]


class Row:
    def __init__(self, name, title, path="/size/1k", connections=64, args=(), mode="http", log=False):
        self.name, self.title, self.path, self.connections = name, title, path, connections
        self.args, self.mode, self.log = args, mode, log


WRK_ROWS = [
    Row("keepalive", "keep-alive, 1 KiB"),
    Row("log", "keep-alive, 1 KiB, access log on", log=True),
    # The relay is no floor here: it alone also opens a connection to the origin each time.
    Row("close", "a connection a request, 1 KiB", args=CLOSE),
    Row("64k", "64 KiB", "/size/64k", 32),
    Row("1m", "1 MiB", "/size/1m", 16),
    Row("post", "POST 16 KiB", "/size/2", 64, POST),
    Row("tcp", "TCP mode, 1 MiB", "/size/1m", 16, mode="tcp"),
]
GUARDS_ROW = Row("guards", "keep-alive, 1 KiB")
CHECKS_WARM_SECONDS = 3
STREAM_ROW = Row("stream", "keep-alive, 1 KiB")
IDLE_CLIENTS = 8000
CROWD_CLIENTS, CROWD_REQUESTS, CROWD_SECONDS = 10000, 10, 120


def say(text):
    print(text, file=sys.stderr, flush=True)


class Sample:
    def __init__(self, result, cpu_ns):
        self.cpu_us = cpu_ns / 1000 / max(result.requests, 1)
        self.rate, self.p50, self.p99, self.failures = result.rate, result.p50, result.p99, result.failures


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.lines, self.idle, self.crowd, self.notes = [], [], [], []
        self.guards, self.checks, self.stream, self.reload = [], [], [], {}
        self._start_sink()
        self._start_origin()

    # ---- surroundings ----

    def _start_origin(self):
        self.origin = subprocess.Popen(
            [f"{self.options.build}/origin", "-w", "-n", "bench", "127.0.0.1:0"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=field.pinned(field.cpus()[1]),
        )
        words = self.origin.stdout.readline().split()
        if len(words) != 3:
            raise SystemExit("bench: the origin did not start")
        self.origin_port = int(words[2].rsplit(":", 1)[1])

    def _start_sink(self):
        """Where HAProxy's log datagrams go."""
        self.sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sink.bind(("127.0.0.1", 0))
        self.sink_port = self.sink.getsockname()[1]
        self.logged = 0
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self):
        buffer = bytearray(8192)
        while True:
            try:
                self.sink.recv_into(buffer)
            except OSError:
                return
            self.logged += 1

    def close(self):
        self.origin.terminate()
        self.origin.wait()
        self.sink.close()

    # ---- contestants ----

    def start_all(self, mode, log, kinds=field.ALL):
        """Those who can take part in such a row, running; the others are noted."""
        running = []
        for kind in kinds:
            if kinds is field.ALL and self.options.contestants and kind.name not in self.options.contestants:
                continue
            one = kind(self.options.build)
            reason = one.why_not(mode, log)
            if reason:
                self.note(f"{kind.name}: {reason}")
                continue
            try:
                one.start(mode, log, self.origin_port, self.folder, self.sink_port)
            except RuntimeError as error:
                self.note(f"{kind.name}: {error}")
                continue
            running.append(one)
            self.check_answer(one, mode)
        return running

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            say(f"note: {text}")

    def check_answer(self, one, mode):
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
        return load.fetch(self.origin_port, target).partition(b"\r\n\r\n")[2]

    # ---- rows ----

    def measure(self, one, row, seconds):
        before = field.cpu_ns(one.pid)
        result = load.run_wrk(one.port, row.path, row.connections, seconds, *row.args)
        return Sample(result, field.cpu_ns(one.pid) - before)

    def run_wrk_row(self, row):
        running = self.start_all(row.mode, row.log)
        samples = {one.name: [] for one in running}
        try:
            for one in running:
                self.measure(one, row, 1)
            for number in range(self.options.rounds):
                for one in running:
                    sample = self.measure(one, row, self.options.seconds)
                    samples[one.name].append(sample)
                    say(f"{row.name} {number + 1}/{self.options.rounds} {one.name}: {sample.cpu_us:.2f} us/request, "
                        f"{sample.rate:.0f}/s, {sample.failures} failures")
            memory = {one.name: field.memory_kib(one.pid)[0] for one in running}
        finally:
            for one in running:
                one.stop()
        self.add_wrk_lines(row, samples, memory)

    def add_wrk_lines(self, row, samples, memory):
        middle = {name: statistics.median(s.cpu_us for s in list_) for name, list_ in samples.items()}
        for name, list_ in samples.items():
            cpu = [s.cpu_us for s in list_]
            self.lines.append([
                row.title, name, f"{middle[name]:.2f}", f"{min(cpu):.2f} to {max(cpu):.2f}",
                *(self.ratio(middle, name, other) for other in ("haproxy", "nginx", "relay")),
                f"{statistics.median(s.rate for s in list_):,.0f}",
                f"{statistics.median(s.p50 for s in list_) / 1000:.2f}",
                f"{statistics.median(s.p99 for s in list_) / 1000:.2f}",
                f"{memory[name] / 1024:.1f}",
                str(sum(s.failures for s in list_)),
            ])

    @staticmethod
    def ratio(values, name, other):
        return f"{values[name] / values[other]:.2f}" if values.get(other) and name != other else "-"

    def run_guards_row(self):
        """What it costs to be ready for failing servers while none fails: ratios of neighbouring rounds."""
        running = self.start_all("http", False, field.GUARDS)
        ratios, cpu = [], {one.name: [] for one in running}
        try:
            for one in running:
                self.measure(one, GUARDS_ROW, 1)
            for number in range(self.options.rounds * 2):
                pair = {one.name: self.measure(one, GUARDS_ROW, self.options.seconds).cpu_us
                        for one in (running if number % 2 else running[::-1])}
                for name, value in pair.items():
                    cpu[name].append(value)
                ratios.append(pair[field.LoomgateGuarded.name] / pair[field.LoomgatePlain.name])
                say(f"guards {number + 1}: {pair}, ratio {ratios[-1]:.3f}")
        finally:
            for one in running:
                one.stop()
        self.guards = self.lines_of_pairs(cpu, "on / off", ratios)

    def run_stream_row(self):
        """What it costs that somebody follows `stream stats every 100ms`: of one process, with and without a reader."""
        one = self.start_all("http", False, [field.LoomgateControl])[0]
        ratios, cpu = [], {"without": [], "with a reader": []}

        def measure_with():
            with field.Stream(one.control, "stream stats every 100ms") as stream:
                sample = self.measure(one, STREAM_ROW, self.options.seconds)
                stream.wait(1)
            return sample

        try:
            self.measure(one, STREAM_ROW, 1)
            for number in range(self.options.rounds * 2):
                measures = [("without", lambda: self.measure(one, STREAM_ROW, self.options.seconds)),
                            ("with a reader", measure_with)]
                pair = {name: run().cpu_us for name, run in (measures if number % 2 else measures[::-1])}
                for name, value in pair.items():
                    cpu[name].append(value)
                ratios.append(pair["with a reader"] / pair["without"])
                say(f"stream {number + 1}: {pair}, ratio {ratios[-1]:.3f}")
        finally:
            one.stop()
        self.stream = self.lines_of_pairs(cpu, "with / without", ratios)

    @staticmethod
    def lines_of_pairs(cpu, title, ratios):
        lines = [[name, f"{statistics.median(values):.2f}", f"{min(values):.2f} to {max(values):.2f}"]
                 for name, values in cpu.items()]
        return lines + [[f"{title}, median of the rounds", f"{statistics.median(ratios):.3f}",
                         f"{min(ratios):.3f} to {max(ratios):.3f}"]]

    def measure_checks(self, kind):
        """(CPU us a check, CPU of one core in percent, checks a second) of a proxy that has nothing else to do."""
        for one in self.start_all("http", False, [kind]):
            try:
                time.sleep(CHECKS_WARM_SECONDS)
                seen, cpu, began = self.seen(), field.cpu_ns(one.pid), time.monotonic()
                time.sleep(self.options.seconds)
                cpu, checks, passed = field.cpu_ns(one.pid) - cpu, self.seen() - seen - 1, time.monotonic() - began
            finally:
                one.stop()
            return cpu / 1000 / max(checks, 1), cpu / 1e7 / passed, checks / passed
        return None

    def seen(self):
        """How many requests the origin has seen, this one included."""
        return int(self.direct("/count"))

    def run_checks_row(self):
        """One proxy at a time, so that all the origin sees is its checks."""
        samples = {kind.name: [] for kind in field.CHECKS}
        for number in range(self.options.rounds):
            for kind in field.CHECKS:
                if sample := self.measure_checks(kind):
                    samples[kind.name].append(sample)
                    say(f"checks {number + 1}/{self.options.rounds} {kind.name}: {sample[0]:.1f} us/check, "
                        f"{sample[1]:.2f} % of a core, {sample[2]:.0f}/s")
        middle = {name: statistics.median(s[0] for s in list_) for name, list_ in samples.items() if list_}
        for name, each in middle.items():
            _, core, rate = zip(*samples[name])
            self.checks.append([name, f"{each:.1f}", self.ratio(middle, name, "haproxy"), f"{statistics.median(core):.2f}",
                                f"{min(core):.2f} to {max(core):.2f}", f"{statistics.median(rate):.0f}"])

    def run_idle_row(self):
        """Memory that a client costs that is connected and silent; the kernel's part is not in it."""
        lines, kib = [], {}
        for one in self.start_all("http", False):
            try:
                rss, pss = field.memory_kib(one.pid)
                clients = load.open_idle(one.port, IDLE_CLIENTS)
                rss_after, pss_after = field.memory_kib(one.pid)
                for sock in clients:
                    sock.close()
                kib[one.name] = (pss_after - pss) / IDLE_CLIENTS
                lines.append((one.name, (rss_after - rss) / IDLE_CLIENTS, rss_after))
                say(f"idle {one.name}: {kib[one.name]:.2f} KiB a client")
            except OSError as error:
                self.note(f"{one.name}: idle clients: {error}")
            finally:
                one.stop()
        self.idle = [
            [name, f"{kib[name]:.2f}", f"{rss:.2f}", f"{after / 1024:.1f}",
             *(self.ratio(kib, name, other) for other in ("haproxy", "nginx", "relay"))]
            for name, rss, after in lines
        ]

    def run_crowd_row(self):
        for one in self.start_all("http", False):
            try:
                before = field.cpu_ns(one.pid)
                crowd = load.Crowd(one.port, CROWD_CLIENTS, CROWD_REQUESTS, CROWD_SECONDS)
                cpu = (field.cpu_ns(one.pid) - before) / 1000 / max(crowd.done, 1)
                rss = field.memory_kib(one.pid)[0] / 1024
                self.crowd.append([one.name, f"{crowd.done:,}", f"{crowd.failures:,}", f"{crowd.seconds:.1f}",
                                   f"{cpu:.2f}", f"{rss:.1f}"])
                say(f"crowd {one.name}: {crowd.done} done, {crowd.failures} failures, {crowd.seconds:.1f} s")
            except OSError as error:
                self.note(f"{one.name}: many clients: {error}")
            finally:
                one.stop()

    # ---- output ----

    def versions(self):
        wrk = field.first_line("wrk", "-v").split(" [")[0]
        lines = [f"- {kind.name}: {kind(self.options.build).version()}" for kind in field.ALL
                 if kind(self.options.build).why_not("http", False) is None]
        return lines + [f"- load: {wrk}", f"- Linux {platform.release()}, {os.cpu_count()} CPUs; "
                        f"{self.options.rounds} rounds of {self.options.seconds} s, medians"]


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def parse_options():
    names = [row.name for row in WRK_ROWS] + ["guards", "checks", "stream", "idle", "crowd", "reload"]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build/release", help="folder with loomgate, origin and relay")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=names, help="this row only (repeatable)")
    parser.add_argument("--contestants", type=lambda text: text.split(","),
                        help="of " + ",".join(kind.name for kind in field.ALL))
    options = parser.parse_args()
    options.build = pathlib.Path(options.build).resolve()
    options.only = options.only or names
    return options


def print_results(bench):
    ratios = ["/ haproxy", "/ nginx", "/ relay"]
    print("\n".join(bench.versions()))
    if bench.lines:
        print("\nCPU of the proxy in microseconds a request; lower is better, a ratio below 1 beats the other.\n")
        print(table(["row", "proxy", "CPU us", "min to max", *ratios, "requests/s", "P50 ms", "P99 ms", "RSS MiB",
                     "failures"], bench.lines))
    if bench.guards:
        print("\nHealth checks, breaker, retries, max_connections with a queue and slow start: all on, all off; the server "
              "is healthy.\n")
        print(table(["", "CPU us", "min to max"], bench.guards))
    if bench.checks:
        print(f"\n{field.CHECKED_SERVERS:,} servers at one address, each checked by HTTP once a second; no load.\n")
        print(table(["proxy", "CPU us a check", "/ haproxy", "% of a core", "min to max", "checks/s"], bench.checks))
    if bench.stream:
        print("\nOne LoomGate, with a reader of `stream stats every 100ms` and without.\n")
        print(table(["", "CPU us", "min to max"], bench.stream))
    if bench.idle:
        print(f"\n{IDLE_CLIENTS:,} idle keep-alive clients: memory a client.\n")
        print(table(["proxy", "PSS KiB a client", "RSS KiB a client", "RSS MiB in all", *ratios], bench.idle))
    if bench.crowd:
        print(f"\n{CROWD_CLIENTS:,} clients at once, each sending {CROWD_REQUESTS} requests of 1 KiB. A proxy process "
              f"may have {resource.getrlimit(resource.RLIMIT_NOFILE)[1]:,} descriptors.\n")
        print(table(["proxy", "answered", "failures", "seconds", "CPU us", "RSS MiB"], bench.crowd))
    if bench.reload:
        print("\n" + reloads.show(bench.reload))
    for note in bench.notes:
        print(f"\nNote: {note}")


def main():
    options = parse_options()
    if not (options.build / "origin").exists():
        raise SystemExit(f"bench: {options.build}/origin is not built")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {field.cpus()[1]})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started here ends
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="loomgate-bench-") as folder:
        bench = Bench(options, folder)
        try:
            for row in WRK_ROWS:
                if row.name in options.only:
                    bench.run_wrk_row(row)
            if "guards" in options.only:
                bench.run_guards_row()
            if "checks" in options.only:
                bench.run_checks_row()
            if "stream" in options.only:
                bench.run_stream_row()
            if "idle" in options.only:
                bench.run_idle_row()
            if "crowd" in options.only:
                bench.run_crowd_row()
            if "reload" in options.only:
                bench.reload = reloads.measure(options.build, folder, bench.origin_port, say)
        finally:
            bench.close()
    print_results(bench)
    say(f"bench: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
