"""Reloads a proxy whose configuration is a dict.

    gate = Reloader(loomgate, web_config(origin))     with a control socket
    gate.reload(lambda c: c["frontends"].pop("web"))  edits a copy, writes the file, tells the proxy; its answer's data
    gate.refuse(edit, "address already in use")       the same, but nothing changes
"""

import copy
import itertools
import json
import os
import signal

from control_client import control, control_settings
from support import Client, Echo, eventually, fetch, web_config, write_config

BIND = {"bind": ["127.0.0.1:0"]}
WEBSOCKET = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
             ("Sec-WebSocket-Version", "13")]


def respond(body):
    """A route."""
    return {"name": body, "match": {"path": "/own"}, "respond": {"status": 200, "body": body}}


def say(body):
    """An edit: what /own answers."""
    def edit(config):
        config["frontends"]["web"]["routes"] = [respond(body)]

    return edit


def servers_of(config, backend="app"):
    return config["backends"][backend]["servers"]


def variants(base, origins):
    """Configurations that differ in weights, timeouts, servers, routes and frontends."""
    for n in itertools.count():
        def edit(config, n=n):
            servers = servers_of(config)
            servers.clear()
            servers.extend({"name": f"s{i}", "address": one.address, "weight": 1 + (n + i) % 7}
                           for i, one in enumerate(origins) if (n + i) % 4)
            config["frontends"]["web"]["timeouts"] = {"client": f"{20 + n % 5}s", "keep_alive": "60s"}
            config["frontends"]["web"]["routes"] = [
                {"name": f"r{i}", "match": {"path": f"/r{i}"}, "respond": {"status": 200}} for i in range(n % 5)]
            config["backends"]["app"]["balance"] = ["round_robin", "least_requests", "random_two", "peak_ewma"][n % 4]
            if n % 2:
                config["frontends"][f"more{n % 3}"] = {**BIND, "default_backend": "app"}
                config["backends"][f"other{n % 3}"] = {"servers": [origins[0].address]}
            if n % 10 == 7:
                config["global"]["telemetry"] = {"windows": ["1s", "10s"]}

        yield base.edited(edit)


def large(address, backends=1000, servers=10, routes=10000, **options):
    """A dict with so many backends, servers in each, and routes; all servers at one address. GET /size/N of the host
    hM.example.org, M = N modulo 100, goes to backend N modulo their number."""
    kinds = ("path", "path_prefix")
    rows = [{"name": f"r{i}", "match": {"host": f"h{i % 100}.example.org", kinds[i % 2]: f"/size/{i}"},
             "backend": f"b{i % backends}"} for i in range(routes)]
    config = web_config(address, **options)
    config["frontends"]["web"]["routes"] = rows
    for i in range(backends):
        listed = [{"name": f"s{k}", "address": address, "weight": 1} for k in range(servers)]
        config["backends"][f"b{i}"] = {"servers": listed, "drain": {"timeout": "1h"}}
    return config


class Reloader:
    def __init__(self, loomgate, config, **options):
        self.config = copy.deepcopy(config)
        self.config["global"] = control_settings("admin") | self.config["global"]
        self.gate = loomgate(self.config, **options)
        self.control = control(self.gate)

    def __getattr__(self, name):
        return getattr(self.gate, name)

    def edited(self, edit):
        config = copy.deepcopy(self.config)
        if callable(edit):
            edit(config)
            return config
        return edit if edit is not None else config

    def write(self, edit, name=None):
        """Puts the edited configuration in the place of the file, by one rename; or beside it."""
        new = write_config(self.edited(edit), self.gate.path.parent, "new.yaml")
        if name:
            return new.rename(new.with_name(name))
        os.rename(new, self.gate.path)
        return self.gate.path

    def reload(self, edit=None, words="", is_logged=True):
        config = self.edited(edit)
        self.write(config)
        data = self.control.json(f"reload {words}".strip())
        self.config = config
        if is_logged:  # new addresses have been told then, too
            self.gate.logged(event="reloaded", number=data["number"])
        return data

    def refuse(self, edit, sentence, code="config"):
        """The reload fails, and all is as it was; the file is what it was afterwards."""
        before, sockets = self.state(), self.sockets()
        self.write(edit)
        answer = self.control.raw_json("reload")
        assert answer["ok"] is False and answer["error"] == code and sentence in answer["message"], answer
        after = self.state()
        assert after["failed"] == before["failed"] + 1 and after["total"] == before["total"]
        assert self.sockets() == sockets
        self.write(None)
        return answer

    def reload_by_signal(self, edit=None):
        self.config = self.edited(edit)
        self.write(self.config)
        want = self.state()["total"] + 1
        self.gate.signal(signal.SIGHUP)
        self.gate.logged(event="reloaded", number=want)

    def state(self):
        return self.control.json("show info")["reloads"]

    def wait_alone(self):
        """Until nothing is left of former configurations."""
        eventually(lambda: self.state()["snapshots_alive"] == 1, "one snapshot alone")

    def address(self, frontend="web"):
        """Where it listens since it was opened last."""
        lines = [line for line in self.gate.log.lines if line.get("event") == "listening"]
        return [line["address"] for line in lines if line["frontend"] == frontend][-1]

    def client(self, frontend="web", **options):
        return Client(self.address(frontend), **options)

    def sockets(self):
        return self.listening(self.gate.pid)

    @staticmethod
    def listening(pid):
        """The inodes of all listening TCP sockets of the process."""
        found = set()
        with open(f"/proc/{pid}/net/tcp") as table:
            listening = {line.split()[9] for line in table.readlines()[1:] if line.split()[3] == "0A"}
        folder = f"/proc/{pid}/fd"
        for fd in os.listdir(folder):
            try:
                link = os.readlink(f"{folder}/{fd}")
            except FileNotFoundError:
                continue
            inode = link.removeprefix("socket:[").removesuffix("]")
            if inode in listening:
                found.add(inode)
        return found

    def server(self, name, backend="app"):
        rows = self.control.json(f"show servers {backend}")
        return next((row for row in rows if row["server"] == name), None)

    def events(self, name):
        return [json.dumps(e) for e in self.control.json("show events") if e["event"] == name]


def name_of(client):
    """Of the origin that answers a client, or whoever asks this address."""
    if isinstance(client, str):
        return Echo(fetch(client, "/echo")).name
    return Echo(client.request("GET", "/echo").read_response()).name


def stays_refused(address):
    """Nobody listens there."""
    try:
        Client(address).close()
    except ConnectionRefusedError:
        return True
    return False


def started(loomgate, origin):
    """Two workers; web -> app (the origin a1); /own is answered by itself: "old"."""
    a1 = origin("-n", "a1")
    config = web_config({"name": "a1", "address": a1.address}, settings={"workers": 2})
    say("old")(config)
    gate = Reloader(loomgate, config)
    gate.a1 = a1
    return gate
