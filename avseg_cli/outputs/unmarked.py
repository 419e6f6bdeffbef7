"""Why nothing is marked where something is heard, told by everything that tells of masks."""

from __future__ import annotations

from collections.abc import Mapping

from avseg_cli.base.text import counted

PAUSE = "a pause"
UNSEEN = "a voice, no face seen"
QUIET = "quiet"  # what is heard in a pause: too little for a name


def in_words(reasons: Mapping[str, int], masks: int) -> str:
    """Those of so many masks that mark nothing: "nothing marked in 2 of 9 masks: a pause"; empty where none is."""
    told = [f"{count} of {counted(masks, 'mask')}: {reason}" for reason, count in sorted(reasons.items())]
    return f"nothing marked in {'; in '.join(told)}" if told else ""
