"""A flame graph of one LoomGate under load, and where a request's time goes: stacks by perf, folded and drawn here.

perf samples the process's stacks, the kernel's part too where it is allowed. Frames that it has no name for are left
out. A box is as wide as the samples in which its function was on the stack; above it is what it called.
"""

import collections
import os
import pathlib
import re
import shutil
import signal
import subprocess

import contestants as field
import load
from svg import FAINT, INK, Svg

RATE, CONNECTIONS = 999, 64
STACKS = "dwarf,4096"  # the libraries keep no frame pointers; deep enough for what is on a worker's stack
KERNEL, LIBRARY, OTHER = "kernel", "libraries", "other"
CALL = re.compile(r"(?:sys|do)_(epoll_p?wait2?|epoll_ctl|accept4|recvfrom|recvmsg|sendto|sendmsg|readv?|writev?|close|"
                  r"connect|shutdown|setsockopt)$")
WIDTH, MARGIN, ROW, TOP, LEAST_WIDTH = 1200, 16, 17, 92, 1.0
FILLS = {
    "base": "#d9b06c", "net": "#b7a3d0", "http": "#9fbf6b", "llhttp": "#7fae8d", "backend": "#d98e73",
    "proxy": "#c7a17a", "stats": "#d6a3b4", "runtime": "#e0c07a",
    KERNEL: "#9db8cf", LIBRARY: "#bdbdb8", OTHER: "#d5d3cc",
}


class NoPerf(Exception):
    """Why there are no stacks to be had here."""


# ---- stacks ----------------------------------------------------------------------------------------------------------


def fold(text):
    """{((function, kind), ...) from the outermost on: samples} of what `perf script` prints."""
    folded = collections.Counter()
    stack = None
    for line in text.split("\n") + [""]:
        frame = re.match(r"\s+[0-9a-f]+ (.+) \((.*)\)$", line)
        if frame and stack is not None:
            name = frame[1].partition("+0x")[0]
            if name != "[unknown]":
                stack.append((re.sub(r"\.(part|constprop|isra|cold)\b.*", "", name), frame[2]))
        elif line.strip() and not line[0].isspace():
            stack = []
        elif stack:
            folded[tuple(with_kinds(reversed(stack)))] += 1
            stack = None
    return folded


def with_kinds(frames):
    """What is inlined is of the kind of what it is in; a function once that has been inlined into itself."""
    name = kind = None
    for inner, object_ in frames:
        kind = kind_of(object_) if object_ != "inlined" else kind or OTHER
        if inner != name:
            yield inner, kind
        name = inner


def kind_of(object_):
    if object_.startswith("[") and object_ != "[vdso]":
        return KERNEL
    return LIBRARY if ".so" in object_ or object_ == "[vdso]" else OTHER


def areas(root):
    """{function: area} of all functions that the sources define."""
    found = {}
    for path in [*root.glob("src/*/*.c"), *root.glob("include/loomgate/*/*.h")]:
        for name in re.findall(r"^\w[^;=\n]*?\b(\w+)\((?:[^;{}]*)\) \{", path.read_text(), re.M):
            found[name] = path.parent.name
    return found


def with_areas(folded, area_of):
    """The same stacks, with the area of the sources in place of `other`."""
    def area(name, kind):
        if kind != OTHER:
            return kind
        return LIBRARY if name.startswith("__") else "llhttp" if name.startswith("llhttp") else area_of.get(name, OTHER)

    named = collections.Counter()
    for stack, samples in folded.items():
        named[tuple((name, area(name, kind)) for name, kind in stack)] += samples
    return named


def place_of(stack):
    """To what its innermost function's time is put down: a system call, or an area of the sources."""
    name, kind = stack[-1]
    if kind == KERNEL:
        calls = [match[1] for frame, frame_kind in stack if frame_kind == KERNEL and (match := CALL.search(frame))]
        return f"kernel: {calls[0]}" if calls else "kernel: other"
    return f"user: {kind}"


def places(folded):
    """[(place, share of all samples)], the largest first."""
    total = folded.total() or 1
    found = collections.Counter()
    for stack, samples in folded.items():
        found[place_of(stack)] += samples
    return [(place, samples / total) for place, samples in found.most_common()]


def record(build, origin, folder, seconds):
    """(stacks of a LoomGate with keep-alive requests of 1 KiB, its CPU us a request). Raises NoPerf."""
    if not shutil.which("perf"):
        raise NoPerf("perf is not installed (linux-perf)")
    data = pathlib.Path(folder) / "perf.data"
    one = field.Loomgate(build).start("http", False, origin, folder, 0)
    try:
        load.run_wrk(one.port, "/size/1k", CONNECTIONS, 1)
        command = ["perf", "record", "-q", "-F", str(RATE), "--call-graph", STACKS, "-p", str(one.pid), "-o", str(data)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as perf:
            before = field.cpu_ns(one.pid)
            requests = load.run_wrk(one.port, "/size/1k", CONNECTIONS, seconds).requests
            used = field.cpu_ns(one.pid) - before
            field.end(perf.pid, signal.SIGINT)
            errors = perf.stderr.read()
    finally:
        one.stop()
    done = subprocess.run(["perf", "script", "-i", data, "-F", "comm,tid,ip,sym,dso"], capture_output=True, text=True)
    folded = with_areas(fold(done.stdout), areas(field.HERE.parents[1]))
    if not folded:
        raise NoPerf(f"perf gives no stacks here: {(errors + done.stderr).strip()[:200]}")
    return folded, used / 1000 / max(requests, 1)


# ---- the picture -----------------------------------------------------------------------------------------------------


class Box:
    def __init__(self, name, kind):
        self.name, self.kind, self.samples, self.above = name, kind, 0, {}

    def depth(self):
        return 1 + max((box.depth() for box in self.above.values()), default=0)


def tower(folded):
    root = Box("all", OTHER)
    for stack, samples in folded.items():
        box = root
        box.samples += samples
        for name, kind in stack:
            box = box.above.setdefault(name, Box(name, kind))
            box.samples += samples
    return root


def trim(box, least):
    """Leaves out what would be too narrow to be seen."""
    box.above = {name: trim(one, least) for name, one in box.above.items() if one.samples >= least}
    return box


def kinds_of(box):
    return {box.kind}.union(*(kinds_of(one) for one in box.above.values()))


def fill_of(kind):
    return FILLS.get(kind, FILLS[OTHER])


def draw(folded, title, subtitle):
    root = trim(tower(folded), folded.total() * LEAST_WIDTH / (WIDTH - 2 * MARGIN))
    seen = kinds_of(root)
    height = TOP + root.depth() * ROW + MARGIN
    svg = Svg(WIDTH, height, title)
    svg.text(MARGIN, 30, title, 17, weight="bold")
    svg.text(MARGIN, 49, subtitle, 12, fill=FAINT)
    svg.legend(MARGIN, 74, {kind: fill for kind, fill in FILLS.items() if kind in seen})
    scale = (WIDTH - 2 * MARGIN) / root.samples

    def put(box, x, y):
        width = box.samples * scale
        svg.rect(x, y, width - 0.4, ROW - 1, fill_of(box.kind),
                 f"{box.name} ({box.kind}): {box.samples / root.samples:.1%}, {box.samples} samples", 1.5)
        room = int((width - 6) / 6.4)
        if room >= 3:
            svg.text(x + 3, y + 12, box.name if len(box.name) <= room else box.name[:room - 1] + "…", 10.5, fill=INK)
        for one in sorted(box.above.values(), key=lambda one: one.name):
            put(one, x, y - ROW)
            x += one.samples * scale

    put(root, MARGIN, height - MARGIN - ROW)
    return svg


def note_of(folded):
    has_kernel = any(kind == KERNEL for stack in folded for _, kind in stack)
    return f"{folded.total():,} samples" + ("" if has_kernel else "; the kernel's part may not be sampled here") + (
        "" if os.geteuid() == 0 else "; not run by root")
