#!/usr/bin/python3
"""`make bench`: LoomGate beside HAProxy, nginx and a raw byte relay, each with one thread, on the same origin and load.

The proxy has one CPU, the load (wrk, pace) and the origin have another. Rounds are interleaved, so that a busy moment
of the machine hits all of them; what is printed are medians, and ratios of neighbours in a round. CPU is what the
proxy's processes used, all threads, divided by the requests that the load counted.

    bench.py --build build/release [--rounds 5] [--seconds 3] [--only ROW]... [--contestants a,b] [--json FILE]

--json keeps all samples; bench_report.py makes tables and plots of them.
"""

import argparse
import itertools
import json
import os
import pathlib
import resource
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import bars  # noqa: E402  (after the bytecode switch)
import contestants as field  # noqa: E402
import rows_checks  # noqa: E402
import rows_growth  # noqa: E402
import rows_latency  # noqa: E402
import rows_memory  # noqa: E402
import rows_pairs  # noqa: E402
import rows_wrk  # noqa: E402
from bed import Bed, say  # noqa: E402

ROWS = [
    *rows_wrk.ROWS,
    *rows_latency.ROWS,
    *rows_pairs.ROWS,
    *rows_checks.ROWS,
    *rows_memory.ROWS,
    *rows_growth.ROWS,
]


def parse_options():
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build/release", help="folder with loomgate, origin, relay and pace")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=names, help="this row only (repeatable)")
    parser.add_argument("--contestants", type=lambda text: text.split(","),
                        help="of " + ",".join(kind.name for kind in field.ALL))
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="keep all samples there")
    options = parser.parse_args()
    options.build = pathlib.Path(options.build).resolve()
    options.only = options.only or names
    return options


def show_meta(meta):
    lines = [f"- {name}: {version}" for name, version in meta["versions"].items()]
    return "\n".join([*lines, f"- load: {meta['load']}; origin: contrib/origin",
                      f"- {meta['cpu']}, {meta['cpus']} CPUs, Linux {meta['kernel']}; a process may have "
                      f"{meta['descriptors']:,} descriptors; {meta['rounds']} rounds of {meta['seconds']} s"])


def show(run):
    """A run as text: what it was made with, the tables, the notes, the bars."""
    parts = [show_meta(run["meta"])]
    results = [(row, run["rows"][row.name]) for row in ROWS if run["rows"].get(row.name)]
    for show_rows, group in itertools.groupby(results, lambda pair: pair[0].show):
        parts.append(show_rows([result for _, result in group]))
    parts += [f"Note: {note}" for note in run["meta"]["notes"]]
    if bars.judge(run["rows"]):
        parts.append("Bars: ratios are medians of the rounds' ratios.\n\n" + bars.show(run["rows"]))
    return "\n\n".join(parts)


def measure(options):
    """Runs the rows that were asked for: what --json keeps."""
    with tempfile.TemporaryDirectory(prefix="loomgate-bench-") as folder:
        bed = Bed(options, folder)
        try:
            for row in ROWS:
                if row.name in options.only:
                    bed.results[row.name] = row.run(bed)
        finally:
            bed.close()
        return {"meta": bed.meta(), "rows": bed.results}


def main():
    options = parse_options()
    if missing := [name for name in ("loomgate", "origin", "relay", "pace") if not (options.build / name).exists()]:
        raise SystemExit(f"bench: not built in {options.build}: {', '.join(missing)}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {field.cpus()[1]})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started here ends
    began = time.monotonic()
    run = measure(options)
    if options.json:
        options.json.write_text(json.dumps(run, indent=1) + "\n")
    print(show(run))
    say(f"bench: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
