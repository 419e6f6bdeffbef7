"""Whose a fetched file is: the most particular of the notices that come with it.

A README beside a picture names its author; a wallpaper's metadata does; the package's copyright file speaks
of whole folders. Each record has the keys licence and copyright, and source_url where the notice has one.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from avseg_cli.base.errors import DataError
from avseg_cli.base.json_text import parse_json

Licence = dict[str, str]
Read = Callable[[str], str | None]  # the text of a file of the same package or archive, if it is there


def package_licence(packages: Path, package: str, path: str) -> tuple[Licence, bool]:
    """What the package's copyright file says of a path: the last matching paragraph counts.

    The second value tells whether that paragraph names the file or its folder, rather than just everything.
    """
    text = (packages / package / "usr/share/doc" / package / "copyright").read_text(errors="replace")
    found, particular = {"licence": f"see the copyright file of {package}", "copyright": ""}, False
    for paragraph in text.split("\n\n"):
        fields = _indented_fields(paragraph)
        patterns = fields.get("Files", "").split()
        named = any(fnmatch.fnmatch(path, f"*{pattern}") for pattern in patterns if pattern != "*")
        if named or "*" in patterns:
            found = {"licence": fields.get("License", ""), "copyright": fields.get("Copyright", "")}
            particular = named
    return found, particular


def readme_licence(path: str, read: Read) -> Licence | None:
    """What a README in the file's folder, or in one above it, says of the file."""
    file = PurePosixPath(path)
    for folder in file.parents:
        notice = read(str(folder / "README"))
        if notice is not None:
            return _listed_licence(notice, str(file.relative_to(folder)))
    return None


def folder_licence(path: str, read: Read) -> Licence | None:
    """The title of the licence text that lies beside the file."""
    text = read(str(PurePosixPath(path).parent / "Licence.txt"))
    return {"licence": text.strip().splitlines()[0], "copyright": ""} if text else None


def wallpaper_licence(folder: Path) -> Licence | None:
    """Author and licence from the metadata.json of a wallpaper's folder. Raises DataError when it is damaged."""
    path = folder / "metadata.json"
    if not path.is_file():
        return None
    try:
        plugin = parse_json(path.read_text(encoding="utf-8")).get("KPlugin", {})
        authors = ", ".join(author.get("Name", "") for author in plugin.get("Authors", []))
        return {"licence": str(plugin["License"]), "copyright": authors} if "License" in plugin else None
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} does not name an author and a licence ({error}); fetch the package again") from error


def _listed_licence(text: str, name: str) -> Licence | None:
    """The README's paragraph that lists the file: fields, then ``Files:`` and one name a line."""
    for paragraph in text.replace("\r", "").split("\n\n"):
        lines = [line.strip() for line in paragraph.splitlines()]
        if name in lines:
            fields = dict(line.split(":", 1) for line in lines if ":" in line)
            fields = {key: value.strip() for key, value in fields.items()}
            found = {"licence": fields.get("License", ""), "copyright": fields.get("Copyright", "")}
            return found | ({"source_url": fields["Source"]} if "Source" in fields else {})
    return None


def _indented_fields(paragraph: str) -> dict[str, str]:
    """``Key: value`` lines whose values go on in indented lines."""
    fields: dict[str, str] = {}
    key = ""
    for line in paragraph.splitlines():
        if line[:1].isspace():
            fields[key] = f"{fields.get(key, '')} {line.strip()}".strip()
        elif ":" in line:
            key, value = line.split(":", 1)
            fields[key] = value.strip()
    return fields
