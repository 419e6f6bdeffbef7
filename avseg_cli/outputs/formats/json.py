"""Times, areas, confidence, what is heard and COCO RLE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avseg_cli.outputs.formats import Format
from avseg_cli.outputs.growing import GrowingDocument
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.rle import encode_rle
from avseg_cli.outputs.sources import Source
from avseg_cli.outputs.writers import Job, Writer

SUFFIX = ".avseg.json"


class JsonWriter(Writer):
    """One document: the video, the model, and every mask with its time, area, confidence, what is heard (kinds of
    sounds with their probabilities, none from a model without kinds), why it marks nothing where a rule says so, COCO
    run lengths, and the sources in it; at the end all sources with their times.

    Masks are written as they come, so that the document of a long video never has to be held.
    """

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        head = {"format": "avseg-masks-1", **job.about, "video": job.video.to_dict()}
        self._document = GrowingDocument(self.partial, head, "masks")

    def take(self, result: MaskResult) -> None:
        self._document.add(
            {
                "index": result.index,
                "time": round(result.time, 6),
                "sound": [round(result.sound_end - 1, 6), round(result.sound_end, 6)],
                "area": result.area,
                "fraction": round(result.area / result.mask.size, 6),
                "confidence": round(result.confidence, 4),
                "heard": {kind: round(sure, 4) for kind, sure in result.heard},
                "loudness": round(result.loudness, 1),
                "unmarked": result.unmarked or None,
                "rle": encode_rle(result.mask),
                **({"sources": [source_entry(source) for source in result.sources]} if result.tracked else {}),
            }
        )

    def finish(self, summary: dict[str, Any]) -> None:
        self._document.finish(summary)

    def abort(self) -> None:
        self._document.close()
        super().abort()


def source_entry(source: Source) -> dict[str, Any]:
    """A source as the documents have it: bbox is (x, y, width, height) in pixels, label null where none is known."""
    return {
        "id": source.id,
        "label": source.label or None,
        "confidence": round(source.confidence, 4),
        "area": source.area,
        "bbox": list(source.bbox),
        "rle": encode_rle(source.mask),
    }


FORMAT = Format(writer=JsonWriter, suffix=SUFFIX, files=(".json",))
