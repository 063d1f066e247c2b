"""The row of the health checks: what one costs a proxy that has nothing else to do."""

import statistics
import time

import contestants as field
from bed import Row, say
from tables import column, middle, spread, table, text_of

WARM_SECONDS = 3


def seen(bed):
    """How many requests the origin has seen, this one included."""
    return int(bed.direct("/count"))


def measure(bed, kind):
    for one in bed.start_all(kinds=[kind]):
        try:
            time.sleep(WARM_SECONDS)
            before, cpu, began = seen(bed), field.cpu_ns(one.pid), time.monotonic()
            time.sleep(bed.seconds)
            cpu, checks = field.cpu_ns(one.pid) - cpu, seen(bed) - before - 1
            passed = time.monotonic() - began
        finally:
            one.stop()
        return {"cpu_us": cpu / 1000 / max(checks, 1), "core_percent": cpu / 1e7 / passed, "rate": checks / passed}
    return None


def run(bed):
    """One proxy at a time, so that all the origin sees is its checks."""
    samples = {}
    for number in range(bed.rounds):
        for kind in field.CHECKS:
            if sample := measure(bed, kind):
                samples.setdefault(kind.name, []).append(sample)
                say(f"checks {number + 1}/{bed.rounds} {kind.name}: {sample['cpu_us']:.1f} us/check, "
                    f"{sample['core_percent']:.2f} % of a core, {sample['rate']:.0f}/s")
    return {"samples": samples}


def show(results):
    samples = results[0]["samples"]
    rows = [[name, text_of(middle(list_, "cpu_us"), 1), text_of(middle(list_, "core_percent")),
             spread(column(list_, "core_percent")), text_of(statistics.median(column(list_, "rate")), 0)]
            for name, list_ in samples.items()]
    return (f"{field.CHECKED_SERVERS:,} servers at one address, each checked by HTTP once a second; no load.\n\n" +
            table(["proxy", "CPU us a check", "% of a core", "min to max", "checks/s"], rows))


ROWS = [Row("checks", run, show)]
