"""Configurations on trial, the way back, plans, and files that are watched."""

import os
import socket

import pytest
from reloads import BIND, Reloader, name_of, say, servers_of, started, stays_refused
from support import Client, eventually, fetch, pattern, web_config

@pytest.fixture
def gate(loomgate, origin):
    return started(loomgate, origin)


def own(gate):
    return gate.fetch("/own").text


# --- on trial ---------------------------------------------------------------------------------------------------------


@pytest.mark.threads
def test_not_confirmed_it_comes_back(gate):
    """Also when it has broken all traffic, and who asked for it has gone."""
    sockets = gate.sockets()

    def break_all(config):
        del config["frontends"]["web"]
        config["frontends"]["other"] = {**BIND, "default_backend": "app"}

    web = gate.web
    gate.write(break_all)
    with gate.control.open() as raw:
        raw.send("reload confirm within 1s\n")
        assert "it goes back unless confirmed within" in raw.answer()
    assert stays_refused(web)
    gate.logged(event="reload_expired", number=1)
    gate.logged(event="reloaded", number=2)
    assert fetch(gate.address(), "/own").text == "old" and len(gate.sockets()) == len(sockets)
    state = gate.state()
    assert state["total"] == 2 and state["confirm_within"] is None and state["can_roll_back"] is False
    assert gate.events("reload_expired")
    assert "no configuration to go back to" in gate.control.error("rollback", "conflict")


@pytest.mark.threads
def test_all_traffic_broken_and_the_operator_cut_off(gate, tmp_path):
    """The frontends move away, the servers are none, and who asked is gone by then; the control sockets stay."""
    address = f"unix:{tmp_path}/web.sock"
    gate.reload(lambda config: config["frontends"]["web"].update(bind=[address]))
    kept = Client(address)
    assert name_of(kept) == "a1"

    def break_all(config):
        config["frontends"]["web"]["bind"] = [f"unix:{tmp_path}/elsewhere.sock"]
        config["frontends"]["web"]["routes"] = []
        config["backends"]["app"] = {"servers": ["127.0.0.1:9"], "retry": "off"}
        config["global"]["control"] = []  # needs a restart: nobody is locked out

    gate.write(break_all)
    with gate.control.open() as raw:
        raw.send("reload confirm within 3s\n")
    gate.logged(event="reloaded", number=2)
    assert 0 < gate.state()["confirm_within"] <= 3, "others may still ask, and confirm"
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        Client(address)
    assert fetch(f"unix:{tmp_path}/elsewhere.sock", "/").status in (502, 503)
    assert kept.request("GET", "/echo").read_response().status in (502, 503)
    gate.logged(event="reload_expired", number=2)
    gate.logged(event="reloaded", number=3)
    assert fetch(address, "/own").text == "old" and name_of(address) == "a1" and name_of(kept) == "a1"
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        Client(f"unix:{tmp_path}/elsewhere.sock")
    assert gate.state()["confirm_within"] is None and len(gate.control.json("show servers")) == 1
    kept.close()


def test_confirmed_it_stays(gate):
    data = gate.control.error("confirm", "conflict")
    assert "no reload waits" in data
    gate.reload(say("new"), "confirm within 1h")
    assert 0 < gate.state()["confirm_within"] <= 3600
    assert gate.control.ok("confirm") == "configuration 1 stays"
    assert gate.state()["confirm_within"] is None
    gate.control.error("confirm", "conflict")
    assert own(gate) == "new" and gate.logged(event="reload_confirmed", number=1)
    assert gate.control.json("rollback")["number"] == 2
    assert own(gate) == "old"


def test_rollback_goes_once(gate):
    assert "no configuration to go back to" in gate.control.error("rollback", "conflict")
    gate.reload(say("one"))
    gate.reload(say("two"))
    gate.control.json("rollback")
    assert own(gate) == "one"
    gate.control.error("rollback", "conflict")
    gate.reload(say("three"))
    gate.control.json("rollback")
    assert own(gate) == "one"


def test_rollback_of_one_on_trial(gate):
    gate.reload(say("new"), "confirm within 1h")
    gate.control.json("rollback")
    assert own(gate) == "old" and gate.state()["confirm_within"] is None
    gate.control.error("confirm", "conflict")
    gate.control.error("rollback", "conflict")


def test_a_second_trial_goes_back_to_what_was_to_stay(gate):
    gate.reload(say("first"), "confirm within 1h")
    assert "in place of one that was not confirmed" in gate.control.ask("reload confirm within 1h")
    gate.reload(say("second"), "confirm within 1s")
    assert own(gate) == "second"
    gate.logged(event="reload_expired")
    eventually(lambda: own(gate) == "old", "the one that was to stay")


def test_a_plain_reload_ends_a_trial(gate):
    gate.reload(say("first"), "confirm within 1h")
    gate.reload(say("second"))
    assert gate.state()["confirm_within"] is None
    gate.control.json("rollback")
    assert own(gate) == "old", "the first one was never to stay"


def test_a_broken_file_ends_no_trial(gate):
    gate.reload(say("new"), "confirm within 3s")
    gate.write("no: [")
    gate.control.error("reload confirm within 1h", "config")
    assert gate.state()["confirm_within"] <= 3
    gate.logged(event="reload_expired")
    eventually(lambda: own(gate) == "old", "the way back")
    gate.stop(allow_errors=True)


def test_the_way_back_is_tried_again(gate):
    """Somebody else has taken the port meanwhile, and gives it back."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    gate.reload(lambda c: c["frontends"].update(more={"bind": [f"127.0.0.1:{port}"], "default_backend": "app"}))
    gate.reload(lambda c: c["frontends"].pop("more"), "confirm within 1s")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        gate.logged(lambda line: "Address already in use" in line.get("message", ""), event="reload_failed")
    gate.logged(event="reloaded", number=3)
    assert fetch(f"127.0.0.1:{port}", "/own").status == 404
    assert gate.state()["confirm_within"] is None


# --- plans ------------------------------------------------------------------------------------------------------------


def test_a_plan_changes_nothing(gate, origin):
    a2 = origin("-n", "a2")

    def edit(config):
        config["frontends"]["web"]["timeouts"] = {"client": "7s"}
        config["frontends"]["api"] = {**BIND, "default_backend": "other"}
        config["backends"]["other"] = {"servers": [a2.address]}
        servers_of(config)[0]["weight"] = 5
        config["global"]["workers"] = 5

    path = gate.write(edit, "plan.yaml")
    sockets = gate.sockets()
    with gate.client() as client:
        client.request("GET", "/delay/3000/size/3")
        eventually(lambda: gate.server("a1")["active"] == 1, "the request under way")
        plan = gate.control.json(f"config plan {path}")
        assert client.read_response().body == pattern(3)
    rows = {row["key"]: row for row in plan["changes"]}
    weight = rows["backends.app.servers.a1.weight"]
    assert (weight["change"], weight["before"], weight["after"], weight["needs_restart"]) == ("changed", "1", "5", False)
    assert rows["backends.other"]["change"] == rows["frontends.api"]["change"] == "added"
    assert rows["global.workers"]["needs_restart"] and plan["needs_restart"] == ["global.workers"]
    assert plan["sockets_opened"] == [{"address": "127.0.0.1:0", "frontend": "api"}]
    assert plan["sockets_closed"] == [] and plan["sockets_kept"] == 1 and plan["exchanges_touched"] == 1
    text = gate.control.ask(f"config plan {path}")
    assert text.startswith("ok: ") and "changed backends.app.servers.a1.weight: 1 -> 5\n" in text
    assert "global.workers: 2 -> 5 (needs a restart)" in text
    assert gate.sockets() == sockets and gate.state()["total"] == 0
    same = gate.control.json("config plan")
    assert same["changes"] == [] and gate.control.ask("config plan").startswith("ok: nothing changes")


def test_a_plan_for_what_goes(gate):
    gate.reload(lambda c: c["frontends"].update(more={**BIND, "default_backend": "app"}))
    path = gate.write(lambda c: c["frontends"].pop("more"), "plan.yaml")
    plan = gate.control.json(f"config plan {path}")
    assert [row["key"] for row in plan["changes"]] == ["frontends.more"]
    assert plan["sockets_closed"] == [{"address": "127.0.0.1:0", "frontend": "more"}] and not plan["sockets_opened"]
    assert plan["exchanges_touched"] == 0


def test_a_plan_of_a_broken_file(gate):
    path = gate.write(lambda c: c["frontends"]["web"].update(timeout="5s"), "plan.yaml")
    answer = gate.control.raw_json(f"config plan {path}")
    assert answer["error"] == "config" and "plan.yaml:" in answer["message"]
    assert answer["data"]["problems"][0]["hint"] == "did you mean 'timeouts'?"
    assert "cannot be read" in gate.control.error("config plan /nowhere", "config")
    os.mkfifo(gate.path.with_name("pipe"))
    assert "not a regular file" in gate.control.error(f"config plan {gate.path.with_name('pipe')}", "config")
    assert "not a regular file" in gate.control.error(f"reload {gate.path.with_name('pipe')}", "config")


def test_another_file(gate):
    path = gate.write(say("other"), "other.yaml")
    assert gate.control.json(f"reload {path} confirm within 1h")["number"] == 1
    assert own(gate) == "other"
    gate.control.ok("confirm")
    gate.control.json("reload")
    assert own(gate) == "old", "without a path it is the one that the process began with"


@pytest.mark.parametrize("level", ["user", "operator"])
def test_levels(loomgate, origin, level):
    config = web_config(origin(), settings={"control": [{"socket": "admin.sock", "level": level}]})
    gate = Reloader(loomgate, config)
    gate.config["global"]["control"] = config["global"]["control"]
    for command in ["reload", "confirm", "rollback", "config plan", "config check"]:
        assert "needs the level admin" in gate.control.error(command, "denied")


# --- watched ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def watched(gate):
    gate.reload(lambda c: c["global"].update(reload={"watch": True}))
    return gate


def test_a_watched_file(watched):
    for body in ["one", "two", "three"]:
        watched.config = watched.edited(say(body))
        watched.write(None)
        eventually(lambda body=body: own(watched) == body, f"answer {body}")
    watched.write("no: [")
    watched.logged(event="reload_failed")
    assert own(watched) == "three"
    watched.write(say("four"))
    eventually(lambda: own(watched) == "four", "after the broken one")
    watched.write(lambda c: (say("five")(c), c["global"].update(reload={"watch": False})))
    eventually(lambda: own(watched) == "five", "the last one")
    total = watched.state()["total"]
    watched.reload(say("six"))
    assert watched.state()["total"] == total + 1
    watched.stop(allow_errors=True)


def test_watched_from_the_start(loomgate, origin):
    config = web_config(origin(), settings={"reload": {"watch": True}})
    say("old")(config)
    gate = Reloader(loomgate, config)
    gate.write(say("new"))
    eventually(lambda: own(gate) == "new", "the new answer")


def test_what_was_rolled_back_does_not_come_again(watched):
    watched.write(say("new"))
    eventually(lambda: own(watched) == "new", "the new answer")
    number = watched.control.json("rollback")["number"]
    assert own(watched) == "old"
    os.utime(watched.path)
    watched.path.with_name("unrelated").write_text("x")
    watched.write(say("newer"))
    eventually(lambda: own(watched) == "newer", "the next change")
    assert watched.state()["total"] == number + 1, "nothing in between"


def test_the_watch_ends_no_trial(watched):
    watched.write(say("tried"))
    eventually(lambda: own(watched) == "tried", "the new answer")
    watched.control.json("reload confirm within 4s")
    watched.write(say("seen"))
    eventually(lambda: own(watched) == "seen", "what was seen meanwhile")
    watched.logged(event="reload_expired")
    eventually(lambda: own(watched) == "tried", "what was to stay")


def test_a_swapped_directory(loomgate, origin, tmp_path):
    """As Kubernetes does: FILE -> ..data/FILE, ..data -> a directory, replaced by a rename."""
    config = web_config(origin(), settings={"reload": {"watch": True}})
    gate = Reloader(loomgate, config, name="first.yaml")
    config = gate.edited(lambda c: c["global"].update(reload={"watch": True}))
    for n in range(3):
        folder = tmp_path / f"..v{n}"
        folder.mkdir()
        gate.write(lambda c, n=n: (c.update(config), say(f"v{n}")(c)), "x").rename(folder / "conf.yaml")
        os.symlink(folder.name, tmp_path / "..tmp")
        os.rename(tmp_path / "..tmp", tmp_path / "..data")
        if n == 0:
            os.symlink("..data/conf.yaml", tmp_path / "conf.yaml")
            gate.control.json(f"reload {tmp_path}/conf.yaml")
        eventually(lambda n=n: own(gate) == f"v{n}", f"answer v{n}")
