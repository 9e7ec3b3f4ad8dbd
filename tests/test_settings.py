"""What a person has chosen and typed lasts; what is wrong in the files is said and left out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from settings import MAX_TYPED_BYTES, Settings, Typed

ALICE = "a1" * 32


def test_what_was_chosen_is_there_again_and_only_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    chosen = Settings(path)
    assert chosen.load() == []
    chosen.bell = "all"
    chosen.hidden[ALICE] = None
    chosen.save()
    again = Settings(path)
    assert again.load() == []
    assert (again.bell, list(again.hidden)) == ("all", [ALICE])
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "holds no settings"),
        ('{"bell": "loud"}', "bell is one of"),
        ('{"bell": ["all"]}', "bell is one of"),
        ('{"hidden": "all"}', "hidden is a list"),
        ('{"hidden": ["a1"]}', "hidden is a list"),
        ('{"hidden": [{}]}', "hidden is a list"),
        ("x" * 200_000, "no JSON"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_and_left_out(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    chosen = Settings(path)
    (said,) = chosen.load()
    assert complaint in said
    assert (chosen.bell, chosen.hidden) == ("mentions", {})


def test_one_wrong_setting_does_not_take_the_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"bell": 7, "hidden": [ALICE]}))
    chosen = Settings(path)
    assert len(chosen.load()) == 1
    assert list(chosen.hidden) == [ALICE]


def test_settings_that_can_not_be_read_are_said(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.mkdir()
    assert "can't be read" in Settings(path).load()[0]


def test_what_was_typed_comes_back_oldest_first_and_only_the_last_of_it(tmp_path: Path) -> None:
    typed = Typed(tmp_path / "typed.jsonl")
    assert typed.load(10) == []
    typed.add(["one", "two\nlines"])
    typed.add(["three\ud800\x1b"])
    assert typed.load(10) == ["one", "two\nlines", "three\ud800\x1b"]
    assert typed.load(2) == ["two\nlines", "three\ud800\x1b"]
    assert (tmp_path / "typed.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_file_of_what_was_typed_that_grew_large_is_cut_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "typed.jsonl"
    typed = Typed(path)
    typed.add(f"{number} {'x' * 1000}" for number in range(500))
    assert path.stat().st_size > MAX_TYPED_BYTES
    assert typed.load(3)[-1].startswith("499 ")
    assert path.stat().st_size < 4000
    assert [text[:3] for text in typed.load(500)] == ["497", "498", "499"]


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_the_files_nothing_breaks(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(data)
    assert all(isinstance(text, str) for text in Typed(path).load(10))
    Settings(path).load()
    os.remove(path)
