"""Each format declares itself in its file; help, completion and names follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from avseg_cli.base.errors import InputError
from avseg_cli.cli.segment import FLAGGED, _lower
from avseg_cli.outputs.formats import FORMATS
from avseg_cli.segment.inputs import InputVideo, plan_outputs


@pytest.mark.parametrize("name", FORMATS.names)
def test_a_format_is_told_of_without_being_imported(name: str) -> None:
    kind = FORMATS[name]
    assert FORMATS.constant(name, "SUFFIX") == kind.suffix and kind.suffix.startswith(".avseg.")
    assert 10 < len(FORMATS.summary(name)) < 250
    assert not kind.files or Path(kind.suffix).suffix in kind.files
    assert kind.several == (not kind.files or kind.beside(Path("clip.avseg.html")) != ())


def test_names_keep_their_capitals_in_the_help() -> None:
    assert _lower("The video as it is.") == "the video as it is" and _lower("A folder") == "a folder"
    assert _lower("COCO's instances.") == "COCO's instances" and _lower("YouTube-VIS: x") == "YouTube-VIS: x"


def test_names_follow_from_the_formats() -> None:
    plan = plan_outputs([InputVideo(Path("talks/clip.mp4"), Path("clip.mp4"))], None, list(FORMATS))[0]
    assert plan == {name: Path(f"talks/clip{FORMATS[name].suffix}") for name in FORMATS}
    assert set(FLAGGED) == {"preview", "report", "side-by-side"}
    with pytest.raises(InputError, match="no format named 'gif'; choose one of coco, cutout, json,"):
        FORMATS["gif"]
