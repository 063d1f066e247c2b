"""What a reload costs: how long until it is in force, and how many requests it loses. LoomGate, nginx, HAProxy.

Each proxy is told by the signal that is meant for it (SIGHUP, SIGHUP to the master, SIGUSR2 to the master), after its
file was replaced. A reload is in force with the first answer to /version that has the new number in it, each asked for
on a connection of its own. So it is asked IDLE_RELOADS times without load; then LOADED_RELOADS times, each when the one
before is in force and SPACING_S have passed, once under wrk's keep-alive connections and once under a connection a
request. A request is lost when wrk counts an error of its socket or another status than 2xx: also one that was on its
way when the proxy closed a connection that had been idle, which many clients send again by themselves.
"""

import os
import pwd
import signal
import statistics
import subprocess
import time

from bed import Row, say
from contestants import Contestant, Haproxy, Loomgate, Nginx, cpus, pinned
from load import Result, fetch
from tables import spread, table, text_of

IDLE_RELOADS, LOADED_RELOADS = 20, 100
SPACING_S = 0.1  # at least, so that all are under load for about as long
IN_FORCE_MOST_S = 30
MASTER_SETTLES_S = 0.02  # nothing tells when it is back in its loop
LOADS = {"keep-alive": (64, ()), "a connection a request": (8, ("-H", "Connection: close"))}

LOOMGATE = """version: 1
global: {{workers: 1, max_connections: 8000, log: {{level: warn, to: stderr, format: json}}}}
frontends:
  web:
    bind: [{{address: "127.0.0.1:{port}", backlog: 16384}}]
    routes: [{{name: version, match: {{path: /version}}, respond: {{status: 200, body: "version {number};"}}}}]
    default_backend: app
backends:
  app: {{servers: ["127.0.0.1:{origin}"], pool: {{max_idle: 256}}}}
"""

NGINX = """daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8000; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream app {{ server 127.0.0.1:{origin}; keepalive 256; }}
    server {{
        listen 127.0.0.1:{port} backlog=16384;
        location = /version {{ return 200 "version {number};"; }}
        location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"""

HAPROXY = """global
    nbthread 1
    maxconn 8000
    no strict-limits
    stats socket {folder}/haproxy.sock level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend web
    bind 127.0.0.1:{port} backlog 16384
    http-request return status 200 content-type text/plain string "version {number};" if {{ path /version }}
    default_backend app
backend app
    http-reuse always
    server a1 127.0.0.1:{origin}
"""


class Reloading(Contestant):
    """A contestant whose file says a number; `template`, `file`, `signal` and `arguments` are the subclass's."""

    number = 0

    def command(self, mode, log, port, origin, folder, sink):
        self.values = {"port": port, "origin": origin, "folder": folder,
                       "user": f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""}
        self.path = folder / self.file
        self.write()
        return self.arguments()

    def write(self):
        new = self.path.with_suffix(".new")
        new.write_text(self.template.format(number=self.number, **self.values))
        new.rename(self.path)

    def await_ready(self):
        """Until it may be told to reload."""

    def reload(self):
        """Seconds until it is in force, and how often nobody answered meanwhile."""
        self.await_ready()
        self.number += 1
        self.write()
        want, unanswered = f"version {self.number};".encode(), 0
        began = time.monotonic()
        self.process.send_signal(self.signal)
        while time.monotonic() < began + IN_FORCE_MOST_S:
            try:
                answer = fetch(self.port, "/version")
            except OSError:
                answer = b""
            if want in answer:
                return time.monotonic() - began, unanswered
            unanswered += not answer
        raise RuntimeError(f"{self.name}: reload {self.number} was not in force after {IN_FORCE_MOST_S} s")


class ReloadingLoomgate(Reloading):
    name, why_not = "loomgate", Loomgate.why_not
    template, file, signal = LOOMGATE, "loomgate.yaml", signal.SIGHUP

    def arguments(self):
        return [self.build.resolve() / "loomgate", "-f", self.path]


class ReloadingNginx(Reloading):
    name, why_not, stream_module = "nginx", Nginx.why_not, Nginx.stream_module
    template, file, signal = NGINX, "nginx.conf", signal.SIGHUP

    def arguments(self):
        return ["nginx", "-p", self.folder, "-e", "stderr", "-c", self.path]


class ReloadingHaproxy(Reloading):
    """Its new process takes the listening sockets over from the old one."""

    name, why_not = "haproxy", Haproxy.why_not
    template, file, signal = HAPROXY, "haproxy.conf", signal.SIGUSR2

    def arguments(self):
        return ["haproxy", "-W", "-db", "-f", self.path]

    def await_ready(self):
        """Its master executes itself anew at a reload: a signal that comes before it takes signals again is lost."""
        deadline = time.monotonic() + IN_FORCE_MOST_S
        while not (self.has_said_so() and self.takes_signals()):
            if time.monotonic() > deadline:
                raise RuntimeError("haproxy: its master is not ready")
            time.sleep(0.005)
        time.sleep(MASTER_SETTLES_S)

    def has_said_so(self):
        return (self.folder / "output").read_text().count("Loading success") > self.number

    def takes_signals(self):
        with open(f"/proc/{self.pid}/status") as status:
            masks = dict(line.split(":") for line in status if line.startswith("Sig"))
        bit = 1 << (self.signal - 1)
        return int(masks["SigCgt"], 16) & bit and not int(masks["SigBlk"], 16) & bit


KINDS = [ReloadingLoomgate, ReloadingNginx, ReloadingHaproxy]


class Wrk:
    """wrk, until it is told to end."""

    def __init__(self, port, connections, args):
        command = ["wrk", "-t1", f"-c{connections}", "-d600s", "--latency", *args, f"http://127.0.0.1:{port}/size/1k"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(cpus()[1]))

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return Result(self.process.communicate(timeout=60)[0])

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def reload_often(one, count, spacing_s=0.0):
    samples = []
    for _ in range(count):
        next_at = time.monotonic() + spacing_s
        samples.append(one.reload())
        time.sleep(max(0.0, next_at - time.monotonic()))
    return {"in_force_s": [seconds for seconds, _ in samples], "unanswered": sum(failed for _, failed in samples)}


def reload_under(one, connections, args):
    wrk = Wrk(one.port, connections, args)
    try:
        result = reload_often(one, LOADED_RELOADS, SPACING_S)
        seen = wrk.end()
    finally:
        wrk.kill()
    return result | {"requests": seen.requests, "lost": seen.failures}


def run(bed):
    samples = {}
    for kind in KINDS:
        one = kind(bed.options.build)
        if why := one.why_not("http", False):
            bed.note(f"{one.name}: {why}")
            continue
        one.start("http", False, bed.origin.port, bed.folder, 0)
        try:
            samples[one.name] = {"idle": reload_often(one, IDLE_RELOADS),
                                 **{name: reload_under(one, *args) for name, args in LOADS.items()}}
        finally:
            one.stop()
        say(f"reload {one.name}: " + ", ".join(
            f"{name}: {statistics.median(part['in_force_s']) * 1000:.1f} ms, {part.get('lost', 0)} lost"
            for name, part in samples[one.name].items()))
    return {"samples": samples}


def show(results):
    heads = ["proxy", "in force, ms", "min to max", *(head for name in LOADS for head in (
        f"in force under {name}", "requests", f"lost in {LOADED_RELOADS} reloads")), "not answered"]
    rows = []
    for name, parts in results[0]["samples"].items():
        idle = [1000 * seconds for seconds in parts["idle"]["in_force_s"]]
        row = [name, text_of(statistics.median(idle), 1), spread(idle)]
        for part in LOADS:
            row += [text_of(1000 * statistics.median(parts[part]["in_force_s"]), 1), f"{parts[part]['requests']:,}",
                    f"{parts[part]['lost']:,}"]
        rows.append([*row, str(sum(part["unanswered"] for part in parts.values()))])
    return ("Time from the signal to the first answer of the new configuration (medians), requests lost meanwhile.\n\n" +
            table(heads, rows))


ROWS = [Row("reload", run, show)]
