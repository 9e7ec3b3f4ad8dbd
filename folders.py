"""The folders: where everything that a user keeps is kept.

    DIR/                             of --data DIR or $SELCHAT_DATA: one user's, for the open room
    DIR/rooms/NAME/                  what that user keeps of another room
    DIR/rooms/NAME.room              the room's secret (rooms.py)

Where none is given, each name that is used on this machine has a folder, its *profile*; rooms are
shared by all of them, for all of them are one person's:

    ~/.local/share/selchat/PROFILE/, .../PROFILE/rooms/NAME/, .../.rooms/NAME.room

Lives here: which folder it is, and who may look into it. Never here: what is in the files.
"""

from __future__ import annotations

import os
import re
import stat
from hashlib import sha256
from pathlib import Path

# How many profiles of one name are tried before it is said that all are in use.
MAX_PROFILES = 64
# Files that are looked at to see who may read them: a folder of ours has a dozen.
MAX_FILES = 256
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Folders:
    """All the folders of who starts selchat."""

    def __init__(self, given: Path | None = None) -> None:
        """`given`: the one folder to use; otherwise $SELCHAT_DATA counts, and then the profiles."""
        from_environment = os.environ.get("SELCHAT_DATA")
        self.given = given or (Path(from_environment) if from_environment else None)
        home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
        self._base = Path(home) / "selchat"

    @property
    def rooms(self) -> Path:
        """Where the secrets of rooms are."""
        return self.given / "rooms" if self.given else self._base / ".rooms"

    def of_user(self, name: str, port: int, room: str | None) -> list[Path]:
        """The folders that may be this user's, best first; a `given` one is the only one.
        `room`: None for the open one."""
        folders = [self.given] if self.given else self._profiles(name, port)
        return folders if room is None else [_in_room(folder, room) for folder in folders]

    def _profiles(self, name: str, port: int) -> list[Path]:
        """Two users with one name get two profiles: the second one's is named after its port too,
        so that each finds its own again."""
        first = self._base / safe(name)
        second = first.with_name(f"{first.name}@{port}")
        others = [second.with_name(f"{second.name}-{n}") for n in range(2, MAX_PROFILES)]
        return [second, first, *others] if second.exists() else [first, second, *others]

    def in_use(self, room: str) -> list[Path]:
        """All folders that there are of any user in this room."""
        bases = [self.given] if self.given else sorted(self._base.glob("*"))[:MAX_FILES]
        return [_in_room(base, room) for base in bases if _in_room(base, room).is_dir()]


def _in_room(folder: Path, room: str) -> Path:
    return folder / "rooms" / safe(room)


def safe(name: str) -> str:
    """`name` as a file's name, another one for each."""
    kept = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:32]
    if kept != name or not name:
        kept += "-" + sha256(name.encode()).hexdigest()[:8]
    return kept


def make(folder: Path) -> None:
    """Makes a folder, and those it is in, for its owner only. Raises OSError."""
    try:
        folder.mkdir(mode=0o700)
    except FileNotFoundError:
        make(folder.parent)
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if folder.is_dir():
            return
        raise
    folder.chmod(0o700)  # a umask may have taken rights away from us, too


def exposed(*folders: Path) -> list[str]:
    """A complaint if others than their owner may get at these folders or what is in them."""
    found: dict[Path, Path] = {}  # in which folder
    for folder in folders:
        for path in [folder, *sorted(folder.iterdir())[:MAX_FILES]]:
            mode = path.stat(follow_symlinks=False).st_mode
            if mode & OTHERS and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                found[path] = folder
    if not found:
        return []
    import shlex  # with 3 ms that hardly any start needs

    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    where = " ".join(shlex.quote(str(folder)) for folder in dict.fromkeys(found.values()))
    return [
        f"others on this machine may read {next(iter(found))}{more}, which is nobody else's "
        f"business: chmod -R go= {where}"
    ]
