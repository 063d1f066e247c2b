"""`loomgate -c`: what the program tells of good and bad configurations, and its exit status."""

import pathlib
import re
import time

import pytest

import support

GOOD = """\
version: 1
frontends: {web: {bind: ["127.0.0.1:0"], default_backend: app}}
backends: {app: {servers: ["127.0.0.1:9001"]}}
"""
CONF = sorted((support.ROOT / "conf").glob("*.yaml"))
EXAMPLE = support.ROOT / "tests" / "unit" / "config" / "data" / "example.yaml"


def run(*args, env=None):
    return support.run_loomgate(*args, env=env)


def test_good(check):
    status, out, err = check(GOOD)
    assert (status, err) == (0, "")
    assert "valid" in out


@pytest.mark.parametrize("path", CONF, ids=[path.name for path in CONF])
def test_samples(path):
    status, _, err = run("-c", "-f", path)
    assert (status, err) == (0, "")


def test_example_of_the_design():
    status, _, err = run("-c", "-f", EXAMPLE)
    errors = [line for line in err.splitlines() if ": error: " in line]
    assert status == 1
    assert errors and all("not supported yet" in line for line in errors), err
    assert "warning" not in err and "more error" not in err


def test_place_caret_and_hint(check, tmp_path):
    status, out, err = check(GOOD.replace("default_backend: app", "default_backend: ap"))
    path = tmp_path / "check.yaml"
    line = 'frontends: {web: {bind: ["127.0.0.1:0"], default_backend: ap}}'
    column = line.index("ap}}") + 1
    assert (status, out) == (1, "")
    assert err.splitlines() == [
        f"{path}:2:{column}: error: 'default_backend': there is no backend 'ap'",
        line,
        " " * (column - 1) + "^",
        "  hint: did you mean 'app'? there are: app",
    ]


def test_all_in_one_run_up_to_twenty(check):
    keys = "".join(f"  key{number}: 1\n" for number in range(30))
    status, _, err = check(GOOD + "global:\n" + keys)
    places = [int(line) for line in re.findall(r":(\d+):3: error: unknown key", err)]
    assert status == 1
    assert places == list(range(5, 25))
    assert err.endswith("\n10 more errors\n")


def test_warnings_do_not_stop(check):
    status, _, err = check(GOOD, "-D", "frontends.web.max_connections=20000")
    assert status == 0
    assert "warning: 'max_connections' is larger here than in global" in err
    status, _, err = check(GOOD.replace("app: {", "idle: {servers: ['a:1']}, app: {"))
    assert status == 0
    assert "warning: nobody uses the backend 'idle'" in err


def test_define(check):
    assert check(GOOD, "-D", "global.workers=1", "-D", "frontends.web.bind.0=[::1]:0")[0] == 0
    status, _, err = check(GOOD, "-D", "global.workers=many")
    assert status == 1
    assert err.startswith("-D global.workers=many: error: 'workers': 'many' is not a whole number\n")


def test_environment(check):
    text = GOOD.replace("127.0.0.1:9001", "127.0.0.1:${LG_PORT}")
    assert check(text, env={"LG_PORT": "9001"})[0] == 0
    status, _, err = check(text, env={"LG_PORT": None})
    assert status == 1
    assert "error: the environment has no variable 'LG_PORT'" in err


def test_include(check, tmp_path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "b.yaml").write_text("backends: {other: {servers: ['127.0.0.1:1']}}\n")
    (tmp_path / "conf.d" / "a.yaml").write_text(
        "frontends: {second: {bind: ['127.0.0.1:0'], default_backend: other}}\n")
    assert check(GOOD + "include: conf.d/*.yaml\n")[::2] == (0, "")
    (tmp_path / "conf.d" / "c.yaml").write_text("backends: {app: {servers: ['127.0.0.1:1']}}\n")
    status, _, err = check(GOOD + "include: conf.d/*.yaml\n")
    assert status == 1
    first = f"{tmp_path}/check.yaml:3:12"
    assert f"{tmp_path}/conf.d/c.yaml:1:12: error: the backend 'app' is defined twice, first at {first}\n" in err


@pytest.mark.parametrize("name, text, told", [
    ("binary", bytes(range(256)) * 256, "error: "),
    ("10 MB", b"a: b\n" * 2_000_000, "error: the file cannot be read: it has more than 4 MiB"),
    ("10,000 deep", b"[" * 10_000 + b"]" * 10_000, "nested more than 64 deep"),
    ("10,000 deep maps", b"{a: " * 10_000, "nested more than 64 deep"),
    ("alias bomb", b"a: &a [x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 8)) for c in range(98, 110)), "more than 1 MiB"),
    ("tabs", b"version: 1\nglobal:\n\tworkers: 1\n", ":3:1: error: a tab where YAML allows only spaces"),
    ("duplicate keys", b"version: 1\nversion: 1\n", ":2:1: error: 'version' is given twice in this map, first at line 1"),
    ("wrong types", b"version: [1]\nglobal: []\ndefaults: x\nfrontends: [a]\nbackends: 7\n", "takes a map, not a list"),
    ("empty", b"", "the file is empty"),
    ("only a scalar", b"hello\n", "a configuration is a map of keys, not a scalar"),
    ("1 MB scalar", b"x" * 1_000_000, "a scalar of 1000000 bytes"),
    ("many keys", b"".join(b"k%d: 1\n" % n for n in range(300_000)), "more errors"),
], ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "")
def test_nonsense(check, name, text, told):
    start = time.monotonic()
    status, _, err = check(text)
    assert status == 1
    assert told in err
    assert len(err) < 64 * 1024
    assert time.monotonic() - start < 10  # a second of work, on a machine that may be busy with other tests


def test_no_such_file_and_folder(tmp_path):
    status, _, err = run("-c", "-f", tmp_path / "none.yaml")
    assert status == 1
    assert err == f"{tmp_path}/none.yaml: error: the file cannot be read: No such file or directory\n"
    status, _, err = run("-c", "-f", tmp_path)
    assert (status, err) == (1, f"{tmp_path}: error: the file cannot be read: it is a directory\n")


def test_harmless_on_a_terminal(check):
    status, _, err = check(b'version: 1\n"\\e]0;x\\a": \xc2\x9b1\n')
    assert status == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", err)


def test_reference_is_in_the_page():
    status, out, _ = run("--print-settings")
    page = (pathlib.Path(support.ROOT) / "doc" / "configuration.md").read_text()
    assert status == 0
    for row in out.splitlines():
        assert row in page
