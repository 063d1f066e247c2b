"""How cost grows: CPU a request by the number of connections, of servers, of routes.

Always at full speed with the same number of requests under way. Connections: each request goes on the one that has been
idle for longest, so that all take their turns (pace.c). Servers and routes: wrk against LoomGate alone (scaled.py).
"""

import functools

import contestants as field
import load
import scaled
from bed import Row
from tables import middle, table, text_of

CONNECTIONS = [1, 64, 1000, 8000]
UNDER_WAY = 64
SERVERS = [1, 10, 100, scaled.SERVERS_MOST]
ROUTES = [1, 100, 1000, scaled.ROUTES_MOST]


def run_connections(bed):
    running = bed.start_all()

    def measure(one, count):
        result = load.run_pace(bed.options.build, one, "/size/1k", count, bed.seconds, f"-f{UNDER_WAY}")
        return {key: result[key] for key in ("cpu_us", "p99_us", "failures")}

    try:
        return {"samples": {str(count): bed.interleave(f"grow, {count} connections", {
            one.name: functools.partial(measure, one, count) for one in running}) for count in CONNECTIONS}}
    finally:
        bed.stop_all(running)


def run_scaled(bed, what, counts):
    """LoomGates of all sizes run at once, and take turns."""
    running = {}
    try:
        for count in counts:
            running[str(count)] = bed.start(scaled.LoomgateScaled(bed.options.build, **{what: count}))
        measures = {count: functools.partial(bed.measure, one, scaled.PATH, args=scaled.HOSTS)
                    for count, one in running.items()}
        for one in running.values():
            bed.measure(one, scaled.PATH, seconds=scaled.WARM_SECONDS, args=scaled.HOSTS)
        samples = bed.interleave(f"grow, {what}", measures)
        return {"samples": {count: {field.Loomgate.name: list_} for count, list_ in samples.items()}}
    finally:
        bed.stop_all(running.values())


def run(bed):
    return {"connections": run_connections(bed), "servers": run_scaled(bed, "servers", SERVERS),
            "routes": run_scaled(bed, "routes", ROUTES)}


def show(results):
    parts = [f"How cost grows: CPU microseconds a request, at full speed with {UNDER_WAY} requests under way (on one "
             "connection only one can be); connections take their turns, so that each was idle meanwhile."]
    for what, result in results[0].items():
        counts = list(result["samples"])
        names = list(result["samples"][counts[0]])
        rows = [[name, *(text_of(middle(result["samples"][count][name], "cpu_us")) for count in counts)]
                for name in names]
        parts.append(table([what, *(f"{int(count):,}" for count in counts)], rows))
    return "\n\n".join(parts)


ROWS = [Row("grow", run, show)]
