"""One page that leads to the reports of many videos."""

from __future__ import annotations

import os
import re
from math import isfinite
from pathlib import Path
from typing import Any

from avseg_cli.base.json_text import parse_json
from avseg_cli.pages.html import page, stamp, write_page
from avseg_cli.segment.batch import Outcome

NAME = "index.avseg.html"
HEAD = 200_000  # characters of a report in which its card is found
CARD = re.compile(r'<script type="application/json" id="card">(.*?)</script>', re.S)
FACTS = {
    "length": (int, float),
    "masks": int,
    "changes": int,
    "warnings": list,
    "sounding": (int, float),
    "poster": str,
}  # what a card holds


def index_path(pages: list[Path], folder: str | None) -> Path:
    """Where the index of several reports goes: into the output folder, or where all their folders meet."""
    return (Path(folder) if folder else Path(os.path.commonpath([page.absolute().parent for page in pages]))) / NAME


def write_index(path: Path, reports: list[tuple[Outcome, Path]]) -> None:
    """List each outcome with its report, those made earlier too; raises ``OutputError`` when it cannot be written.

    What is said of a report comes from the page itself, so that a second run can list what the first one made.
    """
    cards = [_card(outcome, report, path.parent) for outcome, report in reports]
    done = sum("link" in card for card in cards)
    title = f"{done} report{'s' * (done != 1)}" + (f", {len(cards) - done} failed" if done < len(cards) else "")
    write_page(path, page("index.html", title=title, cards=cards, **stamp()))


def _card(outcome: Outcome, report: Path, folder: Path) -> dict[str, Any]:
    """What the index says of one input: its report's own words, or why there is none."""
    if outcome.error or not report.is_file():
        return {"title": str(outcome.source), "error": str(outcome.error or "no report was made")}
    link = Path(os.path.relpath(report, folder)).as_posix()
    return {**_own_words(report), "title": str(outcome.source), "link": link}


def _own_words(report: Path) -> dict[str, Any]:
    """What a report says of itself; nothing where somebody edited or damaged it."""
    with open(report, encoding="utf-8", errors="replace") as file:
        found = CARD.search(file.read(HEAD))
    try:
        said = parse_json(found.group(1)) if found else {}
        facts = {name: said[name] for name in FACTS}
        numbers = [value for value in facts.values() if isinstance(value, float)]
        whole = all(isinstance(facts[name], kinds) for name, kinds in FACTS.items()) and all(map(isfinite, numbers))
        return facts if whole else {}
    except (ValueError, KeyError, TypeError):
        return {}
