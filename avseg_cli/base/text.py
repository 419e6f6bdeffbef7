"""Text that comes from files, made fit for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def printable(text: str) -> str:
    """``text`` without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def clock(seconds: float) -> str:
    """1:02:03, 2:03, or 0:03.5: a time as people read it; tenths only where there are any."""
    tenths = round(max(0.0, seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    whole = f"{rest // 10:02d}" + (f".{rest % 10}" if rest % 10 else "")
    return f"{hours}:{minutes:02d}:{whole}" if hours else f"{minutes}:{whole}"


def lasting(seconds: float) -> str:
    """ "2.1 days", "40 seconds": how long something takes."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def counted(number: int, thing: str) -> str:
    """1 mask, 2 masks."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def counted_by(counts: Mapping[str, int], thing: str) -> str:
    """2 train, 1 val clips: what there is of a thing, part by part."""
    parts = ", ".join(f"{count} {part}" for part, count in counts.items())
    return f"{parts} {counted(sum(counts.values()), thing).split(' ', 1)[1]}"


def either(values: Iterable[str], end: str = ".") -> str:
    """The words for a help text: "this, that or the other."."""
    *most, last = values
    return f"{', '.join(most)} or {last}{end}" if most else f"{last}{end}"
