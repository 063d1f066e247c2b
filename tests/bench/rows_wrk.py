"""The rows that run wrk against all contestants: what a request costs in CPU, for kinds of requests."""

import functools

import contestants as field
from bed import Row
from tables import RATIO_HEADS, column, middle, ratio_cells, spread, table, text_of

POST = ("-s", str(field.HERE / "post.lua"))
CLOSE = ("-H", "Connection: close")
WARM_SECONDS = 1


def run(bed, title, path="/size/1k", connections=64, args=(), mode="http", log=False, kinds=field.ALL):
    running = bed.start_all(mode, log, kinds)
    try:
        for one in running:
            bed.measure(one, path, connections, WARM_SECONDS, args)
        samples = bed.interleave(title, {
            one.name: functools.partial(bed.measure, one, path, connections, None, args) for one in running
        })
        return {"title": title, "samples": samples,
                "rss_kib": {one.name: field.memory_kib(one.pid)[0] for one in running}}
    finally:
        bed.stop_all(running)


def show(results):
    rows = []
    for result in results:
        samples = result["samples"]
        for name, list_ in samples.items():
            cpu = column(list_, "cpu_us")
            rows.append([
                result["title"], name, text_of(middle(list_, "cpu_us")), spread(cpu), *ratio_cells(samples, name),
                text_of(middle(list_, "rate"), 0), text_of(middle(list_, "p50_us") / 1000),
                text_of(middle(list_, "p99_us") / 1000), text_of(result["rss_kib"][name] / 1024, 1),
                str(sum(column(list_, "failures"))),
            ])
    return ("CPU of the proxy in microseconds a request; lower is better, a ratio below 1 beats the other.\n\n" +
            table(["row", "proxy", "CPU us", "min to max", *RATIO_HEADS, "requests/s", "P50 ms", "P99 ms", "RSS MiB",
                   "failures"], rows))


def row(name, title, **what):
    return Row(name, functools.partial(run, title=title, **what), show)


ROWS = [
    row("keepalive", "keep-alive, 1 KiB"),
    # The relay is the floor here too, though it writes no log.
    row("log", "keep-alive, 1 KiB, access log on", log=True),
    # The relay is no floor here: it alone also opens a connection to the origin each time.
    row("close", "a connection a request, 1 KiB", args=CLOSE),
    row("deferred", "a connection a request, handed over with its request", args=CLOSE, kinds=field.DEFERRING),
    row("64k", "64 KiB", path="/size/64k", connections=32),
    row("1m", "1 MiB", path="/size/1m", connections=16),
    row("post", "POST 16 KiB", path="/size/2", args=POST),
    row("tcp", "TCP mode, 1 MiB", path="/size/1m", connections=16, mode="tcp"),
]
