"""The command line."""

import os
import re
import subprocess

import pytest
from support import LOOMGATE_BIN, TIMEOUT, environment, run_loomgate, web_config, write_config

GOOD = web_config("127.0.0.1:1")


def run(*args, folder=None):
    return run_loomgate(*args, folder=folder)


def test_check_of_a_good_file(tmp_path):
    path = write_config(GOOD, tmp_path)
    status, out, err = run("-c", "-f", path)
    assert status == 0 and str(path) in out + err and "error" not in err


def test_check_binds_nothing(loomgate, tmp_path, origin):
    """Also while the very same file is in use, also for addresses that are not ours and logs that cannot be opened."""
    gate = loomgate(web_config(origin()))
    config = web_config("127.0.0.1:1", frontend={"bind": [gate.web, f"unix:{tmp_path}/s"]})
    assert run("-c", "-f", write_config(config, tmp_path))[0] == 0
    assert not (tmp_path / "s").exists() and gate.fetch("/").status == 200


def test_check_of_a_bad_file(tmp_path):
    path = write_config("version: 1\nglobal:\n  wokers: 1\n  max_connections: -1\nfrontends: {}\n", tmp_path)
    status, out, err = run("-c", "-f", path)
    assert status == 1 and not out
    places = re.findall(rf"^{re.escape(str(path))}:([0-9]+):[0-9]+: error: ", err, re.M)
    assert {"3", "4"} <= set(places) and "workers" in err and "^" in err


def test_start_of_a_bad_file(tmp_path):
    path = write_config("version: 1\nglobal:\n  wokers: 1\n", tmp_path)
    status, out, err = run("-f", path)
    assert status == 1 and not out and f"{path}:3:3: error: " in err


def test_warnings_do_not_stop(loomgate, origin, tmp_path):
    config = web_config(origin(), backends={"unused": {"servers": ["127.0.0.1:1"]}})
    status, _, err = run("-c", "-f", write_config(config, tmp_path, "warned.yaml"))
    assert status == 0 and "warning:" in err and "unused" in err
    assert loomgate(config).fetch("/").status == 200


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option):
    status, out, err = run(option)
    assert status == 0 and not err
    assert re.match(r"loomgate [0-9]+\.[0-9]+\.[0-9]+", out)
    for library in ("libev", "libyaml", "llhttp", "pcre2"):
        assert re.search(library + r" [0-9]+\.[0-9]+", out), library


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(option):
    status, out, err = run(option)
    assert status == 0 and not err and out.startswith("usage: loomgate")
    for word in ("-f FILE", "-c", "--plan", "-V", "-h", "-D KEY=VALUE", "--pid FILE", "SIGTERM"):
        assert word in out, word


@pytest.mark.parametrize(
    "args, said",
    [(["-x"], "-x"), (["--frob"], "--frob"), (["-f"], "-f"), (["-D"], "-D"),
     (["-D", "no-equals-sign"], "no-equals-sign"), (["-D", "=1"], "=1"),
     (["extra"], "extra"), (["--plan"], "--plan goes with -c"), (["-c", "file.yaml"], "file.yaml"), (["--pid"], "--pid")],
)
def test_wrong_usage(args, said):
    status, out, err = run(*args)
    assert status == 2 and not out and said in err and "usage: loomgate" in err


def test_no_file_at_all(tmp_path):
    if os.path.exists("/etc/loomgate/loomgate.yaml"):
        pytest.skip("this system has a configuration of its own")
    status, out, err = run(folder=tmp_path)
    assert status == 2 and not out and "conf/loomgate.yaml" in err and "/etc/loomgate/loomgate.yaml" in err


def test_file_by_default(tmp_path):
    (tmp_path / "conf").mkdir()
    write_config(GOOD, tmp_path / "conf", "loomgate.yaml")
    assert run("-c", folder=tmp_path)[0] == 0


@pytest.mark.parametrize("kind", ["missing", "folder", "unreadable", "empty", "binary", "zeros"])
def test_files_that_are_none(tmp_path, kind):
    path = tmp_path / "thing.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "unreadable":
        if os.geteuid() == 0:
            path.symlink_to("/proc/self/mem")  # root may read all other files
        else:
            path.write_text("version: 1\n")
            path.chmod(0)
    elif kind != "missing":
        path.write_bytes({"empty": b"", "binary": bytes(range(256)) * 10, "zeros": bytes(5000)}[kind])
    for args in (["-c"], []):
        status, out, err = run(*args, "-f", path)
        assert status == 1 and not out and str(path) in err and "error" in err, err


def test_endless_file_is_refused(tmp_path):
    """A device or pipe that never ends must not fill the memory."""
    done = subprocess.run([LOOMGATE_BIN, "-c", "-f", "/dev/zero"], capture_output=True, text=True, timeout=TIMEOUT,
                          env=environment())
    assert done.returncode == 1 and "/dev/zero" in done.stderr


def test_override_wins_over_the_file(tmp_path):
    path = write_config({**GOOD, "global": {"workers": "nonsense"}}, tmp_path)
    assert run("-c", "-f", path)[0] == 1
    assert run("-c", "-f", path, "-D", "global.workers=3")[0] == 0
    assert run("-c", "-f", path, "-D", "global.workers=3", "-D", "global.workers=x")[0] == 1
