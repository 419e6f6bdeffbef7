"""The output formats of ``avseg segment``, each with its writer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from avseg_cli.base.whole_files import discard, discard_abandoned, partial_name
from avseg_cli.base.writing import writing
from avseg_cli.outputs.preview import PreviewWriter
from avseg_cli.outputs.report import ReportWriter
from avseg_cli.outputs.side_by_side import SideBySideWriter
from avseg_cli.outputs.writers import CutoutWriter, Job, JsonWriter, MasksWriter, OverlayWriter, Writer

WRITERS: dict[str, Callable[[Path, Job], Writer]] = {
    "overlay": OverlayWriter, "masks": MasksWriter, "cutout": CutoutWriter, "json": JsonWriter,
    "preview": PreviewWriter, "side-by-side": SideBySideWriter, "report": ReportWriter,
}  # fmt: skip


def open_writer(name: str, path: Path, job: Job) -> Writer:
    """Start writing ``path`` in format ``name``, making its folder; raises ``OutputError`` when refused."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        discard_abandoned(path.parent)
        discard(partial_name(path))
        try:
            return WRITERS[name](path, job)
        except BaseException:
            discard(partial_name(path))
            raise
