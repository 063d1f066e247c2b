"""The proxies that are measured: how each is configured, started, and what its processes cost."""

import contextlib
import glob
import json
import os
import pathlib
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
START_SECONDS = 10
ALLOWED = sorted(os.sched_getaffinity(0))  # asked once, before anything here pins itself
CHECKED_SERVERS = 1000
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def cpus():
    """(the proxy's CPU, the load's CPU)"""
    return ALLOWED[0], ALLOWED[min(1, len(ALLOWED) - 1)]


def pinned(*cpus_):
    """What a process does before it becomes another program: keeps to these CPUs, may open as much as is allowed."""
    def prepare():
        os.sched_setaffinity(0, cpus_)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    return prepare


def wait_for_port(port, process, name, seconds=START_SECONDS):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{name} does not listen")


def tree(pid):
    """The process and its descendants."""
    pids = [pid]
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with open(path) as children:
            for child in children.read().split():
                pids += tree(int(child))
    return pids


def end(pid, number=signal.SIGTERM):
    """Sends a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def threads(pid, name):
    """{thread's name: its id} of those whose names begin so."""
    found = {}
    for path in glob.glob(f"/proc/{pid}/task/*/comm"):
        with open(path) as comm:
            if (text := comm.read().strip()).startswith(name):
                found[text] = int(path.split("/")[-2])
    return found


def cpu_ns(pid):
    """Nanoseconds on a CPU so far, all threads of all processes (those that still run)."""
    total = 0
    for one in tree(pid):
        for path in glob.glob(f"/proc/{one}/task/*/schedstat"):
            with open(path) as schedstat:
                total += int(schedstat.read().split()[0])
    return total


def memory_kib(pid):
    """(RSS, PSS) in KiB; shared pages count once in PSS."""
    rss = pss = 0
    for one in tree(pid):
        with open(f"/proc/{one}/smaps_rollup") as rollup:
            for line in rollup:
                words = line.split()
                rss += int(words[1]) if words[0] == "Rss:" else 0
                pss += int(words[1]) if words[0] == "Pss:" else 0
    return rss, pss


def first_line(*command):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": PATH})
    return (done.stdout + done.stderr).strip().split("\n")[0]


class Contestant:
    """`mode` is http or tcp, `log` whether an access log is written."""

    name = ""
    prefix = ()  # what it runs under
    start_seconds = START_SECONDS

    def __init__(self, build):
        self.build = pathlib.Path(build)

    def why_not(self, mode, log):
        """None, or why it cannot take part."""

    def command(self, mode, log, port, origin, folder, sink):
        raise NotImplementedError

    def version(self):
        return ""

    def start(self, mode, log, origin, folder, sink):
        port = free_port()
        self.folder = pathlib.Path(folder) / f"{self.name}-{port}"
        self.folder.mkdir()
        self.output = open(self.folder / "output", "w+")
        command = self.command(mode, log, port, origin, self.folder, sink)
        self.process = subprocess.Popen(
            [*self.prefix, *command], stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
            preexec_fn=pinned(cpus()[0]), env={**os.environ, "PATH": PATH}, cwd=self.folder,
        )
        try:
            wait_for_port(port, self.process, self.name, self.start_seconds)
        except RuntimeError as error:
            self.output.seek(0)
            text = self.output.read()[-2000:]
            self.stop()
            raise RuntimeError(f"{error}\n{text}") from None
        self.port = port
        return self

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def render(template, folder, **values):
    text = (HERE / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    path = folder / template
    path.write_text(text)
    return path


class Loomgate(Contestant):
    """With the defaults: breaker and retries are on."""

    name = "loomgate"
    server = policies = more = bind = ""
    workers = 1
    routes = ()

    def servers(self, origin):
        return [f'{{address: "127.0.0.1:{origin}"{self.server}}}']

    def why_not(self, mode, log):
        return None if (self.build / "loomgate").exists() else f"{self.build}/loomgate is not built"

    def command(self, mode, log, port, origin, folder, sink):
        access_log = f"access_log: {{to: 'file:{folder}/access.log', format: json}}" if log else ""
        path = render(
            "loomgate.yaml", folder, PORT=port, BIND=self.bind, ORIGIN=origin, MODE=mode, LOG=access_log,
            TIMEOUTS="keep_alive: 5m, " if mode == "http" else "",
            POOL="pool: {max_idle: 256, idle_timeout: 5m}" if mode == "http" else "",
            SERVERS=", ".join(self.servers(origin)), POLICIES=self.policies,
            GLOBAL=self.more, WORKERS=self.workers, ROUTES=f"routes: [{', '.join(self.routes)}]" if self.routes else "",
        )
        return [self.build.resolve() / "loomgate", "-f", path]

    def version(self):
        return first_line(self.build / "loomgate", "-V") if not self.why_not("http", False) else ""


class LoomgatePlain(Loomgate):
    """Everything that guards against failing servers is off."""

    name = "loomgate, off"
    policies = "breaker: off\n    retry: off"


class LoomgateGuarded(Loomgate):
    """All of it is on."""

    name = "loomgate, on"
    server = ", max_connections: 1000"
    policies = "health: {http: {path: /size/2}, interval: 1s}\n    slow_start: 10s"


class LoomgateAsleep(Loomgate):
    """Without a look for more events before it sleeps."""

    name = "loomgate, spin 0"
    more = "spin: 0, "


class LoomgateDeferring(Loomgate):
    """Its kernel hands a client over only once that has sent something; so do the next two's."""

    bind = ", defer_accept: true"


class LoomgateChecks(Loomgate):
    """A thousand servers, each checked once a second."""

    policies = "health: {http: {path: /size/2}, interval: 1s}"

    def servers(self, origin):
        return [f'{{name: s{i}, address: "127.0.0.1:{origin}"}}' for i in range(CHECKED_SERVERS)]


class LoomgateControl(Loomgate):
    """With a control socket, at the path `control` once it has started, and one long window where one is given."""

    name = "loomgate, control"

    def __init__(self, build, window_seconds=0):
        super().__init__(build)
        windows = f"telemetry: {{windows: [1s, {window_seconds}s]}}, " if window_seconds else ""
        self.more = f"control: [{{socket: control.sock}}], {windows}"

    def start(self, *args):
        super().start(*args)
        self.control = self.folder / "control.sock"
        return self


class Stream:
    """A reader of a stream from a control socket; its lines as they come."""

    def __init__(self, path, command):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(START_SECONDS)
        self.sock.connect(str(path))
        self.sock.sendall(command.encode() + b"\n")
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        with contextlib.suppress(OSError), self.sock.makefile() as lines:
            for line in lines:
                self.lines.append(json.loads(line))

    def wait(self, count):
        """Until there are so many lines."""
        deadline = time.monotonic() + START_SECONDS
        while len(self.lines) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the stream stands still at {len(self.lines)} lines")
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.sock.close()


class Haproxy(Contestant):
    name = "haproxy"
    bind = ""

    def servers(self, origin):
        return [f"server a1 127.0.0.1:{origin}"]

    def why_not(self, mode, log):
        return None if shutil.which("haproxy", path=PATH) else "haproxy is not installed"

    def command(self, mode, log, port, origin, folder, sink):
        path = render(
            "haproxy.conf", folder, PORT=port, BIND=self.bind, ORIGIN=origin, MODE=mode,
            LOG_TARGET=f"log 127.0.0.1:{sink} len 4096 local0" if log else "",
            LOG="log global\n    option httplog" if log else "",
            FORWARD="option forwardfor" if mode == "http" else "",
            REUSE="http-reuse always" if mode == "http" else "", SERVERS="\n    ".join(self.servers(origin)),
        )
        return ["haproxy", "-db", "-f", path]

    def version(self):
        return first_line("haproxy", "-v")


class HaproxyDeferring(Haproxy):
    bind = "defer-accept"


class HaproxyChecks(Haproxy):
    def servers(self, origin):
        return ["option httpchk GET /size/2", "http-check send hdr Host localhost",
                *(f"server s{i} 127.0.0.1:{origin} check inter 1s" for i in range(CHECKED_SERVERS))]


class Nginx(Contestant):
    name = "nginx"
    bind = ""
    stream_module = "/usr/lib/nginx/modules/ngx_stream_module.so"

    def why_not(self, mode, log):
        if not shutil.which("nginx", path=PATH):
            return "nginx is not installed"
        if mode == "tcp" and not os.path.exists(self.stream_module):
            return "nginx has no stream module here (libnginx-mod-stream)"
        return None

    def command(self, mode, log, port, origin, folder, sink):
        path = render(
            "nginx-tcp.conf" if mode == "tcp" else "nginx.conf", folder, PORT=port, BIND=self.bind, ORIGIN=origin,
            DIR=folder, LOG=f"{folder}/access.log record" if log else "off",
            USER=f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else "",
            MODULES=f"load_module {self.stream_module};" if mode == "tcp" else "",
        )
        return ["nginx", "-p", folder, "-e", "stderr", "-c", path]

    def version(self):
        return first_line("nginx", "-v")


class NginxDeferring(Nginx):
    bind = "deferred"


class Relay(Contestant):
    name = "relay"

    def why_not(self, mode, log):
        return None if (self.build / "relay").exists() else f"{self.build}/relay is not built"

    def command(self, mode, log, port, origin, folder, sink):
        return [self.build.resolve() / "relay", f"127.0.0.1:{port}", f"127.0.0.1:{origin}"]

    def version(self):
        return "raw byte relay (tests/bench/relay.c)"


ALL = [Loomgate, Haproxy, Nginx, Relay]
DEFERRING = [LoomgateDeferring, HaproxyDeferring, NginxDeferring]
GUARDS = [LoomgatePlain, LoomgateGuarded]
CHECKS = [LoomgateChecks, HaproxyChecks]
