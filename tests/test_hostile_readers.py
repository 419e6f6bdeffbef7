"""Changed files for what reads them: some of ``python -m tests.campaign --parts readers``, and what that found."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from campaign.fuzz import Broken, Reader, fuzz, outcome, prepare
from campaign.readers import READERS
from campaign.recipes import edit_header

from avseg_cli.base.errors import AvsegError
from avseg_cli.training.run_folder import StageFolder

CHANGES = 25


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVSEG_CACHE", str(tmp_path / "cache"))


@pytest.mark.filterwarnings("ignore")  # PyTorch's, about the age of what is broken
@pytest.mark.parametrize("name", READERS)
def test_changed_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    counts = fuzz(READERS[name], tmp_path, CHANGES, seed=0, shrink=True)
    assert counts.total() >= CHANGES


FOUND = {
    "table of S4": (lambda seed: seed.replace(b"category", b"kind"), "no column 'category'"),
    "licences of media": (lambda seed: b'{"objects/cow/cow.png": null}', "does not list a record for each file"),
    "metadata of a wallpaper": (lambda seed: b'{"KPlugin": {"Authors": 3}}', "does not name an author"),
    "settings of a run": (lambda seed: seed.replace(b'"accumulate": 1', b'"accumulate": "1"'), "accumulate is '1'"),
    "state of a run": (lambda seed: edit_header(seed, [(0, "put", None)]), "damaged, or of another run"),
    "evaluation of a variant": (lambda seed: seed.replace(b"50.0", b'"x"'), "not the scores of a variant"),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_a_traceback_is_a_sentence(name: str, tmp_path: Path) -> None:
    reader, (change, sentence) = READERS[name], FOUND[name]
    seed, peak = prepare(reader, tmp_path)
    assert outcome(reader, tmp_path, change(seed), peak) == "refused"
    with pytest.raises(AvsegError, match=sentence):
        reader.read(tmp_path)


def test_figures_that_no_recipe_has_are_laid_to_the_file(tmp_path: Path) -> None:
    reader = READERS["settings of a run"]
    seed, peak = prepare(reader, tmp_path)
    assert outcome(reader, tmp_path, seed.replace(b'"epochs": null', b'"epochs": -1'), peak) == "refused"


def test_an_edited_page_is_listed_without_its_words(tmp_path: Path) -> None:
    reader = READERS["page in an index"]
    seed, peak = prepare(reader, tmp_path)
    for card in (b'{"length": ', b'{"length": "long", "masks": 1}', b"3"):
        assert outcome(reader, tmp_path, re.sub(rb"\{.*\}", card, seed), peak) == "read"
        assert "clip.mp4" in (tmp_path / "index.avseg.html").read_text()


def test_records_end_where_one_is_damaged(tmp_path: Path) -> None:
    lines = READERS["metrics of a run"].seed(tmp_path).splitlines()
    stage = StageFolder(tmp_path)
    for damaged in (b'{"epoch": 2}', b"\xff", b"null", b'{"epoch": 2, "st'):
        (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([lines[0], damaged, lines[2]]))
        assert [record["epoch"] for record in stage.records()] == [1]


def test_a_reader_that_breaks_its_promise_is_noticed(tmp_path: Path) -> None:
    breaking = Reader("x.json", lambda folder: b'{"a": [1, 2]}', lambda folder: sum(_content(folder)["a"]))
    with pytest.raises(Broken, match="Error"):
        fuzz(breaking, tmp_path, CHANGES, seed=0)


def _content(folder: Path) -> dict[str, list[int]]:
    return json.loads((folder / "x.json").read_text())
