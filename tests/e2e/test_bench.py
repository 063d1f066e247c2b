"""The tools of tests/bench: the load of constant rate against a slow server, the arithmetic of guard and reports."""

import collections
import json
import subprocess
import sys
import xml.etree.ElementTree

import pytest
from support import ORIGIN_BIN, ROOT, TIMEOUT, environment

sys.path.append(str(ROOT / "tests" / "bench"))

import bars  # noqa: E402  (after the path)
import budget  # noqa: E402
import counting  # noqa: E402
import flame  # noqa: E402
import pages  # noqa: E402
import plots  # noqa: E402
import tables  # noqa: E402

PACE = ORIGIN_BIN.with_name("pace")


def pace(address, path, *args):
    done = subprocess.run([PACE, *map(str, args), address, path], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=TIMEOUT * 3, env=environment())
    assert done.returncode == 0 and not done.stderr, done
    return json.loads(done.stdout)


# ---- pace ------------------------------------------------------------------------------------------------------------


def test_pace_counts_from_when_a_request_was_due(origin):
    """40 requests, one each 25 ms, to a server that takes 50 ms for each and has one connection: request k waits for k
    others. An origin's timer may be a millisecond early, so request k takes 49 + 24 k ms at least; a load that counted
    from when it could send would see 50 ms for all of them."""
    seen = pace(origin().address, "/delay/50/size/1k", "-c", 1, "-r", 40, "-s", 1)
    assert (seen["requests"], seen["failures"], seen["queued"]) == (40, 0, 39)
    for name, rank in [("p50_us", 20), ("p90_us", 36), ("p99_us", 40), ("p999_us", 40), ("max_us", 40)]:
        assert seen[name] >= (49 + 24 * (rank - 1)) * 1000, name
    assert seen["p50_us"] < seen["p90_us"] < seen["p99_us"] == seen["max_us"]


def test_pace_leaves_out_what_warms_up(origin):
    server = origin()
    seen = pace(server.address, "/size/10", "-c", 4, "-r", 50, "-s", 1, "-w", 1)
    assert (seen["requests"], seen["failures"]) == (50, 0)
    assert server.number("/count") == 101


@pytest.mark.parametrize("path", ["/status/503", "/cut/1000", "/reset", "/chunked/10"])
def test_pace_counts_failures(origin, path):
    seen = pace(origin().address, path, "-c", 2, "-r", 20, "-s", 1)
    assert (seen["requests"], seen["failures"], seen["p99_us"]) == (0, 20, 0)


def test_pace_reads_a_body_in_many_pieces(origin):
    seen = pace(origin().address, "/size/1m", "-c", 2, "-r", 10, "-s", 1)
    assert (seen["requests"], seen["failures"]) == (10, 0)


def test_pace_opens_again_what_the_server_closes(origin):
    server = origin()
    seen = pace(server.address, "/close-after", "-c", 1, "-r", 10, "-s", 1)
    assert seen["requests"] + seen["failures"] == 10
    assert server.connections()[0] >= 10


def test_pace_at_full_speed_uses_all_connections_in_turn(origin):
    server = origin()
    seen = pace(server.address, "/delay/10/size/10", "-c", 5, "-f", 2, "-s", 1)
    assert seen["failures"] == 0 and 0 < seen["requests"] <= 2 * (1000 / 9 + 1)
    assert server.connections()[0] == 5
    assert server.number("/count") == seen["requests"] + 2


def test_pace_tells_when_it_begins_to_count(origin):
    with subprocess.Popen([PACE, "-k", "-r", "20", origin().address, "/size/10"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True, env=environment()) as tool:
        assert tool.stdout.readline() == "counting\n"
        assert json.loads(tool.stdout.readline())["requests"] == 20
        assert tool.poll() is None
        tool.stdin.close()
        assert tool.wait(TIMEOUT) == 0


@pytest.mark.parametrize("args", [
    [], ["-c", "0", "127.0.0.1:1", "/"], ["-r", "x", "127.0.0.1:1", "/"], ["-s", "0", "127.0.0.1:1", "/"],
    ["nowhere", "/"],
])
def test_pace_tells_its_usage(args):
    done = subprocess.run([PACE, *args], capture_output=True, text=True, timeout=TIMEOUT, env=environment())
    assert done.returncode == 2 and done.stderr.startswith("usage: pace")


# ---- the guard -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value, wanted, is_over, is_under", [
    (1000, 1000, False, False), (1029, 1000, False, False), (1031, 1000, True, False),
    (971, 1000, False, False), (969, 1000, False, True), (0, 0, False, False), (1, 0, True, False),
    (0.005, 0, False, False), (6.17, 6, False, False), (6.5, 6, True, False), (5.5, 6, False, True),
])
def test_a_budget_may_be_three_percent_off(value, wanted, is_over, is_under):
    verdict = budget.judge("keepalive.syscalls", value, wanted)
    assert (verdict.is_over, verdict.is_under) == (is_over, is_under)


def test_a_verdict_says_by_how_much():
    def said(*figure):
        return budget.describe(budget.judge(*figure))[1:]

    assert said("a.instructions", 1100, 1000) == ["1100", "1000", "+10.0 %", "OVER"]
    assert said("a.instructions", 999.9, 1000) == ["1000", "1000", "+0.0 %", ""]
    assert said("a.mallocs", 0.5, 0) == ["0.50", "0.00", "+0.50", "OVER"]
    assert said("a.syscalls", 5, 6) == ["5.00", "6.00", "-16.7 %", "under: record it"]


def test_a_budget_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "budget"
    budget.write(path, {"a.instructions": 1234.4, "a.mallocs": -0.0001}, "cc 1.2 (x)")
    assert budget.read(path) == ({"a.instructions": 1234, "a.mallocs": 0}, "cc 1.2 (x)")
    assert budget.judge_all({"a.mallocs": 0, "b.mallocs": 0}, budget.read(path)[0])[1] == ["b.mallocs"]


@pytest.mark.parametrize("line", ["a.mallocs", "a.mallocs many", "a b c"])
def test_a_budget_with_a_bad_line_is_refused(tmp_path, line):
    path = tmp_path / "budget"
    path.write_text(f"# what\ncompiler cc\n{line}\n")
    with pytest.raises(ValueError, match=":3: no 'NAME VALUE': " + line):
        budget.read(path)


def test_the_budget_in_the_tree_has_all_figures():
    import steady

    figures, compiler = budget.read(ROOT / "tests" / "bench" / "budget")
    kinds = ["instructions", "mallocs", "syscalls", "epoll_ctl"]
    assert list(figures) == [f"{load.name}.{kind}" for load in steady.LOADS for kind in kinds]
    assert compiler


def test_start_and_end_of_a_run_fall_out():
    assert counting.per_request(5000 + 150 * 39, 5000 + 1350 * 39, 150, 1350) == 39


CALLGRIND = """\
version: 1
events: Ir
fl=(1) src/net/loop.c
fn=(1) loop_run
+3 10
cfn=(2) on_io
calls=7 20
+1 700
fn=(2)
20 30
* 5
cfi=(3)
cfn=(3) malloc
calls=2 0
21 200
-1 4
cfn=(4) calloc
calls=1 0
22 50
fn=(5) on_io'2
30 1
totals: 1000
"""


def test_a_profile_counts_own_cost_and_calls():
    profile = counting.Profile(CALLGRIND)
    assert profile.total == 1000
    assert profile.own == {"loop_run": 10, "on_io": 40}
    assert profile.calls == {"on_io": 7, "malloc": 2, "calloc": 1}
    assert profile.allocations() == 3


def test_system_calls_are_counted_without_waits_that_time_out():
    calls = counting.count_calls("""\
epoll_wait(5, [{events=EPOLLIN, data={u32=9, u64=9}}], 64, 990) = 1
recvfrom(9, "GET / HTTP/1.1\\r\\n) = 0"..., 16384, 0, NULL, NULL) = 42
recvfrom(9, 0x1, 16384, 0, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable)
epoll_wait(5, [], 64, 990)              = 0
epoll_ctl(5, EPOLL_CTL_ADD, 9, {events=EPOLLIN}) = 0
+++ exited with 0 +++
""")
    assert calls == {"epoll_wait": 1, "recvfrom": 2, "epoll_ctl": 1}


# ---- reports ---------------------------------------------------------------------------------------------------------

STACKS = """\
worker-0   42
\tffffffff81 tcp_sendmsg ([kernel.kallsyms])
\tffffffff82 __sys_sendmsg ([kernel.kallsyms])
\t    10ac4d __libc_sendmsg+0x10 (/usr/lib/libc.so.6)
\t     2d8eb conn_push.part.0 (/x/loomgate)
\t        20 [unknown] ([unknown])

worker-0   42
\t     2d8ec slice_eq (inlined)
\t     2d8eb conn_push (/x/loomgate)

"""


def test_stacks_are_folded_from_the_outermost_on():
    folded = flame.with_areas(flame.fold(STACKS), {"conn_push": "net", "slice_eq": "base"})
    assert folded == {
        (("conn_push", "net"), ("__libc_sendmsg", "libraries"), ("__sys_sendmsg", "kernel"),
         ("tcp_sendmsg", "kernel")): 1,
        (("conn_push", "net"), ("slice_eq", "base")): 1,
    }
    assert sorted(flame.places(folded)) == [("kernel: sendmsg", 0.5), ("user: base", 0.5)]


def test_the_sources_say_to_which_area_a_function_belongs():
    found = flame.areas(ROOT)
    assert (found["conn_push"], found["exchange_start"], found["worker_main"]) == ("net", "proxy", "runtime")


def shapes(path):
    """{title: element} of an SVG, which must be well-formed."""
    root = xml.etree.ElementTree.parse(path).getroot()
    titled = [one for one in root.iter() if one.find("{*}title") is not None and one is not root]
    return {one.find("{*}title").text: one for one in titled}


def test_a_flame_graph_has_a_box_by_the_share_of_each_function(tmp_path):
    folded = {(("main", "runtime"), ("a<b", "net")): 30, (("main", "runtime"), ("c", "http")): 10}
    flame.draw(collections.Counter(folded), "what & where", "").write(tmp_path / "f.svg")
    boxes = {title.split(" ")[0]: float(one.get("width")) for title, one in shapes(tmp_path / "f.svg").items()}
    assert boxes["main"] == pytest.approx(boxes["all"])
    assert boxes["a<b"] == pytest.approx(boxes["all"] * 3 / 4, abs=1)
    assert boxes["c"] == pytest.approx(boxes["all"] / 4, abs=1)


def test_plots_are_drawn_to_scale(tmp_path):
    plots.bar_panels("t", "s", [("p", {"loomgate": 10.0, "relay": 5.0})]).write(tmp_path / "a.svg")
    widths = [float(one.get("width")) for one in shapes(tmp_path / "a.svg").values()]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    plots.line_panels("t", "s", [("p", {"loomgate": [(1, 50.0), (64, 12.0)]})], "us").write(tmp_path / "b.svg")
    first, second = (float(one.get("cy")) for one in shapes(tmp_path / "b.svg").values())
    assert first < second
    plots.stacked_bars("t", "s", [("p", {"x": 100, "y": 300})], "bytes").write(tmp_path / "c.svg")
    widths = [float(one.get("width")) for one in shapes(tmp_path / "c.svg").values()]
    assert widths[1] == pytest.approx(3 * widths[0], abs=0.5)


def test_a_part_of_a_page_is_replaced_between_its_marks():
    text = "a\n<!-- bench: begin x -->\nold\n<!-- bench: end -->\nb\n<!-- bench: begin y -->\n<!-- bench: end -->\n"
    filled = pages.fill(text, {"x": "new\n\n"})
    assert filled == text.replace("old", "new")
    assert pages.names(text) == ["x", "y"]
    assert pages.fill(filled, {"x": "old"}) == text


def samples(**cpu):
    return {"samples": {name: [{"cpu_us": value} for value in values] for name, values in cpu.items()}}


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    of = samples(loomgate=[10, 30, 11], relay=[10, 20, 10])["samples"]
    assert tables.ratio(of, "loomgate", "relay") == pytest.approx(1.1)
    assert tables.ratio(of, "loomgate", "nginx") is None


def test_bars_are_judged_by_the_data_of_their_rows():
    run = {
        "keepalive": samples(loomgate=[11.4], relay=[10]),
        "close": samples(loomgate=[17], haproxy=[21], nginx=[19]),
        "64k": samples(loomgate=[17]),
        "idle": {"figures": {"loomgate": {"pss_kib": 0.25}}},
        "busy": {"samples": {"loomgate": [{"stalled_kib": 21.0, "bodies_kib": 5.0}]}},
        "workers": samples(**{"one worker": [10], "two workers": [10.5]}),
    }
    found = {bar.row: (round(figure, 3) if figure else None, met) for bar, figure, met in bars.judge(run)}
    assert found == {"keepalive": (1.14, True), "close": (0.895, False), "64k": (None, None), "idle": (256, True),
                     "busy": (21, False), "workers": (1.905, True)}
    assert "| busy client and server | 21.0 KiB | 20 KiB | **no** |" in bars.show(run)
