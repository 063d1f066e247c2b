#!/usr/bin/python3
"""`make bench-guard`: what a request costs LoomGate's worker, counted and not timed, against tests/bench/budget.

    guard.py --build build/release [--record] [--only LOAD]... [--top 20]

Each load (steady.py) runs twice below callgrind and twice below strace, with few and with many requests; the difference
by the difference of requests is what one costs. Exit status 1 when a figure is more than 3 % over its budget, or has
none. --record writes the budget instead; --top also prints the functions that cost most.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import budget  # noqa: E402  (after the bytecode switch)
import contestants as field  # noqa: E402
import counting  # noqa: E402
from origin import Origin  # noqa: E402
import steady  # noqa: E402
from tables import table  # noqa: E402

PATH = field.HERE / "budget"
FEW, MANY = 150, 1350  # multiples of the number of browsers
TOOLS = ["valgrind", "strace", "readelf"]


def compiler(program):
    """What the program says of who compiled it."""
    text = subprocess.run(["readelf", "-p", ".comment", program], capture_output=True, text=True, check=True).stdout
    return "; ".join(re.findall(r"\]\s+(.*\S)", text))


def count_load(build, origin, load, top):
    """{figure: what one request costs}"""
    few, many = (counting.profile(build, origin, load, count) for count in (FEW, MANY))
    calls_few, calls_many = (counting.system_calls(build, origin, load, count) for count in (FEW, MANY))

    def each(before, after):
        return counting.per_request(before, after, FEW, MANY)

    if top:
        print_top(load, few, many, top)
    return {
        f"{load.name}.instructions": each(few.total, many.total),
        f"{load.name}.mallocs": each(few.allocations(), many.allocations()),
        f"{load.name}.syscalls": each(calls_few.total(), calls_many.total()),
        f"{load.name}.epoll_ctl": each(calls_few["epoll_ctl"], calls_many["epoll_ctl"]),
    }


def print_top(load, few, many, top):
    own = many.own - few.own
    print(f"\n{load.title}: instructions a request by function\n")
    for name, cost in own.most_common(top):
        print(f"{cost / (MANY - FEW):10.0f}  {cost / own.total():6.1%}  {name}")


def parse_options():
    names = [load.name for load in steady.LOADS]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build/release", type=pathlib.Path, help="folder with loomgate and origin")
    parser.add_argument("--record", action="store_true", help="write the budget")
    parser.add_argument("--only", action="append", choices=names, help="this load only (repeatable)")
    parser.add_argument("--top", type=int, default=0, help="print so many functions of each load")
    options = parser.parse_args()
    if options.record and options.only:
        parser.error("--record counts all loads")
    return options


def report(counted, made_by):
    try:
        budgets, recorded_by = budget.read(PATH)
    except ValueError as error:
        raise SystemExit(f"bench-guard: {error}") from None
    verdicts, unknown = budget.judge_all(counted, budgets)
    print("\n" + table(["figure, a request", "counted", "budget", "by", ""], map(budget.describe, verdicts)))
    if recorded_by and made_by != recorded_by:
        print(f"\nNote: recorded with another compiler: {recorded_by}\n  this program: {made_by}")
    if unknown:
        print(f"\nNo budget for {', '.join(unknown)}: record it (make bench-guard BENCH_ARGS=--record)")
    over = [verdict for verdict in verdicts if verdict.is_over]
    if any(verdict.is_under for verdict in verdicts):
        print("\nWhat is under its budget has become cheaper: record it, so that it stays so "
              "(make bench-guard BENCH_ARGS=--record)")
    print(f"\nbench-guard: {len(verdicts)} figures, {len(over)} more than {budget.TOLERANCE * 100:.0f} % over")
    return 1 if over or unknown else 0


def count_all(options):
    counted = {}
    with Origin(options.build) as origin:
        for load in steady.LOADS:
            if not options.only or load.name in options.only:
                counted |= count_load(options.build, origin.port, load, options.top)
    return counted


def main():
    options = parse_options()
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        raise SystemExit(f"bench-guard: not installed: {', '.join(missing)} (contrib/install-deps.sh bench)")
    began = time.monotonic()
    try:
        counted = count_all(options)
    except (RuntimeError, OSError) as error:
        raise SystemExit(f"bench-guard: {error}") from None
    made_by = compiler(options.build / "loomgate")
    if options.record:
        budget.write(PATH, counted, made_by)
        print("bench-guard: recorded in tests/bench/budget")
    status = report(counted, made_by)
    print(f"bench-guard: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
