"""What a benchmark has found: one figure for each thing, with all of its repetitions.

Lives here: a figure, its median and spread, and how large a run is to be. Never here: how anything
is measured, or how it is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One thing that was measured of one contestant."""

    measure: str  # the letter that the report knows it by: "a"
    what: str  # "1 to 8"
    who: str  # "selchat"
    unit: str  # "lines/s"
    values: tuple[float, ...]  # one for each repetition
    note: str = ""  # what a number can't say: "2 of 8 were cut off"

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> float:
        """From the least to the most, as a share of the median: 0.1 is plus or minus 5 %."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0


@dataclass(frozen=True)
class Plan:
    """How large a run is to be."""

    fast: bool  # less of everything: to see that it runs, and the order of magnitude
    repetitions: int
    say: Callable[[str], None]  # tells whoever waits what is being done
    failures: list[str] = field(default_factory=list)  # what did not run, a line for each
