"""What the shell offers for an option's value. Nothing heavy is imported: every press of Tab runs this."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Complete = Callable[[str], list[str]]


def one_of(*values: str) -> Complete:
    """One of a few words."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def list_of(*values: str) -> Complete:
    """Several words with commas between: completes the last one, and offers each once."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [before + comma + value for value in values if value.startswith(last) and value not in taken]

    return complete


def checkpoints(incomplete: str) -> list[str]:
    """The embedded models by name, and checkpoint files."""
    from avseg_cli.checkpoints.manifest import MODELS, weights_dir

    names = ["default", *sorted(path.stem for path in weights_dir().glob(MODELS))]
    return [name for name in names if name.startswith(incomplete)] + _paths(incomplete, ".safetensors")


def public_weights(incomplete: str) -> list[str]:
    """The names of what can be downloaded."""
    from avseg_cli.checkpoints.manifest import manifest

    return [name for name in (*manifest(), "all") if name.startswith(incomplete)]


def listed_weights(incomplete: str) -> list[str]:
    """The names of ``avseg weights list``."""
    from avseg_cli.checkpoints.manifest import MODELS, faces_file, manifest, weights_dir

    embedded = [path.stem for path in (*sorted(weights_dir().glob(MODELS)), faces_file())]
    return [name for name in (*manifest(), *embedded) if name.startswith(incomplete)]


def _paths(incomplete: str, suffix: str) -> list[str]:
    """Files with the suffix, and folders on the way to more, that begin like what is typed."""
    folder, _, start = incomplete.rpartition("/")
    place = Path(folder or ("/" if incomplete.startswith("/") else ".")).expanduser()
    before = incomplete[: len(incomplete) - len(start)]
    try:
        entries = sorted(place.iterdir())
    except OSError:
        return []
    fitting = [path for path in entries if path.name.startswith(start) and (start or path.name[0] != ".")]
    found = [before + path.name for path in fitting if path.suffix == suffix and path.is_file()]
    return found + [f"{before}{path.name}/" for path in fitting if path.is_dir()]


DEVICES = one_of("auto", "cpu", "cuda", "cuda:0", "mps")
PRECISIONS = one_of("auto", "fp32", "bf16", "fp16")
