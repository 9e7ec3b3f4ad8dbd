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
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = self._rest + lines[0]
            self._rest = b""
        self._rest = (self._rest + rest)[: self._keep]
        return [line[: self._keep].decode(errors="replace") for line in lines]

    def end(self) -> list[str]:
        """The last line, if no line break ended it."""
        rest, self._rest = self._rest, b""
        return [rest.decode(errors="replace")] if rest else []
