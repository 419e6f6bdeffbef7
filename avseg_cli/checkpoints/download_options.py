"""What `avseg weights download` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avseg_cli.base.option_fields import check, option


@dataclass(frozen=True)
class DownloadOptions:
    """Where files come from and how patiently. Raises ``InputError`` for a field out of its bounds."""

    mirror: str | None = option(  # https://…, holds the files under their own names
        None, "Ask this address for the files instead.", metavar="URL", variable="AVSEG_MIRROR"
    )
    folder: Path | None = option(
        None, "Take the files from a folder; no network is used.", metavar="FOLDER", flags=("--from",)
    )
    offline: bool = option(False, "Never use the network.", variable="AVSEG_OFFLINE")
    insecure: bool = option(False, "Allow a mirror on plain http; checksums still pin what comes.")
    timeout: float = option(30.0, "Try again after so long without a byte.", least=0.1, most=86_400, metavar="SECONDS")
    tries: int = option(6, "Give up after so many attempts in a row that bring nothing.", least=1, most=1000)
    first_wait: float = 1.0  # seconds, doubled after each failure

    def __post_init__(self) -> None:
        check(self)
