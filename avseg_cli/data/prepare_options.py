"""What `avseg prepare` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avseg_cli.base.option_fields import MOST_WORKERS, check, option


@dataclass(frozen=True)
class PrepareOptions:
    """What of a subset below the data root is made. Raises ``InputError`` for a field out of its bounds."""

    data: str | Path
    subset: str
    log_mel: bool = option(False, "Also write AVSBench's pickled log-mel.")
    overwrite: bool = option(False, "Make again what is there.")
    workers: int | None = option(None, "Processes. [default: all cores]", least=1, most=MOST_WORKERS)

    def __post_init__(self) -> None:
        check(self)
