"""Several processes that share one piece of work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sharing:
    """Which process of how many this is: each takes its slice of every global batch."""

    rank: int = 0
    world: int = 1

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            from torch import distributed

            distributed.barrier()
