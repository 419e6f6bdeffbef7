"""From templates and values to one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from avseg_cli.media.preview import clock


def page(template: str, **values: Any) -> str:
    """The HTML of a template of this package. Text in ``values`` is escaped; a missing value is an error."""
    environment = Environment(
        loader=PackageLoader("avseg_cli.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["clock"] = clock
    return environment.get_template(template).render(**values)


def picture_uri(image: Image.Image, kind: str = "JPEG", **options: Any) -> str:
    """A picture as a ``data:`` address, for pages that carry their pictures."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def lines_of_json(head: dict[str, Any], name: str, rows: list[Any]) -> str:
    """``head`` and a list ``name`` as one JSON document that reads well: each row on a line of its own."""
    listed = ",\n  ".join(json.dumps(row) for row in rows)
    return json.dumps(head, indent=1)[:-2] + f',\n "{name}": [\n  {listed}\n ]\n}}'
