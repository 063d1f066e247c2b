"""What the end-to-end tests stand on: the programs under test as objects; re-exports the client and the fake server.

    origin = Origin.start("-n", "a1")            contrib/origin on a free port
    gate = Loomgate(config, tmp_path)            the proxy; `config` is YAML text or a dict
    fetch(gate.web, "/echo")                     gate.web: the first address of frontend "web"
"""

import ctypes
import json
import os
import pathlib
import re
import signal
import subprocess

from fake_server import FakeServer, ServerConn  # noqa: F401
from http_client import BadResponse, Client, Cut, Fields, Response, encode_chunked, fetch  # noqa: F401
from waiting import TIMEOUT, Collector, eventually  # noqa: F401

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build/release")
LOOMGATE_BIN = pathlib.Path(os.environ.get("LOOMGATE_BIN", BUILD / "loomgate"))
ORIGIN_BIN = pathlib.Path(os.environ.get("ORIGIN_BIN", BUILD / "origin"))

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
    "TSAN_OPTIONS": "exitcode=99:second_deadlock_stack=1",
}
SANITIZER_REPORT = re.compile(
    r"(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|runtime error:|assertion .*failed", re.I
)
PATTERN = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-\n"


def pattern(size):
    """The body of the origin's /size/N."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def parse_json(line):
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def environment(extra=None):
    env = {**os.environ, **SANITIZER_ENV, **(extra or {})}
    return {name: value for name, value in env.items() if value is not None}


def adopt_orphans():
    """Processes whose parent has ended become children of this one, which is to reap() them (prctl(2))."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def parent_of(pid):
    """0: there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def reap(pid):
    """The exit status of an adopted process that is about to end; None: somebody else has reaped it."""

    def status():
        try:
            ended, code = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return (None,)
        return ended and (os.waitstatus_to_exitcode(code),)

    return eventually(status, f"the end of {pid}")[0]


class Origin:
    """contrib/origin, ended by closing its standard input even when the test process is killed."""

    def __init__(self, process, name, address):
        self.process, self.name, self.address = process, name, address
        self.was_killed = False

    @classmethod
    def start(cls, *args, address="127.0.0.1:0"):
        process = subprocess.Popen(
            [ORIGIN_BIN, "-w", *map(str, args), address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        )
        line = process.stdout.readline().split()
        if len(line) != 3 or line[0] != "ready":
            process.stdin.close()
            raise AssertionError(f"the origin did not start: {process.stderr.read()}")
        return cls(process, line[1], line[2])

    def fetch(self, target, **options):
        """Asks it directly."""
        return fetch(self.address, target, **options)

    def number(self, target):
        return int(self.fetch(target).text)

    def connections(self):
        """(accepted, open) without the connection that asks."""
        words = self.fetch("/connections").text.split()
        return int(words[1]) - 1, int(words[3]) - 1

    def stop(self):
        """Ends it; its exit status must be 0 and nothing may be on its standard error."""
        if self.process.poll() is None:
            self.process.terminate()
        _, errors = self.process.communicate(timeout=TIMEOUT)
        expected = (0, -signal.SIGKILL) if self.was_killed else (0,)
        assert self.process.returncode in expected and not errors, \
            f"origin {self.name}: {self.process.returncode} {errors}"

    def kill(self, number=signal.SIGTERM):
        """Its listening socket and connections vanish at once; stop() stays allowed."""
        self.was_killed = number == signal.SIGKILL
        self.process.send_signal(number)
        self.process.wait(TIMEOUT)

    def freeze(self):
        """It hangs, with everything open, until thaw()."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)


class Echo:
    """The body of the origin's /echo, taken apart."""

    def __init__(self, response):
        assert response.status == 200, response
        head, _, self.body = response.body.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.name = lines.pop(0).removeprefix("name: ")
        self.proxy = lines.pop(0).removeprefix("proxy: ") if lines[0].startswith("proxy: ") else None
        self.request_line = lines[0]
        self.method, self.target, self.version = lines[0].split(" ")
        split = (line.partition(":") for line in lines[1:])
        self.fields = Fields((name, value.strip(" \t")) for name, _, value in split)
        self.raw_fields = lines[1:]
        self.trailers = [line for line in response.headers.all("X-Origin-Trailer")]
        self.framing = response.header("X-Origin-Framing")

    def header(self, name, default=None):
        return self.fields.get(name, default)


def echo(address, target="/echo", **options):
    return Echo(fetch(address, target, **options))


def web_config(*servers, frontend=None, backend=None, settings=None, frontends=None, backends=None):
    """A dict that suits most tests: frontend `web` on a free port, backend `app` with these servers (addresses, dicts,
    or objects with .address), JSON logs: the process's on stderr, access records on stdout."""
    listed = [s if isinstance(s, (str, dict)) else s.address for s in servers]
    web = {"bind": ["127.0.0.1:0"], "access_log": {"to": "stdout", "format": "json"}, "default_backend": "app"}
    return {
        "version": 1,
        "global": {"workers": 1, "log": {"level": "info", "to": "stderr", "format": "json"}, **(settings or {})},
        "frontends": {"web": {**web, **(frontend or {})}, **(frontends or {})},
        "backends": {"app": {"servers": listed, **(backend or {})}, **(backends or {})},
    }


def write_config(config, folder, name="loomgate.yaml"):
    """Writes YAML text, or a dict as JSON, which YAML contains."""
    path = pathlib.Path(folder) / name
    text = config if isinstance(config, (str, bytes)) else json.dumps(config, indent=1)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


class Loomgate:
    """The proxy, started and ready. `log`: its own log (stderr), `records`: access records (stdout); Collectors."""

    def __init__(self, config, folder, args=(), env=None, wait=True, name="loomgate.yaml", prefix=(),
                 program=LOOMGATE_BIN, **options):
        self.path = write_config(config, folder, name)
        self.process = subprocess.Popen(
            [*prefix, program, "-f", self.path, *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            env=environment(env), cwd=folder, **options,
        )
        self.log = Collector(self.process.stderr, parse_json)
        self.records = Collector(self.process.stdout, parse_json)
        self.addresses = {}  # frontend: [address, ...]
        self.is_stopped = False
        if wait:
            self.wait_ready()

    def wait_ready(self):
        try:
            self.log.wait(lambda line: line.get("event") == "ready", "the ready line")
        except AssertionError:
            self.process.kill()
            self.is_stopped = True
            self.process.wait(TIMEOUT)
            raise
        for line in self.log.lines:
            if line.get("event") == "listening":
                self.addresses.setdefault(line["frontend"], []).append(line["address"])

    def address(self, frontend="web", index=0):
        return self.addresses[frontend][index]

    @property
    def web(self):
        return self.address("web")

    @property
    def pid(self):
        return self.process.pid

    def client(self, frontend="web", **options):
        return Client(self.address(frontend), **options)

    def fetch(self, target="/", **options):
        return fetch(self.web, target, **options)

    def echo(self, target="/echo", **options):
        return echo(self.web, target, **options)

    def record(self, predicate=lambda record: True, **equal):
        """Waits for the access record that has these fields: gate.record(path="/x", status=200)."""
        def matches(record):
            return all(record.get(k) == v for k, v in equal.items()) and predicate(record)

        return self.records.wait(matches, f"an access record {equal}")

    def logged(self, predicate=lambda line: True, **equal):
        """The same for the process log."""
        def matches(line):
            return all(line.get(k) == v for k, v in equal.items()) and predicate(line)

        return self.log.wait(matches, f"a log line {equal}")

    def resident_bytes(self):
        """Resident memory of the process."""
        with open(f"/proc/{self.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def signal(self, number):
        self.process.send_signal(number)

    def heirs(self):
        """The processes that upgrades have started, dead or alive. Their output is this one's, too; who says first that
        there is one, itself or the one that has started it, is open."""
        told = [line["pid"] for line in self.log.lines if line.get("event") in ("upgrade_started", "ready")]
        return [pid for pid in dict.fromkeys(told) if pid != self.pid]

    def signal_heirs(self, number):
        """Those that live: a number of one that has ended may be somebody else's by now."""
        family = [os.getpid(), self.pid, *self.heirs()]
        for pid in self.heirs():
            if parent_of(pid) in family:
                os.kill(pid, number)

    def wait_exit(self, timeout=TIMEOUT):
        """The exit status, once both streams are read to their end: nobody writes there any more."""
        status = self.process.wait(timeout)
        self.log.join()
        self.records.join()
        statuses = [status, *(reap(pid) for pid in self.heirs())]
        self.is_stopped = self.log.ended and self.records.ended
        return next((one for one in statuses if one), 0)

    def assert_clean(self, allow_errors=False):
        """No sanitizer report, and no line that tells of an internal error."""
        for line in self.log.raw:
            assert not SANITIZER_REPORT.search(line), "\n".join(self.log.raw[-80:])
        errors = [line for line in self.log.lines if line.get("level") == "error"]
        assert allow_errors or not errors, errors

    def stop(self, allow_errors=False):
        """SIGTERM; it must end by itself with status 0 and have nothing to be ashamed of."""
        if self.is_stopped:
            return
        self.is_stopped = True
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        self.signal_heirs(signal.SIGTERM)
        try:
            status = self.wait_exit()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(TIMEOUT)
            raise AssertionError("SIGTERM did not end it; log:\n" + "\n".join(self.log.raw[-60:])) from None
        self.assert_clean(allow_errors)
        assert status == 0, f"exit status {status}; log:\n" + "\n".join(self.log.raw[-60:])

    def kill(self):
        """For teardown after a failure: no questions asked."""
        if self.process.poll() is None:
            self.process.kill()
        self.signal_heirs(signal.SIGKILL)
        self.wait_exit()


def client_when_listening(address):
    """A client of who has just been started; the file of a UNIX socket is there before anybody listens."""

    def connect():
        try:
            return Client(address)
        except OSError:
            return None

    return eventually(connect, f"somebody who listens on {address}")


def run_loomgate(*args, env=None, timeout=TIMEOUT, folder=None):
    """Runs it to its end: (status, stdout, stderr)."""
    done = subprocess.run([LOOMGATE_BIN, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", timeout=timeout, env=environment(env), cwd=folder)
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    return done.returncode, done.stdout, done.stderr
