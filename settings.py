"""The settings: what a person has chosen, and what they have typed, in two files that last.

    settings.json   {"bell": "mentions", "hidden": [id, ...]}
    typed.jsonl     what was typed, one JSON string a line, the newest last

Both may be edited, or deleted, at any time. What is wrong in them is said and left out; nothing
in them keeps selchat from starting, and neither is worth a sync.

Lives here: these two files. Never here: what the settings lead to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

BELLS = ("off", "mentions", "all")
MAX_HIDDEN = 1024  # as many as have receipts; a person who mutes more wants another room
MAX_SETTINGS_BYTES = 128 * 1024  # above 1,024 ids of 64 digits
# What is read of what was typed: 500 lines of 500 bytes. Of a longer file the end.
MAX_TYPED_BYTES = 256 * 1024
_ID_DIGITS = 64


class Settings:
    """What a person has chosen. Changes are written at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.bell = "mentions"
        self.hidden: dict[str, None] = {}  # members' ids, in the order in which they were hidden

    def load(self) -> list[str]:
        """Complaints, one for each thing that is wrong."""
        try:
            with self._path.open("rb") as file:
                text = file.read(MAX_SETTINGS_BYTES + 1)
            kept = json.loads(text)
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or "no JSON"
            return [f"{self._path.name} can't be read ({reason}): nothing of it is used"]
        if not isinstance(kept, dict):
            return [f"{self._path.name} holds no settings: nothing of it is used"]
        complaints = []
        if kept.get("bell", self.bell) in BELLS:
            self.bell = kept.get("bell", self.bell)
        else:
            complaints.append(f"{self._path.name}: bell is one of {', '.join(BELLS)}")
        hidden = kept.get("hidden", [])
        if isinstance(hidden, list) and all(map(is_id, hidden)):
            self.hidden = dict.fromkeys(hidden[:MAX_HIDDEN])
        else:
            complaints.append(f"{self._path.name}: hidden is a list of members' ids")
        return complaints

    def save(self) -> None:
        """Raises OSError."""
        kept = {"bell": self.bell, "hidden": list(self.hidden)}
        replace_file(self._path, json.dumps(kept, indent=1) + "\n")


class Typed:
    """What was typed in earlier runs, for the arrow keys."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, lines: int) -> list[str]:
        """The last so many, the oldest first. Raises OSError."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - MAX_TYPED_BYTES))
                data = file.read(MAX_TYPED_BYTES)
        except FileNotFoundError:
            return []
        kept = [text for text in map(_string, data.split(b"\n")) if text is not None][-lines:]
        if size > MAX_TYPED_BYTES:
            replace_file(self._path, "".join(map(_line, kept)))
        return kept

    def add(self, texts: Iterable[str]) -> None:
        """Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, "".join(map(_line, texts)).encode())
        finally:
            os.close(descriptor)


def is_id(value: object) -> bool:
    return (
        isinstance(value, str) and len(value) == _ID_DIGITS and not value.strip("0123456789abcdef")
    )


def _line(text: str) -> str:
    return json.dumps(text) + "\n"  # ASCII, and in one line


def _string(line: bytes) -> str | None:
    """A line of the file; None for what is none: the first may be cut, the last unfinished."""
    try:
        text = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return text if isinstance(text, str) else None


def replace_file(path: Path, text: str) -> None:
    """The whole file at once, or nothing."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    beside.replace(path)
