"""Who was first known under a name: of others who take it one is told, and no flood hides them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acquaintances import (
    MAX_FILE_BYTES,
    MAX_KNOWN,
    MAX_NAMES_OF_ONE,
    MAX_TOLD,
    MAX_VERIFIED,
    WARNINGS,
    WARNINGS_S,
    Acquaintances,
)

OWN, BOB, EVE, ANN = "0" * 64, "b2" * 32, "e5" * 32, "a1" * 32
DAY = "2026-11-22"


def id_of(number: int) -> str:
    return f"{number + 1:064x}"[::-1]  # their first digits differ


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "members.json"


@pytest.fixture
def known(path: Path) -> Acquaintances:
    """Of one who is called me, and has met bob."""
    known = Acquaintances(path, OWN)
    assert met(known, OWN, "me") == met(known, BOB, "bob") == ""
    return known


def met(known: Acquaintances, id: str, name: str, now: float = 0.0) -> str:
    return known.meet(id, name, DAY, now)


def again(known: Acquaintances, path: Path) -> Acquaintances:
    """After a restart."""
    known.save()
    other = Acquaintances(path, OWN)
    assert other.load() == []
    return other


# ---------------------------------------------------------------- another key


def test_another_key_under_a_known_name_is_told_of_once_and_after_a_restart_not_again(
    known: Acquaintances, path: Path
) -> None:
    assert met(known, EVE, "bob") == (
        "ANOTHER KEY: somebody else calls themselves bob (id e5e5e5e5), not the bob known here "
        "since 2026-11-22 (id b2b2b2b2); /verify tells who is who"
    )
    for _ in range(2):
        assert met(known, EVE, "bob") == met(known, BOB, "bob") == ""
        known = again(known, path)
    assert "ANOTHER KEY" in met(known, ANN, "bob")


@pytest.mark.parametrize("name", ["Bob", "bоb", "bób", "b0b", "ʙᴏʙ"])
def test_so_is_a_name_that_looks_alike(known: Acquaintances, name: str) -> None:
    said = met(known, EVE, name)
    assert f"themselves {name} (id e5e5e5e5), which looks like the bob known here" in said
    assert met(known, EVE, name) == met(known, EVE, "bob") == ""


def test_somebody_known_who_takes_the_name_of_another_counts_as_well(known: Acquaintances) -> None:
    assert met(known, ANN, "ann") == ""
    assert "calls themselves bob (id a1a1a1a1), not the bob" in met(known, ANN, "bob")
    assert met(known, BOB, "robert") == met(known, BOB, "BOB") == ""


def test_our_own_name_is_known_and_we_are_never_told_of_ourselves(known: Acquaintances) -> None:
    assert met(known, EVE, "me") == (
        "ANOTHER KEY: somebody else calls themselves me (id e5e5e5e5), as you do (id 00000000); "
        "/verify tells who is who"
    )
    assert "which looks like your me" in met(known, ANN, "Me")
    assert met(known, OWN, "bob") == ""
    assert "not the bob known here" in met(known, EVE, "bob")


def test_as_many_digits_are_told_as_make_the_ids_differ(known: Acquaintances) -> None:
    twin = BOB[:12] + "0" * 52
    assert "(id b2b2b2b2b2b20), not the bob" in met(known, twin, "bob")


def test_a_name_with_nothing_to_see_belongs_to_nobody(known: Acquaintances) -> None:
    assert met(known, EVE, "") == met(known, ANN, "") == met(known, ANN, "\u2800") == ""


def test_no_name_is_told_as_it_came(known: Acquaintances) -> None:
    evil = "x\x1b[2J\u202e" * 1000
    assert met(known, BOB, evil) == ""
    said = met(known, EVE, evil)
    assert "\x1b" not in said and "\u202e" not in said and len(said) < 400


# ---------------------------------------------------------------- floods


def test_of_one_name_a_few_others_are_told_and_the_last_one_says_so(known: Acquaintances) -> None:
    said = [met(known, id_of(number), "bob") for number in range(MAX_TOLD + 5)]
    assert ["of any more you are not told" in each for each in said] == [
        *[False] * (MAX_TOLD - 1),
        True,
        *[False] * 5,
    ]
    assert all(said[:MAX_TOLD]) and not any(said[MAX_TOLD:])


def test_so_much_is_told_in_a_minute_and_the_rest_when_it_is_met_again(
    known: Acquaintances,
) -> None:
    names = [f"name {number} x" for number in range(WARNINGS + 2)]
    for number, name in enumerate(names):
        assert met(known, id_of(number), name) == ""
    said = [met(known, id_of(100 + number), name, 5.0) for number, name in enumerate(names)]
    assert [bool(each) for each in said] == [True] * WARNINGS + [False, False]
    later = 5.0 + WARNINGS_S
    said = [met(known, id_of(100 + number), name, later) for number, name in enumerate(names)]
    assert [bool(each) for each in said] == [False] * WARNINGS + [True, True]


def test_not_counted_are_those_who_pose_as_us_or_as_who_is_verified(known: Acquaintances) -> None:
    known.verify(BOB, "bob", DAY)
    for number in range(WARNINGS + 1):
        met(known, id_of(number), f"name {number} x")
        met(known, id_of(100 + number), f"name {number} x")
    assert met(known, EVE, "me") and met(known, EVE, "bob")


def test_one_member_has_a_few_names_and_its_oldest_is_forgotten_first(
    known: Acquaintances, path: Path
) -> None:
    for number in range(MAX_NAMES_OF_ONE + 1):
        assert met(known, EVE, f"eve {number} x") == ""
    assert len(known) == 2 + MAX_NAMES_OF_ONE
    assert met(known, ANN, "eve 0 x") == ""
    assert met(known, ANN, "eve 1 x") != ""
    assert known.name_of(EVE) == f"eve {MAX_NAMES_OF_ONE} x"
    assert known.name_of("f" * 64) == ""


def test_when_all_places_are_taken_who_was_not_met_for_longest_goes_and_never_who_is_verified(
    known: Acquaintances, path: Path
) -> None:
    known.verify(BOB, "bob", DAY)
    met(known, ANN, "ann")
    met(known, EVE, "eve")
    met(known, ANN, "ann")
    for number in range(MAX_KNOWN - 3):  # room for one less than there are
        assert met(known, id_of(number), f"name {number} x") == ""
    assert len(known) == MAX_KNOWN
    assert met(known, id_of(5000), "eve") == ""  # the first one is forgotten, and one more
    assert met(known, id_of(5000), "me") and met(known, id_of(5000), "bob")
    known = again(known, path)
    assert len(known) == MAX_KNOWN


def test_where_only_verified_ones_are_left_nobody_new_is_known(known: Acquaintances) -> None:
    for number in range(MAX_KNOWN - 1):
        known.verify(id_of(number), f"name {number} x", DAY)
    assert len(known) == MAX_KNOWN
    assert met(known, EVE, "eve") == met(known, ANN, "eve") == ""


def test_the_file_of_the_worst_flood_can_be_read_again(known: Acquaintances, path: Path) -> None:
    for number in range(MAX_KNOWN):
        name = "".join(f"{chr(0x1F600 + int(c))}\U0001d167\U0001d167\U0001d167\U0001d167"
                       for c in f"{number:05}")  # fmt: skip
        met(known, id_of(number), name * 3)
        for other in range(MAX_TOLD):
            met(known, id_of(2000 + other), name * 3, 1000.0 * number + 10 * WARNINGS_S * other)
    for number in range(MAX_VERIFIED):
        known.verified[id_of(number)] = DAY
    known = again(known, path)
    assert len(known) == MAX_KNOWN and len(known.verified) == MAX_VERIFIED
    assert 500_000 < path.stat().st_size < MAX_FILE_BYTES


# ---------------------------------------------------------------- verified


def test_who_poses_as_somebody_verified_is_told_of_more_loudly(known: Acquaintances) -> None:
    known.verify(BOB, "bob", "2026-11-24")
    assert met(known, EVE, "bob") == (
        "SOMEBODY ELSE calls themselves bob (id e5e5e5e5): NOT the bob whom you have verified "
        "(id b2b2b2b2)"
    )
    assert "looks like, but is NOT the bob" in met(known, ANN, "Bob")


def test_who_is_verified_takes_the_name_from_who_was_only_first(
    known: Acquaintances, path: Path
) -> None:
    assert met(known, EVE, "bob")
    known.verify(EVE, "bob", DAY)
    known = again(known, path)
    assert list(known.verified) == [EVE]
    assert met(known, EVE, "bob") == met(known, BOB, "bob") == ""  # of both our user knows
    assert "NOT the bob whom you have verified (id e5e5e5e5)" in met(known, ANN, "bob")


def test_two_of_one_name_may_both_be_verified(known: Acquaintances) -> None:
    known.verify(BOB, "bob", DAY)
    known.verify(EVE, "bob", DAY)
    assert list(known.verified) == [BOB, EVE]
    assert met(known, EVE, "bob") == met(known, BOB, "bob") == ""
    assert "NOT the bob" in met(known, ANN, "bob")


def test_somebody_verified_who_takes_a_known_name_is_told_of_as_such(known: Acquaintances) -> None:
    known.verify(ANN, "ann", DAY)
    assert "(id a1a1a1a1, verified by you), not the bob" in met(known, ANN, "bob")


def test_who_is_no_longer_verified_is_known_as_before(known: Acquaintances, path: Path) -> None:
    known.verify(BOB, "bob", DAY)
    known.unverify(BOB)
    known = again(known, path)
    assert known.verified == {}
    assert "not the bob known here" in met(known, EVE, "bob")


def test_who_has_our_name_can_be_verified_and_does_not_get_it(known: Acquaintances) -> None:
    known.verify(EVE, "me", DAY)
    assert met(known, EVE, "me") == ""
    assert "as you do" in met(known, ANN, "me")


# ---------------------------------------------------------------- the file


def test_the_file_is_for_its_owner_only_and_has_a_line_for_each(
    known: Acquaintances, path: Path
) -> None:
    assert known.changed
    known.save()
    assert not known.changed
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().splitlines()[1:3] == [
        json.dumps({"name": "me", "id": OWN, "since": DAY, "told": []}) + ",",
        json.dumps({"name": "bob", "id": BOB, "since": DAY, "told": []}),
    ]
    met(known, BOB, "bob")
    assert not known.changed


def test_without_a_file_nobody_is_known_and_that_is_no_fault(path: Path) -> None:
    known = Acquaintances(path, OWN)
    assert known.load() == [] and len(known) == 0


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[]", "x" * 3_000_000, "7", "\ud800"])
def test_a_file_that_can_not_be_read_is_told_and_kept_beside(path: Path, text: str) -> None:
    path.write_text(text, errors="surrogatepass")
    known = Acquaintances(path, OWN)
    assert known.load() == [
        "members.json can't be read: who was known is not known now (members.json.broken)"
    ]
    known.save()
    assert path.with_name("members.json.broken").read_bytes() == text.encode(errors="surrogatepass")


def test_a_folder_in_its_place_is_told(path: Path) -> None:
    path.mkdir()
    (said,) = Acquaintances(path, OWN).load()
    assert "can't be read (Is a directory)" in said


GOOD = {"name": "bob", "id": BOB, "since": DAY}


@pytest.mark.parametrize(
    ("kept", "complaints", "count"),
    [
        ({"known": 7}, ["1 of known"], 0),
        ({"known": [7, GOOD, []]}, ["2 of known"], 1),
        ({"known": [GOOD | {"id": "b2"}, GOOD]}, ["1 of known"], 1),
        ({"known": [GOOD | {"id": {}}, GOOD]}, ["1 of known"], 1),
        ({"known": [GOOD | {"name": ""}, GOOD]}, ["1 of known"], 1),
        ({"known": [GOOD | {"name": 5}, GOOD]}, ["1 of known"], 1),
        ({"known": [GOOD | {"since": "now"}, GOOD]}, ["1 of known"], 1),
        ({"known": [GOOD | {"told": [7]}, GOOD]}, ["1 of known"], 1),
        ({"known": [GOOD | {"told": 7}, GOOD]}, ["1 of known"], 1),
        ({"known": [GOOD], "verified": []}, ["1 of verified"], 1),
        ({"known": [GOOD], "verified": {"b2": DAY}}, ["1 of verified"], 1),
        ({"known": [GOOD], "verified": {EVE: 7}}, ["1 of verified"], 1),
        ({"verified": {BOB: "x"}, "known": [7]}, ["1 of verified", "1 of known"], 0),
        ({"known": [GOOD, GOOD, GOOD | {"id": EVE}]}, [], 1),
        ({"known": [GOOD | {"more": 1}], "more": 1}, [], 1),
        ({}, [], 0),
    ],
)
def test_what_is_wrong_in_the_file_is_said_and_left_out(
    path: Path, kept: dict[str, object], complaints: list[str], count: int
) -> None:
    path.write_text(json.dumps(kept))
    known = Acquaintances(path, OWN)
    said = known.load()
    assert [each.split(": ")[1] for each in said] == complaints
    assert len(known) == count
    assert bool(met(known, EVE, "bob")) == (count == 1)


def test_a_file_edited_to_hold_more_than_there_is_room_for_is_cut(path: Path) -> None:
    names = [GOOD | {"name": f"n {n} x", "id": id_of(n)} for n in range(MAX_KNOWN + 5)]
    told = [id_of(n) for n in range(50)]
    path.write_text(json.dumps({"known": [*names, GOOD | {"told": told}]}))
    known = Acquaintances(path, OWN)
    assert known.load() == []
    assert len(known) == MAX_KNOWN
    assert met(known, EVE, "bob") == ""  # as many are told of as there may be


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_the_file_nothing_breaks(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(data)
    known = Acquaintances(path, OWN)
    assert len(known.load()) == 1


few_ids = st.sampled_from([OWN, BOB, EVE, ANN])
few_names = st.text(st.sampled_from("bBо0Il1 \u0301"), max_size=3)
doings = st.tuples(st.sampled_from(["meet", "verify", "unverify"]), few_ids, few_names)


@given(st.lists(doings, max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_done_each_name_has_one_owner_and_all_is_there_after_a_restart(
    tmp_path: Path, done: list[tuple[str, str, str]]
) -> None:
    path = tmp_path / "members.json"
    path.unlink(missing_ok=True)
    known = Acquaintances(path, OWN)
    for what, id, name in done:
        if what == "meet":
            for _ in range(3):  # it may look like three that are known
                met(known, id, name)
            assert met(known, id, name) == ""
        elif what == "verify":
            known.verify(id, name, DAY)
            assert met(known, id, name) == ""
        elif id in known.verified:
            known.unverify(id)
    owners = list(known._by_key.values())
    assert {each.name for each in owners} == set(known._known)
    assert sum(map(len, known._names_of.values())) == len(known)
    other = again(known, path)
    assert {each: vars(one) for each, one in other._known.items()} == {
        each: vars(one) for each, one in known._known.items()
    }
    assert other.verified == known.verified
