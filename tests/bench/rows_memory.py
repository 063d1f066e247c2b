"""The rows about memory: a silent client, a busy one, ten thousand at once.

Memory hardly varies with what else the machine does, so these run once, the busy ones a few times. It is what the
proxy's processes have, PSS (shared pages count once); what the kernel keeps for sockets is not in it.
"""

import contextlib
import subprocess
import time

import contestants as field
import load
from bed import Row, say
from tables import RATIO_HEADS, RIVALS, middle, ratio_cells, table, text_of

IDLE_CLIENTS = 8000
BUSY_CLIENTS, BUSY_SECONDS, BUSY_ROUNDS_MOST = 1000, 3, 3
CROWD_CLIENTS, CROWD_REQUESTS, CROWD_SECONDS = 10000, 10, 120
CALM_READS, CALM_SECONDS, CALM_PAUSE = 5, 20, 0.1
SAMPLE_PAUSE = 0.05


def each(bed, what, measure):
    """{name: measure(one)} of each contestant, one at a time."""
    found = {}
    for one in bed.start_all():
        try:
            found[one.name] = measure(one)
            say(f"{what} {one.name}: " + ", ".join(f"{k} {v:,.2f}" for k, v in found[one.name].items()))
        except (OSError, RuntimeError) as error:
            bed.note(f"{one.name}: {what}: {error}")
        finally:
            one.stop()
    return found


def rival_cells(figures, name, key):
    return [text_of(figures[name][key] / figures[other][key] if other in figures and other != name else None)
            for other in RIVALS]


# ---- idle ------------------------------------------------------------------------------------------------------------


def measure_idle(one):
    rss, pss = field.memory_kib(one.pid)
    clients = load.open_idle(one.port, IDLE_CLIENTS)
    try:
        rss_after, pss_after = field.memory_kib(one.pid)
    finally:
        close_all(clients)
    return {"pss_kib": (pss_after - pss) / IDLE_CLIENTS, "rss_kib": (rss_after - rss) / IDLE_CLIENTS,
            "all_rss_kib": rss_after}


def close_all(clients):
    for sock in clients:
        sock.close()


def run_idle(bed):
    return {"figures": each(bed, "idle", measure_idle)}


def show_idle(results):
    figures = results[0]["figures"]
    rows = [[name, text_of(it["pss_kib"]), text_of(it["rss_kib"]), text_of(it["all_rss_kib"] / 1024, 1),
             *rival_cells(figures, name, "pss_kib")] for name, it in figures.items()]
    return (f"{IDLE_CLIENTS:,} idle keep-alive clients: memory a client.\n\n" +
            table(["proxy", "PSS KiB a client", "RSS KiB a client", "RSS MiB in all", *RATIO_HEADS], rows))


# ---- busy ------------------------------------------------------------------------------------------------------------


def calm_pss(pid):
    """Memory once it stands still: several readings in a row are the same."""
    readings = []
    deadline = time.monotonic() + CALM_SECONDS
    while time.monotonic() < deadline:
        readings.append(field.memory_kib(pid)[1])
        if len(readings) >= CALM_READS and len(set(readings[-CALM_READS:])) == 1:
            return readings[-1]
        time.sleep(CALM_PAUSE)
    return readings[-1]


def measure_stalled(one):
    """A large answer under way for each, and nobody reads: all buffers are full."""
    before = field.memory_kib(one.pid)[1]
    clients = []
    try:
        clients = load.open_stalled(one.port, BUSY_CLIENTS)
        return (calm_pss(one.pid) - before) / BUSY_CLIENTS
    finally:
        close_all(clients)


def measure_bodies(one):
    """64 KiB bodies on kept connections, as fast as they go: the most that is seen meanwhile."""
    before = most = field.memory_kib(one.pid)[1]
    command = ["wrk", "-t1", f"-c{BUSY_CLIENTS}", f"-d{BUSY_SECONDS}s", f"http://127.0.0.1:{one.port}/size/64k"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          preexec_fn=field.pinned(*load.allowed)) as wrk:
        while wrk.poll() is None:
            most = max(most, field.memory_kib(one.pid)[1])
            with contextlib.suppress(subprocess.TimeoutExpired):
                wrk.wait(SAMPLE_PAUSE)
    return (most - before) / BUSY_CLIENTS


def run_busy(bed):
    """Each on a fresh proxy: what one has left behind must not help the other."""
    ways = {"stalled_kib": measure_stalled, "bodies_kib": measure_bodies}
    samples = {}
    for _ in range(min(bed.rounds, BUSY_ROUNDS_MOST)):
        found = [each(bed, "busy", lambda one, key=key, way=way: {key: way(one)}) for key, way in ways.items()]
        for name in [name for name in found[0] if name in found[1]]:
            samples.setdefault(name, []).append(found[0][name] | found[1][name])
    return {"samples": samples}


def show_busy(results):
    samples = results[0]["samples"]
    rows = [[name, *(cell for key in ("stalled_kib", "bodies_kib")
                     for cell in (text_of(middle(list_, key)), *ratio_cells(samples, name, key)))]
            for name, list_ in samples.items()]
    return (f"{BUSY_CLIENTS:,} busy pairs of client and server: memory a pair (PSS, KiB). Stalled: an answer of 512 "
            "KiB each of which the client reads nothing, so that all buffers are full. Bodies: 64 KiB on kept "
            "connections, as fast as they go.\n\n" + table(["proxy", "stalled", *RATIO_HEADS, "bodies", *RATIO_HEADS], rows))


# ---- a crowd ---------------------------------------------------------------------------------------------------------


def measure_crowd(one):
    before = field.cpu_ns(one.pid)
    crowd = load.Crowd(one.port, CROWD_CLIENTS, CROWD_REQUESTS, CROWD_SECONDS)
    return {"done": crowd.done, "failures": crowd.failures, "seconds": crowd.seconds,
            "cpu_us": (field.cpu_ns(one.pid) - before) / 1000 / max(crowd.done, 1),
            "rss_kib": field.memory_kib(one.pid)[0]}


def run_crowd(bed):
    return {"figures": each(bed, "crowd", measure_crowd)}


def show_crowd(results):
    rows = [[name, f"{it['done']:,}", f"{it['failures']:,}", text_of(it["seconds"], 1), text_of(it["cpu_us"]),
             text_of(it["rss_kib"] / 1024, 1)] for name, it in results[0]["figures"].items()]
    return (f"{CROWD_CLIENTS:,} clients at once, each sending {CROWD_REQUESTS} requests of 1 KiB.\n\n" +
            table(["proxy", "answered", "failures", "seconds", "CPU us", "RSS MiB"], rows))


ROWS = [
    Row("idle", run_idle, show_idle),
    Row("busy", run_busy, show_busy),
    Row("crowd", run_crowd, show_crowd),
]
