"""What a worker of LoomGate does for a load, counted and not timed: instructions and calls by callgrind, system calls
by strace. Only the thread of the worker counts; what control and log threads do depends on the time."""

import collections
import pathlib
import re
import signal
import tempfile

import contestants as field

ALLOCATORS = ("malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc")


class Counted(field.Loomgate):
    """LoomGate below a tool that watches it. How often it looks for events in vain would depend on the time."""

    start_seconds = 60
    more = "spin: 0, "

    def __init__(self, build, prefix):
        super().__init__(build)
        self.prefix = prefix

    @property
    def pid(self):
        """Of LoomGate itself: the same process under valgrind, a child under strace."""
        return field.tree(self.process.pid)[-1]

    def stop(self):
        """It must end well, so that the tool writes down what it saw."""
        if self.process.poll() is None:
            field.end(self.pid, signal.SIGTERM)
        super().stop()


def observe(build, origin, load, requests, prefix):
    """Runs `requests` requests against a LoomGate behind `prefix`."""
    with tempfile.TemporaryDirectory(prefix="loomgate-guard-") as folder:
        one = Counted(build, prefix).start("http", load.log, origin, folder, 0)
        try:
            load.run(one.port, requests)
        finally:
            one.stop()


# ---- callgrind -------------------------------------------------------------------------------------------------------


class Profile:
    """One thread of a callgrind.out: `total` instructions, `own` by function, `calls` into each function."""

    def __init__(self, text):
        self.total = int(re.search(r"^(?:totals|summary): (\d+)", text, re.M)[1])
        self.own, self.calls = collections.Counter(), collections.Counter()
        self._names = {}
        self._read(text)

    def _name(self, reference):
        """'(12) text' names it, '(12)' refers to it."""
        number, _, text = reference.partition(" ")
        if text:
            self._names[number] = re.sub(r"'\d+$", "", text)  # a recursion's level
        return self._names[number]

    def _read(self, text):
        here = callee = None
        is_call = False
        for line in text.split("\n"):
            if line.startswith("fn="):
                here = self._name(line[3:])
            elif line.startswith("cfn="):
                callee = self._name(line[4:])
            elif line.startswith("calls="):
                self.calls[callee] += int(line[6:].split()[0])
                is_call = True  # the next line is the callee's cost
            elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
                words = line.split()
                if not is_call and len(words) > 1:
                    self.own[here] += int(words[1])
                is_call = False

    def allocations(self):
        return sum(self.calls[name] for name in ALLOCATORS)


def profile(build, origin, load, requests):
    """The worker's Profile."""
    with tempfile.TemporaryDirectory(prefix="loomgate-callgrind-") as folder:
        observe(build, origin, load, requests,
                ["valgrind", "-q", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={folder}/out"])
        for path in sorted(pathlib.Path(folder).glob("out*")):
            text = path.read_text()
            if "worker_main" in text and "loop_run" in text and "worker_start" not in text:
                return Profile(text)
    raise RuntimeError("callgrind saw no thread of a worker")


# ---- strace ----------------------------------------------------------------------------------------------------------


def count_calls(text):
    """System calls by name in what `strace -ff` wrote of a thread. A wait that ends by its time is left out: how many
    there are says how long the run took."""
    calls = collections.Counter()
    for line in text.split("\n"):
        match = re.match(r"(\w+)\(.*\) += (\S+)", line)
        if match and not (match[1].startswith("epoll_") and "wait" in match[1] and match[2] == "0"):
            calls[match[1]] += 1
    return calls


def system_calls(build, origin, load, requests):
    """The worker's system calls by name."""
    with tempfile.TemporaryDirectory(prefix="loomgate-strace-") as folder:
        observe(build, origin, load, requests, ["strace", "-ff", "-qq", "-o", f"{folder}/out"])
        for path in pathlib.Path(folder).glob("out.*"):
            text = path.read_text(errors="replace")
            if 'PR_SET_NAME, "worker-' in text:
                return count_calls(text)
    raise RuntimeError("strace saw no thread of a worker")


# ---- a request's part ------------------------------------------------------------------------------------------------


def per_request(few, many, few_requests, many_requests):
    """What a request more costs: start and end of a run fall out."""
    return (many - few) / (many_requests - few_requests)
