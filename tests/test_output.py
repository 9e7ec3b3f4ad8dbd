"""JSON lines as the contract has them; plain output that nothing from the network controls."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import text as text_module
from output import JOURNAL_SIGNS, LAST_S, Clock, JsonOutput, PlainOutput
from tests.shown import (
    ALICE,
    BOB,
    CAROL,
    TIME_MS,
    Plain,
    has_controls,
    nasty,
    post,
    utc,
)
from text import Names, label


def events(writes: list[str]) -> Iterator[object]:
    return (json.loads(line) for line in "".join(writes).splitlines())


def test_json_lines_are_the_contracts_objects_in_the_contracts_order() -> None:
    writes: list[str] = []
    output = JsonOutput(writes.append)
    output.ready(ALICE, "me", "127.0.0.1:5000", "open")
    output.link("up", BOB, "bob", "127.0.0.1:6000")
    output.link("down", BOB, "bob", "127.0.0.1:6000", "timed out")
    output.link("down", BOB, "bob", "127.0.0.1:6000")
    output.message(post("hi"))
    output.confirmed("r1", [BOB, CAROL])
    output.notice("n")
    output.warning("w")
    output.error("e")
    output.info(["one", "two"])
    output.figure(["█"], "instead")
    output.bye("")
    assert writes == []
    output.flush()
    output.flush()
    assert len(writes) == 1
    assert writes[0].splitlines() == [
        f'{{"event":"ready","id":"{ALICE}","name":"me","address":"127.0.0.1:5000","room":"open"}}',
        f'{{"event":"link","state":"up","id":"{BOB}","name":"bob","address":"127.0.0.1:6000"}}',
        f'{{"event":"link","state":"down","id":"{BOB}","name":"bob","address":"127.0.0.1:6000",'
        '"reason":"timed out"}',
        f'{{"event":"link","state":"down","id":"{BOB}","name":"bob","address":"127.0.0.1:6000",'
        '"reason":""}',
        f'{{"event":"message","ref":"r1","id":"{BOB}","name":"bob",'
        '"time":"2026-11-22T08:43:00.123Z","text":"hi","history":false,"own":false,'
        '"private":false}',
        f'{{"event":"confirmed","ref":"r1","by":["{BOB}","{CAROL}"]}}',
        '{"event":"notice","text":"n"}',
        '{"event":"notice","text":"w","loud":true}',
        '{"event":"error","text":"e"}',
        '{"event":"notice","text":"one\\ntwo"}',
        '{"event":"bye","reason":""}',
    ]


@given(nasty, nasty)
def test_json_carries_every_text_and_name_exactly_and_escaped(text: str, name: str) -> None:
    writes: list[str] = []
    output = JsonOutput(writes.append)
    output.message(post(text, name))
    output.flush()
    assert writes[0].isascii()
    assert not has_controls(writes[0], allowed="\n")
    assert writes[0].count("\n") == 1
    [event] = events(writes)
    assert isinstance(event, dict)
    # JSON has no way to tell a pair of lone surrogates from the character they make.
    joined = [value.encode("utf-16", "surrogatepass") for value in (text, name)]
    read = [event[key].encode("utf-16", "surrogatepass") for key in ("text", "name")]
    assert read == joined


@pytest.mark.parametrize(
    ("time_ms", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1970-01-01T00:00:00.000Z"),
        (-(2**63), "1970-01-01T00:00:00.000Z"),
        (2**63 - 1, "9999-12-31T23:59:59.999Z"),
        (2**64, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_json_clamps_an_absurd_time(time_ms: int, shown: str) -> None:
    writes: list[str] = []
    output = JsonOutput(writes.append)
    output.message(post(time_ms=time_ms))
    output.flush()
    assert f'"time":"{shown}"' in writes[0]


def test_plain_posts_go_to_stdout_in_one_write_and_all_else_to_stderr() -> None:
    plain = Plain()
    plain.output.ready(ALICE, "me", "127.0.0.1:5000", "open")
    plain.output.link("up", BOB, "bob", "127.0.0.1:6000")
    plain.output.message(post("one"))
    plain.output.message(post("two\nthree", time_ms=TIME_MS + 1000))
    plain.output.message(post("mine", "me", ALICE, own=True))
    plain.output.confirmed("r1", [BOB])
    plain.output.link("down", BOB, "bob", "127.0.0.1:6000", "gone")
    plain.output.link("down", BOB, "bob", "127.0.0.1:6000")
    plain.output.notice("a\nb")
    plain.output.warning("an\nother key")
    plain.output.error("port in use")
    plain.output.info(["one  1", "two  2"])
    plain.output.figure(["█"], "instead")
    plain.output.bye("")
    plain.output.bye("stopped")
    assert plain.writes == plain.error_writes == []
    plain.output.flush()
    plain.output.flush()
    assert plain.writes == ["08:43:00 bob: one\n08:43:01 bob: two\n    three\n08:43:00 me: mine\n"]
    assert plain.error_writes == [
        "selchat: listening on 127.0.0.1:5000 as me (id a1a1a1a1)\n"
        "selchat: bob joined (127.0.0.1:6000)\n"
        "selchat: bob left: gone\n"
        "selchat: bob left\n"
        "selchat: a␊b\n"
        "selchat: WARNING: an␊other key\n"
        "selchat: port in use\n"
        "one  1\n"
        "two  2\n"
        "selchat: stopped\n"
    ]


def test_the_journal_is_told_how_urgent_each_line_is_and_by_nobody_else() -> None:
    written: list[str] = []
    output = PlainOutput(written.append, written.append, utc, Names(), JOURNAL_SIGNS)
    output.ready(ALICE, "me", "127.0.0.1:5000", "open")
    output.error("the disk is full\n<0>no")
    output.warning("<0>another key")
    output.info(["<0>one", "two"])
    output.link("up", BOB, "<0>bob", "127.0.0.1:6000")
    output.message(post("hi\n<0>no"))
    output.flush()
    assert written == [
        "08:43:00 bob: hi\n    <0>no\n",
        "<6>listening on 127.0.0.1:5000 as me (id a1a1a1a1)\n"
        "<3>the disk is full␊<0>no\n"
        "<4><0>another key\n"
        "<6><0>one\n"
        "<6>two\n"
        "<6><0>bob joined (127.0.0.1:6000)\n",
    ]


@given(nasty, nasty, st.integers(-(2**63), 2**64))
def test_no_byte_from_the_network_controls_a_plain_terminal(
    text: str, name: str, time_ms: int
) -> None:
    plain = Plain()
    plain.output.message(post(text, name, time_ms=time_ms))
    plain.output.notice(text)
    plain.output.link("down", CAROL, name, text, text)
    plain.output.info([text])
    shown = plain.stdout()
    assert not has_controls(shown + plain.stderr(), allowed="\n")
    assert plain.stderr().count("\n") == 3
    first, *rest = shown[:-1].split("\n")
    assert re.match(r"\d\d:\d\d:\d\d .*: ", first)
    assert len(rest) == text.count("\n")
    assert all(line.startswith("    ") for line in rest)


@pytest.mark.parametrize("name", ["bob", "bob ", "bob\u2800", "\uff42\uff4f\uff42"])
def test_two_members_whose_names_look_the_same_are_told_apart(name: str) -> None:
    plain = Plain()
    plain.output.message(post("one", "bob", BOB))
    plain.output.message(post("two", name, CAROL))
    plain.output.message(post("three", "bob", BOB))
    assert plain.stdout().splitlines() == [
        "08:43:00 bob: one",
        f"08:43:00 {label(name, CAROL, 4)}: two",
        "08:43:00 bob~b2b2: three",
    ]


def test_one_member_seen_often_does_not_clash_with_itself() -> None:
    plain = Plain()
    plain.output.link("up", BOB, "bob", "127.0.0.1:6000")
    plain.output.message(post("one"))
    plain.output.message(post("two"))
    assert plain.stdout() == "08:43:00 bob: one\n08:43:00 bob: two\n"


def test_what_is_remembered_of_names_is_bounded() -> None:
    names = text_module.Names()
    for number in range(3 * text_module.NAMES):
        names.label_of(f"{number:5}" * 10_000, f"{number:064x}")
    assert len(names._alike) <= 2 * text_module.NAMES
    assert len(names._labels) <= text_module.NAMES
    assert all(len(name) <= text_module.NAME_CHARACTERS for name, _ in names._labels)


HEADERS = ("name", "n")


def test_a_table_has_its_columns_below_one_another_by_cells() -> None:
    plain = Plain()
    plain.output.table(HEADERS, [("bob", "1"), ("世界世", ""), ("a\x1b[31m\nb", "22")])
    plain.output.table(HEADERS, [])
    assert plain.stdout() == ""
    assert plain.stderr() == (
        "name      n\nbob       1\n世界世\na␛[31m␊b  22\nname  n\n"  # ends of rows are bare
    )


@given(st.lists(st.tuples(nasty, nasty)))
def test_no_cell_of_a_table_controls_a_terminal_or_makes_a_row_of_its_own(
    rows: list[tuple[str, ...]],
) -> None:
    plain = Plain()
    plain.output.table(HEADERS, rows)
    shown = plain.stderr()
    assert not has_controls(shown, allowed="\n")
    assert shown.count("\n") == 1 + len(rows)


def test_in_json_a_table_and_a_new_name_are_notices() -> None:
    writes: list[str] = []
    output = JsonOutput(writes.append)
    output.table(HEADERS, [("bob", "1")])
    output.renamed(ALICE, "rob")
    output.flush()
    assert list(events(writes)) == [
        {"event": "notice", "text": "name  n\nbob   1"},
        {"event": "notice", "text": "you are called rob now"},
    ]


def test_a_new_name_is_said_with_the_id_where_somebody_is_called_so() -> None:
    plain = Plain()
    plain.output.link("up", BOB, "bob", "127.0.0.1:6000")
    plain.output.renamed(ALICE, "bob")
    assert plain.stderr().splitlines()[1] == "selchat: you are called bob~a1a1 now"


def test_a_time_out_of_reach_is_shown_as_the_same_whatever_was_shown_before() -> None:
    clock = Clock(lambda second: datetime.fromtimestamp(second, UTC), "%H:%M:%S", 0)
    beyond = LAST_S + 60  # as many seconds in its minute as the last that can be shown
    assert [clock.text(second) for second in (beyond, beyond - 9)] == ["23:59:59", "23:59:59"]
