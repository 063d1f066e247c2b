"""The rows that compare two ways of running LoomGate: ratios of neighbouring rounds, which tell a few percent."""

import contextlib
import functools
import os
import statistics

import contestants as field
import load
import scaled
from bed import Row
from tables import pair_table, ratios, text_of

PAIR_ROUNDS = 2  # times the rounds of the other rows: what is looked for is small


def compare(bed, title, kinds, **what):
    """Two kinds of LoomGate, both running all the time."""
    running = bed.start_all(kinds=kinds)
    try:
        for one in running:
            bed.measure(one, seconds=scaled.WARM_SECONDS, **what)
        return {"title": title, "samples": bed.interleave(
            title, {one.name: functools.partial(bed.measure, one, **what) for one in running},
            bed.rounds * PAIR_ROUNDS)}
    finally:
        bed.stop_all(running)


# ---- guards against failing servers ----------------------------------------------------------------------------------


def run_guards(bed):
    """What it costs to be ready for failing servers while none fails."""
    return compare(bed, "guards", field.GUARDS)


def show_guards(results):
    return ("Health checks, breaker, retries, max_connections with a queue and slow start: all on, all off; the server "
            "is healthy.\n\n" + pair_table(results[0], "on / off, median of the rounds"))


# ---- a reader of a stream --------------------------------------------------------------------------------------------


def run_stream(bed):
    """What it costs that somebody follows `stream stats every 100ms`: of one process, with and without a reader."""
    one = bed.start_all(kinds=[field.LoomgateControl])[0]

    def measure_with():
        with field.Stream(one.control, "stream stats every 100ms") as stream:
            sample = bed.measure(one)
            stream.wait(1)
        return sample

    try:
        bed.measure(one, seconds=scaled.WARM_SECONDS)
        measures = {"without": functools.partial(bed.measure, one), "with a reader": measure_with}
        return {"title": "stream", "samples": bed.interleave("stream", measures, bed.rounds * PAIR_ROUNDS)}
    finally:
        one.stop()


def show_stream(results):
    return ("One LoomGate, with a reader of `stream stats every 100ms` and without.\n\n" +
            pair_table(results[0], "with / without, median of the rounds"))


# ---- many servers and routes -----------------------------------------------------------------------------------------


def run_scale(bed):
    """1,000 servers and 10,000 routes against 1 and 1."""
    return compare(bed, "scale", [scaled.LoomgateSmall, scaled.LoomgateLarge], path=scaled.PATH, args=scaled.HOSTS)


def show_scale(results):
    return (f"{scaled.SERVERS_MOST:,} servers and {scaled.ROUTES_MOST:,} routes against 1 and 1, the same requests. "
            "The language has no keys of limits yet, so there are none in it.\n\n" +
            pair_table(results[0], "large / small, median of the rounds"))


# ---- two workers on two CPUs -----------------------------------------------------------------------------------------

WORKERS_CONNECTIONS = 128
WORKERS = ["one worker", "two workers"]


class LoomgateWorkers(field.Loomgate):
    """Each worker on a CPU of its own."""

    def __init__(self, build, count):
        super().__init__(build)
        self.name, self.workers = WORKERS[count - 1], count

    def start(self, *args):
        super().start(*args)
        for (_, thread), cpu in zip(sorted(field.threads(self.pid, "worker-").items()), field.cpus()):
            os.sched_setaffinity(thread, {cpu})
        return self


def run_workers(bed):
    """The same load for one worker and for two. Load and origin may use both CPUs in either case."""
    if len(set(field.cpus())) < 2:
        bed.note("workers: there is only one CPU here")
        return None
    running = []
    try:
        for count in (1, 2):
            running.append(bed.start(LoomgateWorkers(bed.options.build, count)))
        with everywhere(bed):
            measures = {one.name: functools.partial(bed.measure, one, connections=WORKERS_CONNECTIONS)
                        for one in running}
            for measure in measures.values():
                measure(seconds=scaled.WARM_SECONDS)
            return {"title": "workers", "samples": bed.interleave("workers", measures, bed.rounds * PAIR_ROUNDS)}
    finally:
        bed.stop_all(running)


@contextlib.contextmanager
def everywhere(bed):
    """Load and origin on both CPUs, for a while."""
    both = set(field.cpus())
    origin = bed.origin.process.pid
    with load.on_cpus(both):
        os.sched_setaffinity(origin, both)
        try:
            yield
        finally:
            os.sched_setaffinity(origin, {field.cpus()[1]})


def speed_up(result):
    """What two workers can do, of what one can: each has a CPU, and a request takes so much of it."""
    return 2 / statistics.median(ratios(result["samples"], WORKERS[1], WORKERS[0]))


def show_workers(results):
    result = results[0]
    return (f"Two workers against one, a CPU each, {WORKERS_CONNECTIONS} connections; load and origin take what is "
            "left of both CPUs, so the rates are no measure of the proxy. With a CPU for each worker the capacity is "
            f"workers / CPU a request: two do {text_of(speed_up(result))} x the work of one.\n\n" +
            pair_table(result, "two / one, median of the rounds"))


ROWS = [
    Row("guards", run_guards, show_guards),
    Row("stream", run_stream, show_stream),
    Row("workers", run_workers, show_workers),
    Row("scale", run_scale, show_scale),
]
