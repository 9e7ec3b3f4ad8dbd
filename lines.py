"""The lines: what is piped in is cut into them.

Lives here: lines without a terminal. Never here: what a line means, reading (bytes are handed
in), any import of another module of selchat.
"""

from __future__ import annotations


class LineReader:
    """Cuts piped bytes into lines, at b"\\n" and nowhere else."""

    def __init__(self, limit_bytes: int) -> None:
        """Of a longer line one byte more than `limit_bytes` is kept: enough to refuse it."""
        self._keep = limit_bytes + 1
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """All of them are decoded at once: no line break is ever part of another character."""
        end = data.rfind(b"\n")
        if end < 0:
            self._rest = (self._rest + data)[: self._keep]
            return []
        whole, self._rest = self._rest + data[:end], data[end + 1 :][: self._keep]
        return [line[: self._keep] for line in whole.decode(errors="replace").split("\n")]

    def end(self) -> list[str]:
        """The last line, if no line break ended it."""
        rest, self._rest = self._rest, b""
        return [rest.decode(errors="replace")] if rest else []
