"""What ``avseg --version`` says: this program, the libraries it stands on, and the model it carries."""

from __future__ import annotations

import hashlib
import json
import sys

from avseg_cli.base.version import __version__

LIBRARIES = ("torch", "av", "numpy", "safetensors", "typer")
OF_EXTRAS = ("torchvision",)  # told of where they are there


def version_text() -> str:
    """A line each for the program, the libraries and the default model; loads none of them."""
    python = ".".join(map(str, sys.version_info[:3]))
    libraries = ", ".join(f"{name} {found or 'not installed'}" for name, found in library_versions().items())
    return f"avseg {__version__} (Python {python})\nlibraries: {libraries}\nmodel: {_default_model()}"


def library_versions() -> dict[str, str | None]:
    """The installed version of each library; None where one that is needed is missing."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for name in (*LIBRARIES, *OF_EXTRAS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            if name in LIBRARIES:
                found[name] = None
    return found


def _default_model() -> str:
    from avseg_cli.checkpoints.manifest import default_checkpoint

    path = default_checkpoint()
    if not path.is_file():
        return f"{path} is missing; reinstall avseg"
    content = path.read_bytes()
    return f"default is {path.stem}, {_backbone(content)}, SHA-256 {hashlib.sha256(content).hexdigest()[:16]}"


def _backbone(content: bytes) -> str:
    """The backbone a checkpoint's header names: read here so that --version does not wait for torch."""
    header = int.from_bytes(content[:8], "little")
    try:
        about = json.loads(json.loads(content[8 : 8 + header])["__metadata__"]["avseg"])
        return f"backbone {about['config']['backbone']}"
    except (ValueError, KeyError, TypeError):
        return "damaged"
