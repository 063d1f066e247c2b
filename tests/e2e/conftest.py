"""Fixtures of the end-to-end tests. Everything started here ends with the test, and ends well or fails it."""

import os
import pathlib
import resource
import shutil
import socket
import sys

import pytest

sys.dont_write_bytecode = True
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # for pytest-xdist's workers

import support  # noqa: E402  (after the bytecode switch)

support.adopt_orphans()  # of upgrades
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_hard, _hard))


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):  # pytest compiles this file before the switch above
        shutil.rmtree(pathlib.Path(__file__).parent / "__pycache__", ignore_errors=True)


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.has_failed = report.failed


@pytest.fixture
def origin():
    """Factory: origin("-n", "a1", ...) starts contrib/origin; .address, .fetch(path), .stop()."""
    started = []

    def start(*args, **options):
        started.append(support.Origin.start(*args, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def loomgate(request, tmp_path):
    """Factory: loomgate(config) starts the proxy on YAML text or a dict (see support.web_config) and waits until it is
    ready. At the test's end it is stopped by SIGTERM, and must exit with 0 and a clean log."""
    if not support.LOOMGATE_BIN.exists():
        pytest.fail(f"{support.LOOMGATE_BIN} is not there: build it first")
    started = []

    def start(config, **options):
        options.setdefault("name", f"loomgate-{len(started)}.yaml")
        started.append(support.Loomgate(config, tmp_path, **options))
        return started[-1]

    yield start
    try:
        for one in started:
            one.stop()
    finally:
        for one in started:
            if one.process.poll() is None or not one.log.ended:
                one.kill()
    if getattr(request.node, "has_failed", False):
        for one in started:
            print(f"--- log of {one.path.name}:", *one.log.raw[-100:], sep="\n")


@pytest.fixture
def check(tmp_path):
    """check(text_or_dict, *args) runs `loomgate -c`: (status, stdout, stderr)."""

    def run(config, *args, env=None, name="check.yaml"):
        path = support.write_config(config, tmp_path, name)
        return support.run_loomgate("-c", "-f", path, *args, env=env, folder=tmp_path)

    return run


@pytest.fixture
def fake_server():
    """Factory: fake_server(script) or fake_server(b"bytes", close=...) starts a support.FakeServer."""
    started = []

    def start(script, **options):
        one = (support.FakeServer.answering if isinstance(script, bytes) else support.FakeServer)(script, **options)
        started.append(one)
        return one

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def unreachable():
    """An address that answers no SYN: a listener whose queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    while True:
        filler = socket.socket()
        fillers.append(filler)
        filler.settimeout(0.2)
        try:
            filler.connect(listener.getsockname())
        except TimeoutError:
            break
    yield "%s:%d" % listener.getsockname()
    for one in [*fillers, listener]:
        one.close()


def pytest_collection_modifyitems(items):
    """pytest puts a test's name into the environment of what the test starts: a huge one makes exec(2) fail."""
    too_long = [item.nodeid[:80] for item in items if len(item.nodeid) > 10_000]
    assert not too_long, f"give these parameters ids: {too_long}"
