"""Waiting for events, never for time: generous limits, as sanitizers make everything slow."""

import os
import threading
import time

TIMEOUT = float(os.environ.get("E2E_TIMEOUT", "30"))


class Collector:
    """Lines that a thread collects from a stream, and waiting for one of them."""

    def __init__(self, stream, parse=lambda line: line):
        self.lines = []  # parsed
        self.raw = []
        self.ended = False
        self._changed = threading.Condition()
        self._parse = parse
        self._thread = threading.Thread(target=self._run, args=(stream,), daemon=True)
        self._thread.start()

    def _run(self, stream):
        with stream:
            for line in stream:
                line = line.rstrip("\n")
                parsed = self._parse(line)
                with self._changed:
                    self.raw.append(line)
                    if parsed is not None:
                        self.lines.append(parsed)
                    self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait(self, predicate, what="a line", timeout=TIMEOUT, start=0):
        """The first parsed line from `start` on for which the predicate holds."""
        deadline = time.monotonic() + timeout
        at = start
        with self._changed:
            while True:
                for line in self.lines[at:]:
                    if predicate(line):
                        return line
                at = max(at, len(self.lines))
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    end = "the stream ended" if self.ended else f"{timeout} s passed"
                    raise AssertionError(f"{end} without {what}; seen:\n" + "\n".join(self.raw[-60:]))
                self._changed.wait(left)

    def wait_count(self, predicate, count, what="lines", timeout=TIMEOUT):
        """Waits until `count` parsed lines satisfy the predicate and returns them."""
        found = lambda: [line for line in self.lines if predicate(line)]  # noqa: E731
        with self._changed:
            self._changed.wait_for(lambda: len(found()) >= count or self.ended, timeout)
            assert len(found()) >= count, f"{len(found())} of {count} {what}:\n" + "\n".join(self.raw[-60:])
            return found()

    def join(self):
        self._thread.join(TIMEOUT)


def eventually(condition, what="the condition", timeout=TIMEOUT, every=0.02):
    """Polls for what announces itself by no event (counters of another process); returns the true value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true in {timeout} s"
        time.sleep(every)
