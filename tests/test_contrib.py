"""The examples for a member that is always on: what they name is there, and selchat takes it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import invite
from arguments import parse
from invite import Invite

ROOT = Path(__file__).resolve().parent.parent
CONTRIB = ROOT / "contrib"
UNIT = (CONTRIB / "selchat.service").read_text()
CONTAINERFILE = (CONTRIB / "Containerfile").read_text()
# What `systemd-analyze security` gives a service that may talk to anybody: the net alone is
# 0.5, and any host 0.2; 10 is a service without any limits.
MOST_EXPOSED = 1.5


def setting(name: str) -> str:
    [value] = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


def instruction(name: str) -> list[str]:
    """Of the Containerfile, in its JSON form."""
    [value] = re.findall(rf"^{name} (\[.*\])$", CONTAINERFILE, re.MULTILINE)
    words: list[str] = json.loads(value)
    return words


def unit_here(folder: Path) -> Path:
    """The unit, as if selchat was installed where these tests run."""
    path = folder / "selchat.service"
    text = UNIT.replace("/opt/selchat/.venv/bin/python", sys.executable)
    path.write_text(text.replace("/opt/selchat", str(ROOT)))
    return path


@pytest.fixture
def systemd() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("there is no systemd-analyze here (on Debian, in the package systemd)")
    return found


def test_systemd_takes_the_unit(tmp_path: Path, systemd: str) -> None:
    command = [systemd, "verify", str(unit_here(tmp_path))]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (0, "")


def test_systemd_finds_the_unit_well_locked_in(tmp_path: Path, systemd: str) -> None:
    limit = f"--threshold={MOST_EXPOSED * 10:.0f}"  # it takes a percentage
    command = [systemd, "security", "--offline=true", limit, "--no-pager", str(unit_here(tmp_path))]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "--offline" in process.stderr:
        pytest.skip("this systemd-analyze can't look at a unit that is not loaded")
    assert process.returncode == 0, process.stdout


def arguments_work(arguments: list[str], folder: Path) -> None:
    parse(arguments, "0")


def test_selchat_takes_the_arguments_of_the_unit(tmp_path: Path) -> None:
    (tmp_path / "invite").write_text(invite.write(Invite("garden", bytes(16))) + "\n")
    line = setting("ExecStart").replace("%S", str(tmp_path)).replace("%d", str(tmp_path))
    assert "%" not in line
    python, script, *arguments = shlex.split(line)
    assert python == "/opt/selchat/.venv/bin/python" and script == "/opt/selchat/selchat.py"
    arguments_work(arguments, tmp_path)


def test_the_unit_reads_its_invite_where_it_is_put_and_logs_no_posts() -> None:
    name, path = setting("LoadCredential").split(":")
    assert f"@%d/{name} " in setting("ExecStart")
    assert path in (CONTRIB / "README.md").read_text()
    assert f"%S/{setting('StateDirectory')} " in setting("ExecStart")
    assert setting("StandardOutput") == "null"


def test_the_container_is_made_of_files_that_there_are() -> None:
    copied = [
        source
        for line in re.findall("^COPY (.*)$", CONTAINERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert all(list(ROOT.glob(source)) for source in copied)
    here = {path.name for source in copied for path in ROOT.glob(source)}
    assert {"selchat.py", "pyproject.toml", "README.md", "LICENSE"} <= here


def test_selchat_takes_the_arguments_of_the_container(tmp_path: Path) -> None:
    shell, c, script, name = instruction("ENTRYPOINT")
    assert (shell, c, name) == ("/bin/sh", "-c", "selchat")
    secret = tmp_path / "invite"
    secret.write_text(invite.write(Invite("garden", bytes(16))) + "\n")
    # What the shell would start, one argument a line, and what it prints goes nowhere.
    stub = tmp_path / "selchat"
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$(dirname "$0")/arguments"\necho a post\n')
    stub.chmod(0o755)
    words = [shell, c, script, name, *instruction("CMD")]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    process = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    arguments = (tmp_path / "arguments").read_text().splitlines()
    arguments_work([each.replace("/run/secrets", str(tmp_path)) for each in arguments], tmp_path)


def test_what_the_readme_tells_of_is_there() -> None:
    text = (CONTRIB / "README.md").read_text()
    assert "contrib/selchat.service" in text and "contrib/Containerfile" in text
    [made] = re.findall(r"--uid (\d+)", CONTAINERFILE)
    assert f"uid={made}," in text
