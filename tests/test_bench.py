"""The benchmarks: figures, table, plot and promises exactly; and that real programs are measured
for what they do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import __main__ as command
from bench import plot, promises, report, rivals
from bench.contestants import OURS, from_json, from_plain
from bench.crowd import LINE_BYTES, Contestant, Crowd, Flow, Output, lines_of, start_all
from bench.figures import Figure

OURSELVES = {contestant.who: contestant for contestant in OURS}


def figure(who: str, *values: float, measure: str = "a", what: str = "1 to 8") -> Figure:
    return Figure(measure, what, who, "lines/s", values)


# ---------------------------------------------------------------- figures


def test_a_figure_is_the_median_and_its_spread_is_a_share_of_it() -> None:
    assert figure("selchat", 1.0, 40.0, 2.0).median == 2.0
    assert figure("selchat", 9.0, 10.0, 12.0).spread == pytest.approx(0.3)
    assert figure("selchat", 0.0, 0.0).spread == 0.0


@pytest.mark.parametrize(
    ("value", "told"),
    [(4_812_345, "4.81M"), (152_400, "152k"), (999_999, "1M"), (9_970, "9970"), (0.1834, "0.183"),
     (0, "0"), (10_000, "10k")],
)  # fmt: skip
def test_a_number_has_three_digits(value: float, told: str) -> None:
    assert report.readable(value) == told


# ---------------------------------------------------------------- the table and the JSON


def test_the_table_has_a_row_for_each_who_was_measured_with_ratios_to_the_first() -> None:
    figures = [
        figure("selchat", 100.0, 110.0, 120.0),
        figure("bare mesh", 220.0),
        figure("selchat", 50.0, what="1 to 32"),
    ]
    assert list(report.table(figures, {})) == [
        "",
        "(a) lines delivered a second, by one that is fed as fast as it takes them",
        "             1 to 8, lines/s  1 to 32, lines/s",
        "  selchat            110 ±9%                50",
        "  bare mesh         220 (2x)                 -",
    ]


def test_the_table_has_things_in_rows_where_there_are_more_of_them() -> None:
    figures = [figure("selchat", 1.0, what=str(n)) for n in range(3)]
    assert list(report.table(figures, {}))[2:] == [
        "              selchat",
        "  0, lines/s        1",
        "  1, lines/s        1",
        "  2, lines/s        1",
    ]


def test_a_measure_may_have_a_table_of_its_own() -> None:
    def own(figures: Iterator[Figure]) -> Iterator[str]:
        yield from (figure.who for figure in figures)

    figures = [figure("selchat", 1.0), figure("selchat", 1.0, measure="b")]
    assert list(report.table(figures, {"a": own}))[2] == "  selchat"


def test_all_values_are_in_the_json() -> None:
    figures = [figure("selchat", 3.0, 1.0, 2.0)]
    verdicts = list(promises.judged([*figures, figure("pyzmq PUB/SUB", 1.0)]))
    kept = json.loads(report.as_json(figures, verdicts, {"selchat": "1"}, ["x"], fast=True))
    assert kept["figures"][0]["values"] == [3.0, 1.0, 2.0]
    assert kept["figures"][0]["median"] == 2.0
    assert kept["promises"][0]["kept"] is True
    assert kept["failures"] == ["x"]
    assert kept["machine"]["cores"] >= 1


# ---------------------------------------------------------------- the promises


def told(*figures: Figure) -> list[str]:
    return [promises.line_of(verdict) for verdict in promises.judged(figures)]


def test_a_promise_is_judged_by_the_ratio_of_the_medians() -> None:
    bare, rival = figure("bare mesh, TLS", 100.0), figure("pyzmq PUB/SUB", 29.0)
    assert told(figure("selchat", 30.0), bare, rival) == [
        "kept     (a) 1 to 8, beside pyzmq PUB/SUB: 1.034 times (promised: more than 1)",
        "kept     (a) 1 to 8, beside the bare mesh: 0.3 times (promised: at least 0.3)",
    ]
    assert told(figure("selchat", 29.0), bare, rival) == [
        "NOT KEPT (a) 1 to 8, beside pyzmq PUB/SUB: 1 times (promised: more than 1)",
        "NOT KEPT (a) 1 to 8, beside the bare mesh: 0.29 times (promised: at least 0.3)",
    ]


def test_of_what_was_not_measured_nothing_is_said() -> None:
    assert told() == []
    assert told(figure("selchat", 30.0)) == []


@pytest.mark.parametrize("promise", promises.PROMISES, ids=lambda promise: str(promise.text))
def test_each_promise_can_be_kept_and_broken(promise: promises.Promise) -> None:
    what = promise.what.replace(r"\d+", "9").replace("[0-9,]+", "9").replace(".*", "x")
    measured = {
        at: [
            Figure(promise.measure, what, promise.who, "", (promise.limit * at or at - 1,)),
            Figure(promise.measure, what, promise.beside, "", (1.0,)),
        ]
        for at in (0.5, 1.0, 1.5)
    }
    kept = [next(promises.judged(figures)).kept for figures in measured.values()]
    assert kept[0] != kept[2]


def test_the_largest_size_that_was_measured_is_what_counts() -> None:
    small = Figure("e", "1,000 posts, durable", "selchat", "posts/s", (2e5,))
    large = Figure("e", "10,000 posts, durable", "selchat", "posts/s", (9e4,))
    (line,) = told(small, large)
    assert line.startswith("NOT KEPT (e) catch-up: 9e+04")


def test_selchat_is_to_be_ahead_of_its_closest_rival_in_every_row() -> None:
    assert told(
        figure("selchat", 2.0),
        figure("lichen-chat", 1.0),
        figure("selchat", 2.0, measure="b", what="p50"),
        figure("lichen-chat", 1.0, measure="b", what="p50"),
    ) == [
        "kept     (a) 1 to 8, beside lichen-chat: 2 times (promised: more than 1)",
        "NOT KEPT (b) p50, beside lichen-chat: 2 times (promised: less than 1)",
    ]


# ---------------------------------------------------------------- the plot


def test_the_plot_is_well_formed_and_shows_each_who_was_measured() -> None:
    figures = [
        figure("selchat", 1e5, 2e5),
        figure("<rival>", 5e6),
        figure("selchat", 900.0, measure="b", what="p50"),
        figure("selchat", 1700.0, measure="b", what="p99"),
        figure("silent", 0.0),
    ]
    rows = [plot.Row(who, "1 & 2", "ours") for who in ("selchat", "<rival>", "silent")]
    tree = ElementTree.fromstring(plot.svg(rows, plot.panels_of(figures), ["here & now"]))
    texts = [element.text for element in tree.iter() if element.tag.endswith("text")]
    assert {"selchat", "<rival>", "1 & 2", "here & now", "150k", "5M", "900"} <= set(texts)
    assert "silent" not in texts
    assert len([element for element in tree.iter() if element.tag.endswith("circle")]) == 3


def test_a_plot_of_nothing_is_well_formed() -> None:
    ElementTree.fromstring(plot.svg([], plot.panels_of([]), []))


# ---------------------------------------------------------------- lines, and who lost some


def test_lines_have_their_numbers_and_no_two_are_alike() -> None:
    lines = lines_of(41, 3000)
    assert {len(line) for line in lines} == {LINE_BYTES}
    assert [int(line[:8]) for line in lines] == list(range(41, 3041))
    assert len({line[8:] for line in lines}) > 100
    assert all(line == line.strip() + b"\n" for line in lines)


def test_plain_lines_lose_their_times_and_names_over_midnight_too() -> None:
    shown = b"23:59:59 sender: one\n00:00:01 sender: two\n"
    assert from_plain(shown) == b"one\ntwo\n"
    assert from_plain(b"") == b""
    assert from_plain(b"cut") == b"cut"


def test_json_lines_are_their_texts() -> None:
    assert from_json(b'{"event":"ready"}\n{"text":"one","own":false}\n') == b"one\n"


def test_what_is_lost_doubled_or_out_of_order_is_found() -> None:
    lines = lines_of(10_000_000, 3)
    shown = {
        "all": b"".join(lines),
        "lost": lines[0] + lines[2],
        "doubled": lines[0] + lines[0] + lines[1] + lines[2],
        "in another order": lines[1] + lines[0] + lines[2],
    }
    crowd = Crowd("a test")
    try:
        reader, crowd.feed = os.pipe()
        for text in shown.values():
            end, start = os.pipe()
            os.write(start, text)
            crowd.outputs.append(Output(end))
            os.close(start)
        flow = Flow(crowd, lines).run()
        assert flow.judge() == [3, 2, 3, 3]
        assert flow.flawed == crowd.outputs[1:]
        os.close(reader)
    finally:
        crowd.close()


@pytest.mark.parametrize("who", ["selchat", "bare mesh", "bare mesh, TLS", "bare mesh, TLS, disk"])
def test_a_real_one_delivers_all_lines(who: str) -> None:
    with ExitStack() as stack:
        failures: list[str] = []
        (crowd,) = start_all([OURSELVES[who]], 1, failures, stack)
        flow = Flow(crowd, crowd.next_lines(500)).run()
        assert flow.judge() == [500]
        assert flow.flawed == [] == failures
        assert flow.cpu_s > 0


def test_who_does_not_start_is_a_failure_and_leaves_nothing_behind() -> None:
    started: list[Crowd] = []

    def start(crowd: Crowd, receivers: int) -> None:
        started.append(crowd)
        crowd.start(sys.executable, "-c", "print('me'); input()")
        crowd.read_from(crowd.start(sys.executable, "-c", "raise SystemExit('no room')"))
        crowd.feed_to(crowd.processes[0])

    failures: list[str] = []
    with ExitStack() as stack:
        assert start_all([Contestant("x", start, "", str)], 1, failures, stack) == []
    (failure,) = failures
    assert failure.startswith("x: 1 of 1 hear nothing") and "no room" in failure
    assert not started[0].folder.exists()
    assert all(process.returncode is not None for process in started[0].processes)


# ---------------------------------------------------------------- the command


def test_each_measure_has_a_scenario_and_a_title() -> None:
    assert set().union(*(letters for letters, _ in command.SCENARIOS)) == set(report.TITLES)


def test_what_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is left out, and nothing is tried to be started."""
    monkeypatch.setattr(rivals, "PYTHON", Path("nowhere"))
    monkeypatch.setattr(rivals, "program", lambda name: "")
    for cached in (rivals.package_version, rivals.program_version):
        monkeypatch.setattr(rivals, cached.__name__, cached.__wrapped__)
    assert {rival.version() for rival in rivals.RIVALS} == {""}
