"""The row of latencies at a constant rate: half of what the slower of nginx and HAProxy can do at most."""

import functools
import statistics

import contestants as field
import load
from bed import Row
from tables import column, middle, table, text_of

PEERS = [field.Haproxy, field.Nginx]
CONNECTIONS = 64
TAIL_ROUNDS = 3  # times the rounds of the other rows: a tail is made by what else the machine does as well
FIGURES = ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"]


def full_rates(bed):
    """{peer: the median of its full rate}: of this run's row `keepalive`, or measured now."""
    if "keepalive" in bed.results:
        samples = bed.results["keepalive"]["samples"]
    else:
        running = bed.start_all(kinds=PEERS)
        try:
            samples = bed.interleave("latency, full rate",
                                     {one.name: functools.partial(bed.measure, one) for one in running})
        finally:
            bed.stop_all(running)
    return {kind.name: middle(samples[kind.name], "rate") for kind in PEERS if samples.get(kind.name)}


def run(bed):
    full = full_rates(bed)
    if not full:
        bed.note("latency: no peer whose full rate could be halved")
        return None
    rate = min(full.values()) / 2
    running = bed.start_all() + bed.start_all(kinds=[field.LoomgateAsleep])

    def measure(one):
        return load.run_pace(bed.options.build, one, "/size/1k", CONNECTIONS, bed.seconds, f"-r{rate:.0f}")

    try:
        return {"full": full, "rate": rate, "samples": bed.interleave(
            "latency", {one.name: functools.partial(measure, one) for one in running}, bed.rounds * TAIL_ROUNDS)}
    finally:
        bed.stop_all(running)


def show(results):
    result = results[0]
    full = ", ".join(f"{name} {rate:,.0f}" for name, rate in result["full"].items())
    rows = [[name, *(text_of(middle(list_, key) / 1000, 3) for key in FIGURES), text_of(middle(list_, "cpu_us")),
             f"{statistics.median(column(list_, 'queued')):,.0f}", str(sum(column(list_, "failures")))]
            for name, list_ in result["samples"].items()]
    return (f"Latencies at {result['rate']:,.0f} requests a second, half of the lowest full rate of the peers "
            f"({full}); 1 KiB, {CONNECTIONS} kept connections. A request's time counts from when it was due, so a pause hits "
            "all that were due in it (pace.c). Milliseconds, medians of the rounds.\n\n" +
            table(["proxy", "P50", "P90", "P99", "P99.9", "most", "CPU us", "found no idle connection", "failures"],
                  rows))


ROWS = [Row("latency", run, show)]
