"""Upgrades a proxy: it starts its program's file anew, and hands sockets and state over.

    gate = Upgrader(loomgate, tmp_path, config)       a program of its own, which tests may replace; a pid file
    gate.upgrade()                                     its answer's data; gate.serving is the new one's pid
    gate.refuse_upgrade("exited with status 3")        nothing changes; the sentence
"""

import os
import shutil
import signal

from reloads import Reloader
from support import LOOMGATE_BIN, SANITIZER_ENV, TIMEOUT, eventually, parent_of


def known_races(folder):
    """What a worker closes while the child of an upgrade has a copy of it, libev takes out of its list a moment later,
    by a number that another worker may have been given meanwhile: that does nothing there (doc/threads.md)."""
    path = folder / "tsan.supp"
    path.write_text("race_top:epoll_ctl\n")
    return {"TSAN_OPTIONS": f"{SANITIZER_ENV['TSAN_OPTIONS']}:suppressions={path}"}


class Upgrader(Reloader):
    def __init__(self, loomgate, folder, config, env=None, **options):
        self.program = folder / "loomgate"
        shutil.copy(LOOMGATE_BIN, self.program)
        self.pid_file = folder / "pid"
        super().__init__(loomgate, config, program=self.program, args=["--pid", self.pid_file],
                         env={**known_races(folder), **(env or {})}, **options)
        self.serving = self.gate.pid

    def replace(self, content):
        """Another program in the place of the file; None: none at all."""
        new = self.program.with_name("new-program")
        if content is None:
            self.program.unlink()
        elif content is LOOMGATE_BIN:
            shutil.copy(LOOMGATE_BIN, new)
        else:
            new.write_bytes(content)
            new.chmod(0o755)
        if content is not None:
            os.replace(new, self.program)

    def is_alive(self, pid):
        return parent_of(pid) != 0

    def upgrade(self):
        data = self.control.json("upgrade")
        assert data["pid"] != self.serving
        self.serving = data["pid"]
        self.gate.logged(event="ready", pid=self.serving)
        eventually(lambda: self.control.json("show info")["pid"] == self.serving, "the new one at the control socket")
        return data

    def upgrade_by_signal(self):
        before = self.gate.heirs()
        os.kill(self.serving, signal.SIGUSR2)
        told = self.gate.logged(lambda line: line.get("event") == "handed_over" and line["pid"] not in before)
        self.serving = told["pid"]
        self.gate.logged(event="ready", pid=self.serving)

    def refuse_upgrade(self, sentence, code="internal"):
        """It fails, says why, and nothing has changed."""
        info, sockets = self.control.json("show info"), self.sockets()
        failed = len(self.gate.log.lines)
        answer = self.control.raw_json("upgrade")
        assert answer["ok"] is False and answer["error"] == code and sentence in answer["message"], answer
        told = self.gate.log.wait(lambda line: line.get("event") == "upgrade_failed", start=failed)
        assert sentence in told["message"]
        after = self.control.json("show info")
        assert after["pid"] == info["pid"] == self.serving and after["upgrades"] == info["upgrades"]
        assert after["state"] == "running" and self.sockets() == sockets
        eventually(lambda: self.open_descriptors() <= info["descriptors"]["open"], "closed descriptors")
        assert self.pid_file.read_text() == f"{self.serving}\n"
        return answer["message"]

    def open_descriptors(self):
        """As it tells them; the connection that asks, and one that asked a moment before, may be among them."""
        return self.control.json("show info")["descriptors"]["open"]

    def sockets(self):
        return self.listening(self.serving)

    def wait_gone(self, pid):
        """It has ended: of the first one with status 0."""
        if pid == self.gate.pid:
            assert self.gate.process.wait(TIMEOUT) == 0
        else:
            eventually(lambda: is_over(pid), f"the end of {pid}")


def is_over(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
