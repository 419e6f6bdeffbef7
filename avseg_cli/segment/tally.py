"""What became of all the inputs of a run, kept small: a run may have a million."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from avseg_cli.base.text import clock, counted

if TYPE_CHECKING:
    from avseg_cli.segment.outcome import Outcome

FEW = 40  # inputs that are told of one by one
EXISTS, NO_SOUND = "exists", "no sound track"  # reasons to skip an input
ORDER = ("done", "planned", "skipped", "failed")  # of what is told


class Tally:
    """Counts outcomes. ``few`` are the outcomes themselves, of the first ``FEW``; ``unmade`` says why an input has no
    outputs, in a sentence; ``failed`` are the first ``FEW`` sentences of those that failed."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.few: list[Outcome] = []
        self.unmade: dict[Path, str] = {}
        self.failed: list[str] = []
        self.model = ""
        self._warned = 0
        self._codes: set[int] = set()

    def add(self, outcome: Outcome, said: str) -> None:
        """said: the outcome's error as a sentence, where there is one."""
        self.counts[f"skipped ({outcome.reason})" if outcome.reason else outcome.status] += 1
        if len(self.few) < FEW:
            self.few.append(outcome)
        if outcome.rendered:
            self.model = outcome.rendered.model
            self._warned += bool(outcome.rendered.warnings)
        if outcome.error:
            self._codes.add(outcome.error.exit_code)
            self.unmade[outcome.source] = said
            self.failed += [said] if len(self.failed) < FEW else []
        elif outcome.reason == NO_SOUND:
            self.unmade[outcome.source] = NO_SOUND

    @property
    def total(self) -> int:
        """How many inputs are done with."""
        return sum(self.counts.values())

    @property
    def exit_code(self) -> int:
        """0 when nothing failed; the failures' own code when they share one, else 1."""
        return 0 if not self._codes else next(iter(self._codes)) if len(self._codes) == 1 else 1

    def words(self, seconds: float) -> str:
        """Such as 401 inputs in 3:20: 396 done, 4 skipped (no sound track), 1 failed."""
        order = sorted(self.counts, key=lambda status: (ORDER.index(status.partition(" ")[0]), status))
        told = [f"{self.counts[status]} {status}" for status in order]
        told += [f"{self._warned} with warnings"] if self._warned else []
        return f"{counted(self.total, 'input')} in {clock(round(seconds))}{': ' if told else ''}{', '.join(told)}"
