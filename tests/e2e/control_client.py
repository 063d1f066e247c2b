"""Talks to a control socket: by socat itself, as users do, and by raw bytes, as those do who misuse it.

    control(gate).ask("show servers")            the text of the answer, by socat
    control(gate).json("show servers")           the data of the same as JSON; fails when it is an error
    control(gate).error("drian", "unknown_command")   the sentence of an error, which text and JSON must agree on
    with control(gate).open() as raw: raw.send(b"help\\n"); raw.answer()
"""

import json
import socket
import subprocess

from waiting import TIMEOUT


class Raw:
    """One connection, held open."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))  # with a timeout it would not wait for room in the queue
        self.sock.settimeout(TIMEOUT)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())
        return self

    def end(self):
        """No more from this side."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def until(self, mark):
        """What comes up to and with `mark`."""
        while mark not in self.buffer:
            data = self.sock.recv(65536)
            assert data, f"the connection ended before {mark!r}; there is {self.buffer[-2000:]!r}"
            self.buffer += data
        end = self.buffer.index(mark) + len(mark)
        taken, self.buffer = self.buffer[:end], self.buffer[end:]
        return taken

    def line(self):
        return self.until(b"\n").decode()

    def answer(self):
        """The next answer, without the empty line that ends it."""
        text = self.until(b"\n\n")
        assert b"\n\n" not in text[:-1]
        return text[:-1].decode()

    def rest(self):
        """All that comes until the end."""
        while data := self.sock.recv(65536):
            self.buffer += data
        taken, self.buffer = self.buffer, b""
        return taken


class Control:
    def __init__(self, path):
        self.path = str(path)

    def socat(self, lines, timeout=TIMEOUT):
        """What socat prints when it is fed with these lines."""
        done = subprocess.run(["socat", "-t", str(timeout), "-", f"UNIX-CONNECT:{self.path}"], input=lines.encode(),
                              capture_output=True, timeout=timeout)
        assert done.returncode == 0 and not done.stderr, done
        return done.stdout.decode()

    def ask(self, command):
        """The answer to one command, without the empty line that ends it."""
        text = self.socat(command + "\n")
        assert text.endswith("\n\n") and "\n\n" not in text[:-1], text
        return text[:-1]

    def lines(self, command):
        return self.ask(command).splitlines()

    def table(self, command):
        """A table of text as a list of dicts; no cell may have two spaces."""
        head, *rows = self.lines(command)
        names = head.split()
        cells = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows]
        assert all(len(row) == len(names) for row in cells), (names, cells)
        return [dict(zip(names, row)) for row in cells]

    def raw_json(self, command):
        text = self.ask(command + " json")
        assert text.count("\n") == 1, text
        return json.loads(text)

    def json(self, command):
        answer = self.raw_json(command)
        assert answer["ok"] is True, answer
        return answer["data"]

    def ok(self, command):
        """The sentence of an answer without data."""
        text = self.ask(command)
        assert text.startswith("ok: ") and text.count("\n") == 1, text
        return text.removeprefix("ok: ").rstrip("\n")

    def error(self, command, code):
        """The sentence of an error; asks twice: as text and as JSON."""
        first = self.ask(command).splitlines()[0]
        assert first.startswith(f"error: {code}: "), first
        sentence = first.removeprefix(f"error: {code}: ")
        answer = self.raw_json(command)
        assert answer["ok"] is False and answer["error"] == code and answer["message"] == sentence, (answer, sentence)
        return sentence

    def open(self):
        return Raw(self.path)


LEVELS = ("user", "operator", "admin")


def control_settings(*levels, **more):
    """For `global`: a socket for each level (default: all three), in the folder that the proxy runs in."""
    return {"control": [{"socket": f"{level}.sock", "level": level} for level in levels or LEVELS], **more}


def control(gate, level="admin"):
    return Control(gate.path.parent / f"{level}.sock")
