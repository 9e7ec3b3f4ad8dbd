"""The arrows of the design: who may import whom, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OURS: list[str] = PROJECT["tool"]["setuptools"]["py-modules"]

# Who may import which of ours when it runs, besides records. A new module has to find its place.
MAY_IMPORT = {
    "commands": {
        "acquaintances",
        "addresses",
        "completion",
        "contacts",
        "doctor",
        "errands",
        "export",
        "facts",
        "feed",
        "invite",
        "qr",
        "rooms",
        "search",
        "settings",
        "text",
        "verifying",
        "when",
    },
    "completion": {"settings", "text"},
    "acquaintances": {"lookalikes", "settings", "text"},
    "addresses": set(),
    "arguments": {"addresses", "invite", "net", "rooms", "terminal", "text", "user"},
    "archive": {"errands", "feed", "journal", "output", "protocol", "search", "text"},
    "backlog": {"protocol"},
    "buffer": {"text"},
    "contacts": {"addresses", "events", "protocol"},
    "doctor": {"contacts", "facts"},
    "door": {"link", "net", "protocol"},
    "editor": {"buffer", "keys", "layout", "text"},
    "errands": set(),
    "events": {"protocol"},
    "export": {"archive", "errands", "journal", "look", "output", "text"},
    "facts": {"addresses", "protocol", "text"},
    "folders": set(),
    "feed": {"journal", "output", "protocol"},
    "identity": set(),
    "invite": {"addresses"},
    "joining": {
        "folders",
        "invite",
        "look",
        "paint",
        "qr",
        "rooms",
        "terminal",
        "user",
        "whereabouts",
    },
    "journal": {"held", "outcomes", "protocol", "rows"},
    "outcomes": {"protocol"},
    "rows": {"protocol"},
    "held": {"protocol"},
    "kept": {
        "acquaintances",
        "addresses",
        "archive",
        "editor",
        "folders",
        "identity",
        "invite",
        "journal",
        "link",
        "protocol",
        "rescue",
        "rooms",
        "settings",
        "whereabouts",
    },
    "keys": set(),
    "layout": {"text"},
    "mesh": {"addresses", "backlog", "contacts", "events", "protocol", "receipts"},
    "net": {"link", "protocol"},
    "node": {"events", "journal", "link", "mesh", "net", "outcomes", "protocol"},
    "output": {"text"},
    "protocol": set(),
    "qr": set(),
    "reach": {"addresses"},
    "receipts": {"events", "protocol"},
    "records": set(),
    "rescue": {"journal", "protocol", "rows"},
    "resolver": {"addresses", "net"},
    "lines": set(),
    "rooms": {"addresses", "folders", "identity", "invite"},
    "lookalikes": set(),
    "link": {"protocol"},
    "roster": {"facts", "text"},
    "look": {"text"},
    "paint": {"text"},
    "conversation": {"look", "output", "text"},
    "screen": {"conversation", "editor", "layout", "output", "paint", "terminal", "text"},
    "search": {"errands", "journal", "protocol"},
    "settings": set(),
    "selchat": {
        "addresses",
        "arguments",
        "invite",
        "joining",
        "journal",
        "rooms",
        "session",
        "text",
        "user",
    },
    "session": {
        "commands",
        "editor",
        "lines",
        "net",
        "output",
        "protocol",
        "screen",
        "terminal",
        "user",
    },
    "status": {"facts", "output", "text"},
    "terminal": set(),
    "text": {"lookalikes"},
    "user": set(OURS)
    - {"arguments", "contacts", "joining", "mesh", "receipts", "selchat", "session", "user"},
    "verifying": {"acquaintances", "facts", "identity"},
    "when": set(),
    "whereabouts": {"addresses", "settings"},
}
# Who may import which of ours for its types alone, besides.
MAY_KNOW = {
    "commands": {"archive", "output", "user"},
    "completion": {"user"},
    "reach": {"mesh"},
    "receipts": {"mesh"},
    "roster": {"node"},
    "facts": {"contacts", "events", "mesh", "node"},
    "status": {"mesh", "node"},
    "verifying": {"user"},
}

# What brings threads, or a loop beside ours.
NEVER = {"threading", "_thread", "asyncio", "multiprocessing", "concurrent", "queue"}
ONLY_IN = {
    "socket": {"door", "net"},
    "selectors": {"door", "net"},
    "select": {"net"},
    "sqlite3": {"journal", "rescue"},
}


class Import(NamedTuple):
    module: str  # "os" of `import os.path`
    name: str  # "Random" of `from random import Random`, "" of `import random`
    for_types: bool  # under `if TYPE_CHECKING:`


def imports_of(source: str) -> list[Import]:
    return list(_imports(ast.parse(source), for_types=False))


def _imports(node: ast.AST, *, for_types: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name.partition(".")[0], "", for_types)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0 and node.module, "the modules lie flat: no relative imports"
        for alias in node.names:
            yield Import(node.module.partition(".")[0], alias.name, for_types)
    elif isinstance(node, ast.If) and isinstance(node.test, ast.Name):
        typing_only = node.test.id == "TYPE_CHECKING"
        for statement in node.body:
            yield from _imports(statement, for_types=for_types or typing_only)
        for statement in node.orelse:
            yield from _imports(statement, for_types=for_types)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, for_types=for_types)


def imports_in(module: str) -> list[Import]:
    return imports_of((ROOT / f"{module}.py").read_text())


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import os.path, sys\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from user import User\n"
        "else:\n"
        "    import json\n"
        "def late():\n"
        "    try:\n"
        "        import socket\n"
        "    except ImportError:\n"
        "        from random import Random as R\n"
    )
    assert imports_of(source) == [
        Import("os", "", False),
        Import("sys", "", False),
        Import("typing", "TYPE_CHECKING", False),
        Import("user", "User", True),
        Import("json", "", False),
        Import("socket", "", False),
        Import("random", "Random", False),
    ]


def test_every_module_has_its_place_in_the_picture() -> None:
    assert set(OURS) == set(MAY_IMPORT)


@pytest.mark.parametrize("module", OURS)
def test_a_module_imports_only_what_its_place_allows(module: str) -> None:
    ours = [found for found in imports_in(module) if found.module in OURS]
    allowed = MAY_IMPORT[module] | {"records"}
    assert {found.module for found in ours if not found.for_types} <= allowed
    known = allowed | MAY_KNOW.get(module, set())
    assert {found.module for found in ours if found.for_types} <= known


@pytest.mark.parametrize("module", OURS)
def test_a_module_brings_no_threads_and_no_second_loop(module: str) -> None:
    assert {found.module for found in imports_in(module)} & NEVER == set()


@pytest.mark.parametrize(("library", "owners"), ONLY_IN.items())
def test_what_touches_the_world_has_its_owners(library: str, owners: set[str]) -> None:
    users = {m for m in OURS if any(found.module == library for found in imports_in(m))}
    assert users <= owners


@pytest.mark.parametrize("owned", ["socket", "selectors", "sqlite3"])
def test_the_owner_does_import_what_it_owns(owned: str) -> None:
    for owner in ONLY_IN[owned]:
        assert any(found.module == owned for found in imports_in(owner))


def test_the_mesh_has_no_clock_and_no_chance_of_its_own() -> None:
    worldly = {"time", "datetime", "os", "secrets", "uuid", "random", "ssl", "signal", "pathlib"}
    found = [found for found in imports_in("mesh") if found.module in worldly]
    assert [(each.module, each.name) for each in found] in ([], [("random", "Random")])


def test_the_mesh_takes_random_as_a_type_and_never_makes_one() -> None:
    tree = ast.parse((ROOT / "mesh.py").read_text())
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [func for func in called if isinstance(func, ast.Name) and func.id == "Random"]


def test_the_journal_and_the_wire_have_no_clock() -> None:
    for module in ("journal", "protocol"):
        found = {each.module for each in imports_in(module)}
        assert found & {"time", "datetime", "random", "secrets"} == set()


def test_the_mesh_iterates_over_no_set() -> None:
    """The order of a set differs from run to run; the same events would not give the same
    actions. Seen here: sets written down as such, right where they are iterated over."""
    tree = ast.parse((ROOT / "mesh.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.comprehension):
            assert not isinstance(node.iter, ast.Set | ast.SetComp)
            called = node.iter.func if isinstance(node.iter, ast.Call) else None
            assert not (isinstance(called, ast.Name) and called.id in ("set", "frozenset"))


# Of the libraries, what each costs a start (ms on a machine that needs 40 for those it can't do
# without); of ours, what has its time later.
LATE = {
    "ast", "dataclasses", "dis", "inspect",  # 5: what a dataclass is made with
    "bz2", "importlib.util", "lzma", "shutil",  # 2: argparse looks how wide the terminal is
    "asyncio", "concurrent", "email", "logging", "subprocess", "tempfile", "threading",  # 2 to 30
    "cryptography.x509", "rich",  # 60 each
    "difflib",  # 2
    "backlog", "commands", "completion", "contacts", "doctor", "editor", "export", "joining",
    "keys", "layout", "look", "mesh", "node", "paint", "qr", "receipts", "rescue", "resolver",
    "roster", "screen", "status", "verifying", "window",
}  # fmt: skip
UNTIL_READY = """
import os, sys
import output, selchat
def ready(*_):
    os.write(1, " ".join(sys.modules).encode())
    os._exit(0)
output.JsonOutput.ready = ready
selchat.main(["0", "0", "user", "--json", "--data", sys.argv[1]])
"""


def test_a_start_pays_for_nothing_that_it_may_not_need(tmp_path: Path) -> None:
    for _ in ("makes keys", "finds them"):
        command = [sys.executable, "-c", UNTIL_READY, str(tmp_path)]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert "protocol" in process.stdout.split(), process.stderr
    assert LATE & set(process.stdout.split()) == set()


def test_what_python_compiles_at_each_start_is_short() -> None:
    """A script, unlike what is imported: 100 lines take 1 ms."""
    assert len((ROOT / "selchat.py").read_text().splitlines()) <= 130
