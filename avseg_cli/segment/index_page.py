"""One page that leads to the reports of many videos: a hundred thousand, too.

The page holds a short row for each video, so that all can be searched at once. A few thumbnails are part of it; many
lie in files beside it, some in each, of which a browser loads those on the screen.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any

from avseg_cli.base.json_text import parse_json
from avseg_cli.base.whole_files import discard, write_whole
from avseg_cli.base.writing import writing
from avseg_cli.pages.html import address, page, stamp, write_page

NAME = "index.avseg.html"
OTHER_NAME = "reports.avseg.index.html"  # where the report of a video called index has the first; no report ends so
BESIDE = "index.avseg.thumbnails"  # the folder of the thumbnails that are not part of the page
TOGETHER = 24  # videos whose thumbnails lie in one file
INSIDE = 48  # videos whose thumbnails the page itself can hold
HEAD, BLOCK = 200_000, 16_384  # characters of a report in which its card is found, and that are read at once
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
    path = (Path(folder) if folder else Path(os.path.commonpath([page.absolute().parent for page in pages]))) / NAME
    of_a_video = any(_spelt_alike(page, path) for page in pages) or (path.is_file() and _own_words(path))
    return path.with_name(OTHER_NAME) if of_a_video else path


def _spelt_alike(one: Path, other: Path) -> bool:
    """Whether two paths are one on some disk: of many, capitals do not count."""
    return one.name.casefold() == other.name.casefold() and os.path.abspath(one.parent) == os.path.abspath(other.parent)


def write_index(path: Path, reports: list[tuple[Path, Path]], unmade: dict[Path, str]) -> None:
    """List each input with its report, those made earlier too; raises ``OutputError`` when it cannot be written.

    reports: (input, its report); unmade: of inputs without one, why. What is said of a report comes from the page
    itself, so that a second run can list what the first one made.
    """
    rows: list[list[Any]] = []
    beside = path.with_name(BESIDE)
    with writing(beside):
        discard(beside)
        if len(reports) > INSIDE:
            beside.parent.mkdir(parents=True, exist_ok=True)
            write_whole(beside, lambda partial: _write_beside(partial, _cards(reports, unmade, path.parent, rows)))
            inside = []
        else:
            inside = list(_cards(reports, unmade, path.parent, rows))
    made = sum(bool(row[1]) for row in rows)
    title = f"{made:,} report{'s' * (made != 1)}" + (f", {len(rows) - made:,} without" if made < len(rows) else "")
    write_page(
        path, page("index.html", title=title, rows=rows, inside=inside, beside=BESIDE, together=TOGETHER, **stamp())
    )


def _write_beside(folder: Path, posters: Iterable[str]) -> None:
    """Files of ``TOGETHER`` thumbnails each, as scripts: a page that was opened from a disk may load nothing else."""
    folder.mkdir()
    together: list[str] = []
    number = 0
    for poster in posters:
        together.append(poster)
        if len(together) == TOGETHER:
            _write_thumbnails(folder, number, together)
            together, number = [], number + 1
    if together:
        _write_thumbnails(folder, number, together)


def _write_thumbnails(folder: Path, number: int, posters: list[str]) -> None:
    (folder / f"{number}.js").write_text(f"thumbnails({number},{json.dumps(posters)})", encoding="utf-8")


def _cards(
    reports: list[tuple[Path, Path]], unmade: dict[Path, str], folder: Path, rows: list[list[Any]]
) -> Iterator[str]:
    """Add the row of each input to ``rows``, and give its thumbnail, which may be empty.

    A row: name, address, length in seconds, share that sounds, changes, warnings, what is heard, why it has no report.
    """
    for source, report in reports:
        why = unmade.get(source) or ("" if report.is_file() else "no report was made")
        said = {} if why else _own_words(report)
        link = "" if why else address(Path(os.path.relpath(report, folder)).as_posix())
        facts = [said[name] for name in ("length", "sounding", "changes")] if said else [None] * 3
        rows.append([str(source), link, *facts, len(said.get("warnings", ())), said.get("heard", ""), why])
        yield said.get("poster", "")


def _own_words(report: Path) -> dict[str, Any]:
    """What a report says of itself; nothing where somebody edited or damaged it."""
    found, text = None, ""
    with open(report, encoding="utf-8", errors="replace") as file:
        while not found and len(text) < HEAD and (block := file.read(BLOCK)):
            text += block
            found = CARD.search(text)
    try:
        said = parse_json(found.group(1)) if found else {}
        facts = {name: said[name] for name in FACTS}
        numbers = [value for value in facts.values() if isinstance(value, float)]
        whole = all(isinstance(facts[name], kinds) for name, kinds in FACTS.items()) and all(map(isfinite, numbers))
        whole = whole and facts["poster"].startswith("data:image/")
        heard = said.get("heard")  # pages of earlier versions lack it
        return {**facts, "heard": heard if isinstance(heard, str) else ""} if whole else {}
    except (ValueError, KeyError, TypeError):
        return {}
