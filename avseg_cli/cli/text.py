"""Text that comes from files, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
