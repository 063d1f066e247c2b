"""What `make bench` is to reach: a bar a row, and what a run came to."""

import collections

import rows_pairs
from tables import middle, ratio, table, text_of

PEERS = ["haproxy", "nginx"]
OURS = "loomgate"
BUSY_KIB, IDLE_BYTES = 20, 512

# `figure` takes the row's data to a number, or None when somebody it needs did not take part; `is_met` judges it.
Bar = collections.namedtuple("Bar", "row title wanted figure unit digits is_met")


def at_most(limit):
    return lambda figure: figure <= limit


def at_least(limit):
    return lambda figure: figure >= limit


# ---- figures ---------------------------------------------------------------------------------------------------------


def to_relay(data):
    return ratio(data["samples"], OURS, "relay")


def to_best_peer(data):
    """The largest of the ratios: to the peer that costs least."""
    found = [ratio(data["samples"], OURS, peer) for peer in PEERS]
    return max((one for one in found if one is not None), default=None)


def p99_to_best(data):
    """Ours by the lowest of the other proxies; the relay, which does nothing, is printed beside them."""
    samples = data["samples"]
    others = [middle(list_, "p99_us") for name, list_ in samples.items() if name in PEERS]
    return middle(samples[OURS], "p99_us") / min(others) if others and OURS in samples else None


def idle_bytes(data):
    return data["figures"][OURS]["pss_kib"] * 1024 if OURS in data["figures"] else None


def busy_kib(data):
    """The worse of the two ways of being busy."""
    samples = data["samples"].get(OURS)
    return max(middle(samples, key) for key in ("stalled_kib", "bodies_kib")) if samples else None


def large_to_small(data):
    small, large = data["samples"]
    return ratio(data["samples"], large, small)


BARS = [
    Bar("keepalive", "keep-alive, 1 KiB", "1.15 x relay", to_relay, "x", 2, at_most(1.15)),
    Bar("log", "the same with the JSON access log", "1.25 x relay", to_relay, "x", 2, at_most(1.25)),
    Bar("close", "a client connection a request", "0.85 x the best peer", to_best_peer, "x", 2, at_most(0.85)),
    Bar("64k", "64 KiB bodies", "1.10 x relay", to_relay, "x", 2, at_most(1.10)),
    Bar("1m", "1 MiB bodies", "0.95 x the best peer", to_best_peer, "x", 2, at_most(0.95)),
    Bar("post", "16 KiB POST", "1.25 x relay", to_relay, "x", 2, at_most(1.25)),
    Bar("tcp", "TCP mode, 1 MiB", "1.0 x relay", to_relay, "x", 2, at_most(1.0)),
    Bar("idle", "idle keep-alive client", f"{IDLE_BYTES} bytes", idle_bytes, "bytes", 0, at_most(IDLE_BYTES)),
    Bar("busy", "busy client and server", f"{BUSY_KIB} KiB", busy_kib, "KiB", 1, at_most(BUSY_KIB)),
    Bar("workers", "two workers on two CPUs", "at least 1.9 x one", rows_pairs.speed_up, "x", 2, at_least(1.9)),
    Bar("latency", "P99 at half of the peers' full rate", "the lowest of all", p99_to_best, "x the best peer", 2,
        at_most(1.0)),
    Bar("scale", "1,000 servers, 10,000 routes against 1 and 1", "1.05 x", large_to_small, "x", 3, at_most(1.05)),
]


def judge(results):
    """[(bar, figure, met or not)] of the rows that have run; figure and verdict None where something was missing."""
    found = []
    for bar in BARS:
        if results.get(bar.row):
            figure = bar.figure(results[bar.row])
            found.append((bar, figure, None if figure is None else bar.is_met(figure)))
    return found


def show(results):
    words = {True: "yes", False: "**no**", None: "-"}
    rows = [[bar.title, f"{text_of(figure, bar.digits)} {bar.unit}", bar.wanted, words[met]]
            for bar, figure, met in judge(results)]
    return table(["row", "figure", "bar", "met"], rows)
