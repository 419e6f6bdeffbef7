"""From templates and values to one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from avseg_cli.base.text import clock, counted
from avseg_cli.base.version import __version__
from avseg_cli.base.whole_files import write_whole
from avseg_cli.base.writing import writing


def page(template: str, **values: Any) -> str:
    """The HTML of a template of this package. Text in ``values`` is escaped; a missing value is an error."""
    environment = Environment(
        loader=PackageLoader("avseg_cli.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clock": clock, "address": address, "counted": counted}
    return environment.get_template(template).render(**values)


def address(path: str) -> str:
    """A relative path as a link; names of files need not be text."""
    return quote(os.fsencode(path))


def write(path: Path, text: str) -> None:
    """Write a page; what is no text in a file's name becomes a question mark."""
    path.write_text(text, encoding="utf-8", errors="replace")


def write_page(path: Path, text: str, option: str = "output") -> None:
    """Put a page in its place, whole or not at all; raises ``OutputError`` when the system refuses.

    option: what names the place.
    """
    with writing(path, option):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda partial: write(partial, text))


def stamp() -> dict[str, str]:
    """What every page says at its end."""
    return {"version": __version__, "made": f"{datetime.now():%Y-%m-%d %H:%M}"}


def picture_uri(image: Image.Image, kind: str = "JPEG", **options: Any) -> str:
    """A picture as a ``data:`` address, for pages that carry their pictures."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def lines_of_json(head: dict[str, Any], name: str, rows: list[Any]) -> str:
    """``head`` and a list ``name`` as one JSON document that reads well: each row on a line of its own."""
    listed = ",\n  ".join(json.dumps(row) for row in rows)
    return json.dumps(head, indent=1)[:-2] + f',\n "{name}": [\n  {listed}\n ]\n}}'
