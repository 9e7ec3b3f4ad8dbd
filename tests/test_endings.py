"""No way of ending but kill -9 leaves anything of selchat behind on a real terminal."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import session
from tests.processes import SELCHAT, Crowd, TerminalProcess

TRIES = int(os.environ.get("SELCHAT_ROUNDS", "20"))  # of a signal in the middle of a start
NOT_AN_END = {signal.SIGWINCH, signal.SIGCONT, signal.SIGTSTP, signal.SIGINT}
ENDS = [number for number in session.ends_on_screen() if number not in NOT_AN_END]
AT_ONCE = 8  # processes, so that a test of all signals does not take all day


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    with Crowd(tmp_path) as crowd:
        yield crowd


def is_as_it_was(ann: TerminalProcess) -> None:
    """The mode, the marking of pastes, the wrapping; and the shell's prompt has its own row."""
    assert ann.mode_after == ann.mode_before
    out = bytes(ann.stdout)
    assert out.rfind(b"\x1b[?2004l") >= out.rfind(b"\x1b[?2004h")
    assert out.rfind(b"\x1b[?7h") >= out.rfind(b"\x1b[?7l")
    assert ann.screen.cursor.x == 0
    assert ann.screen.display[ann.screen.cursor.y].strip() == ""
    assert not any(row.startswith("ann ›") for row in ann.rows)


def wait_for_prompt(crowd: Crowd, *processes: TerminalProcess) -> None:
    crowd.wait(lambda: all(p.rows[-1] == "ann ›" for p in processes), "the prompt is there")


def type_half(crowd: Crowd, *processes: TerminalProcess) -> None:
    wait_for_prompt(crowd, *processes)
    for process in processes:
        process.write("half a line")
    crowd.wait(lambda: all(p.rows[-1] == "ann › half a line" for p in processes), "it is typed")


@pytest.mark.parametrize("first", range(0, len(ENDS), AT_ONCE))
def test_every_signal_that_ends_gives_the_terminal_back(crowd: Crowd, first: int) -> None:
    numbers = ENDS[first : first + AT_ONCE]
    all_of_them = [crowd.start_on_terminal(0, 0, "ann") for _ in numbers]
    type_half(crowd, *all_of_them)
    for ann, number in zip(all_of_them, numbers, strict=True):
        os.kill(ann.popen.pid, number)
    for ann in all_of_them:
        assert ann.wait_end() == 0
        is_as_it_was(ann)


@pytest.mark.parametrize("end", ["/quit\r", "\x03", "\x04", "typed\x03\x03", "\x1c"])
def test_every_key_that_ends_gives_the_terminal_back(crowd: Crowd, end: str) -> None:
    ann = crowd.start_on_terminal(0, 0, "ann")
    wait_for_prompt(crowd, ann)
    ann.write(end.removesuffix("\x03\x03"))
    if end.startswith("typed"):
        crowd.wait(lambda: ann.rows[-1] == "ann › typed", "it is typed")
        ann.write("\x03")
        crowd.wait(lambda: ann.rows[-1] == "ann ›", "it is cleared")
        ann.write("\x03")
    assert ann.wait_end() == (130 if end.startswith("typed") else 0)
    is_as_it_was(ann)


def test_a_signal_at_any_moment_of_a_start_leaves_the_terminal_as_it_was(crowd: Crowd) -> None:
    chance = random.Random(2)
    signals = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1)
    for _ in range(TRIES):
        ann = crowd.start_on_terminal(0, 0, "ann")
        crowd.wait_s(chance.uniform(0.01, 0.3))
        ann.signal(chance.choice(signals))
        ann.wait_end()
        is_as_it_was(ann)


def test_a_second_signal_at_any_moment_of_an_end_leaves_the_terminal_as_it_was(
    crowd: Crowd,
) -> None:
    chance = random.Random(3)
    for _ in range(TRIES):
        ann = crowd.start_on_terminal(0, 0, "ann")
        wait_for_prompt(crowd, ann)
        ann.signal(signal.SIGTERM)
        crowd.wait_s(chance.uniform(0.0, 0.03))
        ann.signal(chance.choice((signal.SIGTERM, signal.SIGHUP, signal.SIGINT)))
        ann.wait_end()
        is_as_it_was(ann)


def test_a_start_that_fails_says_why_on_a_terminal_as_it_was(crowd: Crowd) -> None:
    running = crowd.start(0, 0, "running", data="used").wait_ready()
    (crowd.folder / "file").write_text("in the way")
    (crowd.folder / "key").mkdir()
    (crowd.folder / "key" / "key.pem").write_text("no key")
    for why, data, port in (
        ("choose another port", "", running.port),
        ("own --data", "used", 0),
        ("choose a folder with --data", "file", 0),
        ("holds no key", "key", 0),
    ):
        ann = crowd.start_on_terminal(port, 0, "ann", data=data)
        assert ann.wait_end() == 1
        is_as_it_was(ann)
        assert why in "".join(ann.screen.display)


def test_data_that_is_damaged_leaves_the_terminal_as_it_was(crowd: Crowd) -> None:
    ann = crowd.start_on_terminal(0, 0, "ann", data="damaged")
    wait_for_prompt(crowd, ann)
    ann.write("hello\r/quit\r")
    assert ann.wait_end() == 0
    journal = crowd.folder / "damaged" / "journal.db"
    journal.write_bytes(journal.read_bytes()[:100] + os.urandom(8000))
    again = crowd.start_on_terminal(0, 0, "ann", data="damaged")
    crowd.wait(lambda: "was damaged" in " ".join(again.rows) or again.has_ended, "it says so")
    again.write("\x04")
    again.wait_end()
    is_as_it_was(again)


def test_a_disk_that_is_full_ends_it_with_the_terminal_as_it_was(crowd: Crowd) -> None:
    code = FAILING.format(
        module="journal", name="Journal.commit", after=1, error='journal.JournalError("disk full")'
    )
    ann = crowd.start_on_terminal(
        *("--data", crowd.folder / "data", 0, 0, "ann"), command=[sys.executable, "-c", code]
    )
    wait_for_prompt(crowd, ann)
    ann.write("hello\r")
    assert ann.wait_end() == 1
    is_as_it_was(ann)
    assert any("disk full" in row for row in ann.rows)


@pytest.mark.parametrize("typed", ["", "half a line", "hello\r"])
def test_a_terminal_that_is_closed_ends_it(crowd: Crowd, typed: str) -> None:
    ann = crowd.start_on_terminal(0, 0, "ann")
    wait_for_prompt(crowd, ann)
    ann.write(typed)
    ann.lose_terminal()
    crowd.wait(lambda: ann.has_ended, "it has ended")
    assert ann.popen.returncode in (0, 1)


FAILING = """
import sys, {module}, selchat
known, calls = {module}.{name}, 0
def fail(*arguments, **options):
    global calls
    calls += 1
    if calls > {after}:
        raise {error}
    return known(*arguments, **options)
{module}.{name} = fail
sys.exit(selchat.main())
"""


@pytest.mark.parametrize(
    ("module", "name", "after"),
    [
        ("user", "User.start_server", 0),
        ("user", "User.submit", 0),
        ("user", "User._end_turn", 1),
        ("user", "User.finish_output", 0),
        ("selchat", "Session._each_turn", 1),
        ("screen", "Screen.flush", 0),
        ("screen", "Screen.flush", 2),
        ("screen", "Screen._region", 2),
        ("screen", "Screen._measure", 2),
        ("screen", "Screen.close", 0),
        ("node", "Node.end_turn", 1),
        ("net", "Loop.run", 0),
    ],
)
@pytest.mark.parametrize("error", ["RuntimeError", "KeyboardInterrupt"])
def test_what_nobody_has_thought_of_gives_the_terminal_back(
    crowd: Crowd, module: str, name: str, after: int, error: str
) -> None:
    code = FAILING.format(module=module, name=name, after=after, error=error)
    ann = crowd.start_on_terminal(
        *("--data", crowd.folder / "data", 0, 0, "ann"), command=[sys.executable, "-c", code]
    )
    crowd.wait(lambda: ann.rows[-1] == "ann ›" or ann.has_ended, "the prompt is there")
    for typed in ("hello\r", "\x04"):
        ann.write(typed)
        crowd.wait_s(0.1)
    assert ann.wait_end() not in (0, 130)
    assert error.encode() in ann.stdout
    assert ann.mode_after == ann.mode_before
    out = bytes(ann.stdout)
    assert out.rfind(b"\x1b[?2004l") >= out.rfind(b"\x1b[?2004h")
    assert out.rfind(b"\x1b[?7h") >= out.rfind(b"\x1b[?7l")


# ---------------------------------------------------------------- under a shell


SHELL_PROMPT = "shell>"


def start_under_shell(crowd: Crowd) -> TerminalProcess:
    shell = crowd.start_on_terminal(command=["/bin/sh", "-i"])
    shell.write(f"PS1='{SHELL_PROMPT} '\r")
    wait_for_shell(crowd, shell)
    start = f"{sys.executable} {SELCHAT} --data {crowd.folder / 'ann'} 0 0 ann\r"
    shell.write(start)
    wait_for_prompt(crowd, shell)
    return shell


def wait_for_shell(crowd: Crowd, shell: TerminalProcess) -> None:
    crowd.wait(lambda: shell.rows[-1].endswith(SHELL_PROMPT), "the shell asks")


def pid_of_selchat(shell: TerminalProcess) -> int:
    children = Path(f"/proc/{shell.popen.pid}/task/{shell.popen.pid}/children").read_text()
    return int(children.split()[0])


def is_running(pid: int) -> bool:
    """Not so a zombie, of whose end the shell has not heard yet."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_in_the_background_it_leaves_the_terminal_to_the_shell_and_comes_back(
    crowd: Crowd,
) -> None:
    shell = start_under_shell(crowd)
    before, during = shell.mode_before, shell.mode()
    assert during != before
    for again in ("fg", "bg; sleep 0.3; fg"):
        shell.write("half")
        crowd.wait(lambda: shell.rows[-1] == "ann › half", "it is typed")
        shell.write("\x1a")
        wait_for_shell(crowd, shell)
        assert shell.mode() == before
        assert shell.stdout.rfind(b"\x1b[?2004l") > shell.stdout.rfind(b"\x1b[?2004h")
        shell.write(again + "\n")
        crowd.wait(lambda: shell.rows[-1] == "ann › half", "it is back, with what was typed")
        assert shell.mode() == during
        shell.write("\x15")
        wait_for_prompt(crowd, shell)
    shell.write("/quit\r")
    wait_for_shell(crowd, shell)
    assert shell.mode() == before


def test_stopped_and_continued_by_others_it_draws_itself_anew(crowd: Crowd) -> None:
    shell = start_under_shell(crowd)
    during, selchat_pid = shell.mode(), pid_of_selchat(shell)
    os.kill(selchat_pid, signal.SIGSTOP)
    wait_for_shell(crowd, shell)
    shell.write("fg\n")  # no shell's line editor here, so the mode is still ours
    wait_for_prompt(crowd, shell)
    assert shell.mode() == during
    shell.write("/quit\r")
    wait_for_shell(crowd, shell)
    assert shell.mode() == shell.mode_before


@pytest.mark.parametrize("stop", ["\x1a", signal.SIGSTOP])
def test_a_stopped_one_that_is_killed_ends_and_leaves_the_shell_alone(
    crowd: Crowd, stop: str | signal.Signals
) -> None:
    shell = start_under_shell(crowd)
    selchat_pid = pid_of_selchat(shell)
    if isinstance(stop, str):
        shell.write(stop)
    else:
        os.kill(selchat_pid, stop)
    wait_for_shell(crowd, shell)
    for number in (signal.SIGTERM, signal.SIGCONT):  # as a shell does for `kill %1`
        os.kill(selchat_pid, number)
    crowd.wait(lambda: not is_running(selchat_pid), "it has ended")
    assert shell.mode() == shell.mode_before


def test_nobody_can_stop_it_where_nobody_could_continue_it(crowd: Crowd) -> None:
    ann = crowd.start_on_terminal(0, 0, "ann")
    type_half(crowd, ann)
    ann.write("\x1a and more")
    crowd.wait(lambda: ann.rows[-1] == "ann › half a line and more", "it goes on")
    ann.write("\x15/quit\r")
    assert ann.wait_end() == 0
    is_as_it_was(ann)
