"""What README.md says is so: its bot runs, its options and commands are those there are."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import commands

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SELCHAT = [sys.executable, str(ROOT / "selchat.py")]
DEADLINE_S = 20.0


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


class Node:
    """A real node that speaks JSON lines; used as a context."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [*SELCHAT, "0", "0", "reader", "--json", "--data", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._lines: list[bytes] = [b""]  # the last one is not complete yet

    def __enter__(self) -> "Node":
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()

    def type(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line.encode() + b"\n")

    def event(self, kind: str, /, **fields: object) -> dict[str, Any]:
        """The next event of that kind with these fields."""
        assert self._process.stdout
        end = time.monotonic() + DEADLINE_S
        while True:
            while len(self._lines) > 1:
                event: dict[str, Any] = json.loads(self._lines.pop(0))
                if {"event": kind, **fields}.items() <= event.items():
                    return event
            left = max(0.0, end - time.monotonic())
            assert select.select([self._process.stdout], [], [], left)[0], (kind, fields)
            data = self._process.stdout.read(65536)
            assert data, "the node has ended"
            first, *others = data.split(b"\n")
            self._lines[-1] += first
            self._lines += others


def test_the_bot_in_the_readme_answers_on_a_real_node(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    with Node(tmp_path / "reader") as node:
        port = node.event("ready")["address"].rpartition(":")[2]
        (tmp_path / "bot.py").write_text(source.replace("5000", port))
        bot = subprocess.Popen(
            [sys.executable, str(tmp_path / "bot.py")],
            env={**os.environ, "PYTHONPATH": str(ROOT), "SELCHAT_DATA": "", "HOME": str(tmp_path),
                 "XDG_DATA_HOME": str(tmp_path / "bots")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            node.event("link", state="up", name="echo")
            node.type("echo of this")
            assert node.event("message", text="of this")["name"] == "echo"
            bot.send_signal(signal.SIGINT)
            _, errors = bot.communicate(timeout=DEADLINE_S)
        finally:
            bot.kill()
            bot.wait()
    assert bot.returncode == 0
    assert b"Traceback" not in errors


def test_the_bot_in_the_readme_has_ten_lines() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in source.splitlines() if line]) <= 10


def test_the_readme_names_every_option_of_the_help_and_no_other() -> None:
    shown = subprocess.run([*SELCHAT, "--help"], capture_output=True, text=True, check=True).stdout
    of_selchat = re.sub(r"^ +\.venv/bin/python -m tests\..*$", "", README, flags=re.MULTILINE)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", of_selchat))
    assert named == set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", shown))


def test_every_command_is_in_the_readme_with_its_usage() -> None:
    talk = section("Talk")
    for command in commands.COMMANDS.values():
        assert f"| `{command.usage}` |".replace("|mentions|", r"\|mentions\|") in talk
    named = set(re.findall(r"^\| `/([a-z]+)", talk, re.MULTILINE))
    assert named == set(commands.COMMANDS)


def test_every_module_has_its_line_in_reading_the_code() -> None:
    lines = re.findall(r"^\d+\. \[(.+?)\]\((.+?)\): \S", section("Reading the code"), re.MULTILINE)
    assert all(name == target for name, target in lines)
    assert sorted(name for name, _ in lines) == sorted(path.name for path in ROOT.glob("*.py"))


def test_every_file_that_the_readme_links_to_is_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_readme_tells_every_exit_status() -> None:
    import arguments
    import session

    statuses = {0, 1, arguments.WRONG_USAGE, session.NOT_CONFIRMED, session.INTERRUPTED}
    assert {int(n) for n in re.findall(r"^\| (\d+) \|", section("Pipes"), re.MULTILINE)} == statuses


def test_every_file_that_a_user_keeps_is_in_the_readme(tmp_path: Path) -> None:
    command = [*SELCHAT, "0", "0", "me", "--linger", "0", "--data", str(tmp_path)]
    subprocess.run(command, input=b"hi\n", capture_output=True, check=True, timeout=DEADLINE_S)
    kept = {re.sub(r"-[0-9a-f]{16}\.", "-*.", path.name) for path in tmp_path.iterdir()}
    told = re.findall(r"^\| `(.+?)` \|", section("The files it keeps"), re.MULTILINE)
    in_rooms = {"whereabouts.txt"}
    sometimes = {"addresses.txt", "search.index", "settings.json", "typed.jsonl", *in_rooms}
    assert kept - sometimes == set(told) - sometimes and sometimes < set(told)
