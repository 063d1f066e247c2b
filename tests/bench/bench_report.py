#!/usr/bin/python3
"""`make bench-report`: puts the figures of a run of the benchmark into the pages, and draws its plots.

    bench_report.py [--build build/release] [--no-flame] FILE        FILE: what bench.py --json wrote

Writes the parts between `<!-- bench: begin NAME -->` and `<!-- bench: end -->` in README.md and doc/performance.md,
and doc/performance/*.svg. A part or a plot for which rows are missing in the run stays as it is, and that is said. The
flame graph and the table of where the time goes are measured here, by perf; without it they too stay as they are.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap

sys.dont_write_bytecode = True

import bars  # noqa: E402  (after the bytecode switch)
import contestants as field  # noqa: E402
import flame  # noqa: E402
import pages  # noqa: E402
import plots  # noqa: E402
import rows_growth  # noqa: E402
from origin import Origin  # noqa: E402
from tables import middle, ratio, table, text_of  # noqa: E402

ROOT = field.HERE.parents[1]
PAGES = [ROOT / "README.md", ROOT / "doc" / "performance.md"]
PLOTS = ROOT / "doc" / "performance"
OURS, RIVALS = field.Loomgate.name, ["haproxy", "nginx", "relay"]
TITLES = {"haproxy": "HAProxy", "nginx": "nginx"}
FLAME_SECONDS, LEAST_SHARE = 10, 0.005
COST_ROWS = {
    "keepalive": "keep-alive, 1 KiB", "log": "the same with an access log", "close": "a client connection a request",
    "64k": "64 KiB bodies", "1m": "1 MiB bodies", "post": "POST of 16 KiB", "tcp": "TCP mode, 1 MiB",
}
MEMORY_ROWS = {
    "pss_kib": "memory of an idle client", "stalled_kib": "memory of a busy pair, nobody reads",
    "bodies_kib": "memory of a busy pair, 64 KiB bodies",
}


class Missing(Exception):
    """A row that the run does not have."""


class Run:
    """What bench.py --json wrote."""

    def __init__(self, data):
        self.meta, self.rows = data["meta"], data["rows"]

    def row(self, name):
        if not self.rows.get(name):
            raise Missing(f"the run has no row `{name}`")
        return self.rows[name]

    def machine(self):
        meta = self.meta
        return (f"{meta['date']}, a virtual machine of {meta['cpus']} CPUs ({meta['cpu']}, Linux {meta['kernel']}), "
                f"{meta['rounds']} rounds of {meta['seconds']} s, medians")

    def version(self, name):
        found = re.search(r"(\d+\.\d+)\.\d+", self.meta["versions"].get(name, ""))
        return f"{TITLES[name]} {found[1]}" if found else TITLES[name]


# ---- parts of the pages ----------------------------------------------------------------------------------------------


def prose(text):
    """A paragraph, as wide as the pages are."""
    return textwrap.fill(text, 120) + "\n\n"


def times(value):
    return "-" if value is None else f"x {value:.2f}"


def cost_lines(run):
    for name, title in COST_ROWS.items():
        samples = run.row(name)["samples"]
        yield [title, f"{middle(samples[OURS], 'cpu_us'):.1f} us",
               *(times(ratio(samples, other, OURS)) for other in RIVALS)]
    for key, title in MEMORY_ROWS.items():
        kib = memory_of(run, key)
        yield [title, f"{kib[OURS]:.2f} KiB",
               *(times(kib[other] / kib[OURS] if other in kib else None) for other in RIVALS)]
    samples = run.row("checks")["samples"]
    yield ["a health check (1,000 servers, one a second each)", f"{middle(samples[OURS], 'cpu_us'):.1f} us",
           times(ratio(samples, "haproxy", OURS)), "-", "-"]
    figures = run.row("crowd")["figures"]
    ours = figures[OURS]
    yield ["10,000 clients at once, 10 requests each", f"{ours['cpu_us']:.1f} us, {failed(ours)}",
           *(f"{times(it['cpu_us'] / ours['cpu_us'])}, {failed(it)}" if it else "-" for it in map(figures.get, RIVALS))]


def memory_of(run, key):
    """{contestant: KiB}"""
    if key == "pss_kib":
        return {name: it[key] for name, it in run.row("idle")["figures"].items()}
    return {name: middle(list_, key) for name, list_ in run.row("busy")["samples"].items()}


def failed(it):
    return f"{it['failures'] / (it['failures'] + it['done']) * 100:.2f} % failed" if it["failures"] else "none failed"


def part_costs(run):
    heads = ["row", "LoomGate", *(run.version(name) for name in TITLES), "raw relay"]
    text = (f"Measured on {run.machine()}: microseconds of CPU of the proxy a request, for LoomGate and, as ratios to "
            "it in the same rounds, what the others took. Above 1 they cost more.")
    return prose(text) + table(heads, cost_lines(run))


def part_bars(run):
    if missing := [bar.row for bar in bars.BARS if not run.rows.get(bar.row)]:
        raise Missing(f"the run has no row `{missing[0]}`")
    text = f"Measured on {run.machine()}; the bars are what LoomGate is to reach, judged in the same run."
    return prose(text) + bars.show(run.rows)


def part_latency(run):
    samples = run.row("latency")["samples"]
    keys = ["p50_us", "p90_us", "p99_us", "p999_us"]
    lines = [[name, *(text_of(middle(list_, key) / 1000, 3) for key in keys), text_of(middle(list_, "cpu_us"))]
             for name, list_ in samples.items()]
    return prose(f"At {run.row('latency')['rate']:,.0f} requests a second, milliseconds, and microseconds of CPU a "
                 "request:") + table(["proxy", "P50", "P90", "P99", "P99.9", "CPU"], lines)


def part_growth(run):
    text, _, tables = rows_growth.show([run.row("grow")]).partition("\n\n")
    return prose(text) + tables


PARTS = {"costs": part_costs, "bars": part_bars, "latency": part_latency, "growth": part_growth}


# ---- plots -----------------------------------------------------------------------------------------------------------


def plot_costs(run):
    panels = [(title, {name: middle(list_, "cpu_us") for name, list_ in run.row(row)["samples"].items()})
              for row, title in COST_ROWS.items()]
    return plots.bar_panels("What a request costs", "CPU of the proxy in microseconds a request; shorter is better",
                            panels)


def plot_memory(run):
    panels = [(title.removeprefix("memory of "), memory_of(run, key)) for key, title in MEMORY_ROWS.items()]
    return plots.bar_panels("What a connection keeps", "memory of the proxy in KiB; shorter is better", panels)


def plot_latency(run):
    samples = {name: list_ for name, list_ in run.row("latency")["samples"].items() if name in plots.COLOURS}
    panels = [(title, {name: middle(list_, key) / 1000 for name, list_ in samples.items()})
              for key, title in [("p50_us", "P50"), ("p99_us", "P99"), ("p999_us", "P99.9")]]
    return plots.bar_panels(f"Latency at {run.row('latency')['rate']:,.0f} requests a second",
                            "milliseconds, from when a request was due; shorter is better", panels)


def plot_growth(run):
    panels = [(f"by {what}", {
        name: [(int(count), middle(by_name[name], "cpu_us")) for count, by_name in result["samples"].items()]
        for name in next(iter(result["samples"].values()))}) for what, result in run.row("grow").items()]
    return plots.line_panels("How cost grows", "CPU of the proxy in microseconds a request, at full speed", panels,
                             "us")


PLOT_OF = {"costs": plot_costs, "memory": plot_memory, "latency": plot_latency, "growth": plot_growth}


def plot_parts(build):
    """Memory by part, of what the program `sizes` prints."""
    printed = subprocess.run([build / "sizes"], capture_output=True, text=True, check=True).stdout
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.split("\n\n")[0].split("\n")[1:]]
    bars_ = []
    for column, name in enumerate(rows[0][2:], 2):
        parts = {}
        for row in rows[2:-1]:
            if row[column] != "-":
                part = row[0].strip("`").removeprefix("struct ")
                parts[part] = parts.get(part, 0) + int(row[column])
        bars_.append((name, parts))
    return plots.stacked_bars("A connection by part", "bytes of LoomGate's own memory; buffers come on top only while "
                              "bytes wait in them, the sockets' buffers are the kernel's", bars_, "bytes")


# ---- all of it -------------------------------------------------------------------------------------------------------


def say(text):
    print(f"bench-report: {text}")


def make(what, function, *args):
    """What the function makes, or None where the run has not what it needs."""
    try:
        return function(*args)
    except Missing as reason:
        say(f"{what} stays as it is: {reason}")
    return None


def measure_flame(options):
    """(the plot, the part `where`), or None; said why."""
    os.sched_setaffinity(0, {field.cpus()[1]})
    try:
        with Origin(options.build) as origin, tempfile.TemporaryDirectory(prefix="loomgate-flame-") as folder:
            folded, cpu_us = flame.record(options.build, origin.port, folder, FLAME_SECONDS)
    except flame.NoPerf as reason:
        say(f"flame graph stays as it is: {reason}")
        return None
    lines = [[place, f"{share * cpu_us:.2f}", f"{share * 100:.1f} %"] for place, share in flame.places(folded)
             if share >= LEAST_SHARE]
    note = flame.note_of(folded)
    return (flame.draw(folded, "Where LoomGate's time goes: keep-alive, 1 KiB",
                       f"{note}; a box is as wide as its function was on the stack"),
            prose(f"{note}; {cpu_us:.1f} us of CPU a request while sampled.") +
            table(["where", "us a request", "share"], lines))


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build/release", type=pathlib.Path, help="folder with loomgate and sizes")
    parser.add_argument("--no-flame", action="store_true", help="leave the flame graph as it is")
    parser.add_argument("file", type=pathlib.Path, help="of bench.py --json")
    return parser.parse_args()


def main():
    options = parse_options()
    options.build = options.build.resolve()
    run = Run(json.loads(options.file.read_text()))
    drawn = {name: make(f"{name}.svg", plot, run) for name, plot in PLOT_OF.items()}
    parts = {name: make(f"part {name}", part, run) for name, part in PARTS.items()}
    drawn["parts"] = plot_parts(options.build)
    if not options.no_flame and (made := measure_flame(options)):
        drawn["flame"], parts["where"] = made
    PLOTS.mkdir(exist_ok=True)
    for name, svg in drawn.items():
        if svg:
            svg.write(PLOTS / f"{name}.svg")
            say(f"wrote doc/performance/{name}.svg")
    parts = {name: text for name, text in parts.items() if text}
    for page in PAGES:
        before = page.read_text()
        page.write_text(pages.fill(before, parts))
        say(f"put {', '.join(name for name in pages.names(before) if name in parts) or 'nothing'} into "
            f"{page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
