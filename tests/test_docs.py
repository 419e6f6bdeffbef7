"""What README.md, CONTRIBUTING.md and docs/ say is so: their commands, options, formats, extras, links and code."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer
from command_line import run_avseg
from media_files import Clip

import avseg_cli
from avseg_cli.base import errors
from avseg_cli.checkpoints.checkpoint import read_info
from avseg_cli.cli import app
from avseg_cli.model.backbones import BACKBONES
from avseg_cli.model.empty import empty_model
from avseg_cli.model.fusion import FUSIONS
from avseg_cli.model.kinds import HEARD, SEEN
from avseg_cli.outputs.formats import FORMATS
from avseg_cli.outputs.results import MaskResult

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
AVSEG = typer.main.get_command(app)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> list[str]:
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", text(page), re.DOTALL | re.MULTILINE)


def command_lines(page: Path) -> list[list[str]]:
    """The words after ``avseg`` of every command line in a page's shell blocks and inline code."""
    lines = [line for block in blocks(page, "sh", "bash") for line in block.replace("\\\n", " ").splitlines()]
    lines += [code for code in re.findall(r"`(avseg [^`]+)`", text(page)) if "…" not in code]
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        ends = [i for i, word in enumerate(words) if word in ("|", ">", "&&")]
        for start, end in zip([-1, *ends], [*ends, len(words)], strict=True):
            part = words[start + 1 : end]
            names = [i for i, word in enumerate(part) if word in ("avseg", "avseg_cli") or word.endswith("/avseg")]
            if names and (names[0] == 0 or part[0] in ("torchrun", "xargs", "parallel")):
                found.append(part[names[0] + 1 :])
    return found


def check_command(words: list[str]) -> None:
    command, options = AVSEG, {"--help"}
    for before, word in zip(["", *words], words, strict=False):
        if hasattr(command, "commands") and not word.startswith("-") and not before.startswith("-"):
            assert word in command.commands, f"no command {word}"
            command, options = command.commands[word], {"--help"}
        options |= {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        if re.match(r"--?[a-z]", word):
            assert word.split("=")[0] in options, f"{command.name} has no {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_exists(page: Path) -> None:
    for words in command_lines(page):
        check_command(words)


def test_the_commands_of_the_pages_are_found_and_wrong_ones_noticed() -> None:
    assert ["segment", "examples/speaks.mp4"] in command_lines(ROOT / "README.md")
    assert sum(len(command_lines(page)) for page in PAGES) > 60
    with pytest.raises(AssertionError, match="segment has no --fsp"):
        check_command(["segment", "clip.mp4", "--fsp", "2"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text(page)):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_the_pages_parses_and_imports_what_is_public(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "avseg_cli":
                assert {alias.name for alias in node.names} <= set(avseg_cli.__all__)


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    readme = text(ROOT / "README.md")
    assert len(readme.encode()) <= 8000
    assert not [page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name}" not in readme]


def test_the_table_of_formats_is_the_registry() -> None:
    rows = re.findall(r"^\| `([a-z-]+)`.*?\| `clip(\S+?)(?:/\S+)?` \|", text(ROOT / "docs/segment.md"), re.MULTILINE)
    assert sorted(rows) == sorted((name, FORMATS[name].suffix) for name in FORMATS)


def test_the_exit_codes_are_those_of_the_errors() -> None:
    codes = {
        int(code)
        for code in re.findall(
            r"\b(\d+) [a-z]", text(ROOT / "docs/segment.md").split("Exit codes: ")[1].split("\n\n")[0]
        )
    }
    raised = {
        kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert raised <= codes


def test_the_fusions_and_extras_are_all_named() -> None:
    named = re.search(r"--fusion ([a-z|]+)", text(ROOT / "docs/training.md"))
    assert named and set(named[1].split("|")) == set(FUSIONS)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    table = text(ROOT / "docs/install.md").split("| extra |")[1]
    assert not [name for name in project["optional-dependencies"] if f"`{name}`" not in table]


def test_the_map_of_the_rooms_has_every_room() -> None:
    rooms = {path.parent.name for path in Path(avseg_cli.__file__).parent.glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)/`", text(ROOT / "CONTRIBUTING.md"), re.MULTILINE)) == rooms


def test_what_notice_names_is_there() -> None:
    """A picture that has a licence of its own must not be named after it is gone."""
    named = re.findall(r"[\w./-]+\.(?:mp4|png|jpg|safetensors)\b", re.sub(r"https?:\S+", "", text(ROOT / "NOTICE")))
    places = [name if "/" in name else f"examples/{name}" for name in named]
    assert len(places) >= 5 and [place for place in places if not (ROOT / place).is_file()] == []


def test_whose_checkpoints_are_public() -> None:
    readme = text(ROOT / "README.md")
    assert "no trained SAM-backbone checkpoint is public" not in readme
    for page in (readme, text(ROOT / "docs/weights.md")):
        assert "https://github.com/jinxiang-liu/anno-free-AVS" in page and "weights import" in page


def test_the_readme_has_the_figures_of_the_last_campaign() -> None:
    table = text(ROOT / "docs/withstands.md").split("| inputs tried |")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]

    def total(column: int) -> int:
        return sum(int(row[column].split()[0]) for row in rows if row[column])

    said = re.search(r"(\d+) hostile inputs and (\d+) faults .*?; (\d+) outputs were lost", text(ROOT / "README.md"))
    assert said and tuple(map(int, said.groups())) == (total(0), total(3), total(4))


def test_the_card_counts_the_parameters_of_the_model() -> None:
    said = re.search(r"([\d.]+) M parameters in 16 bits", text(ROOT / "weights/README.md"))
    model = empty_model(read_info(ROOT / "weights/avseg-small.safetensors").config)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert said and said[1] == f"{count / 1e6:.1f}"


def test_the_page_of_json_names_all_that_a_run_writes(tmp_path: Path, capfd, monkeypatch) -> None:
    page = text(ROOT / "docs/json.md")
    line, document, mask = (
        set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE))))
        for table in re.split(r"^\| key.*$", page, flags=re.MULTILINE)[1:]
    )
    Clip(seconds=2).write(tmp_path / "clip.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    run = ("segment", tmp_path, "-o", tmp_path / "out", "--format", "json,masks", "--device", "cpu", "--json", "-q")
    failed, done = sorted(map(json.loads, run_avseg(capfd, monkeypatch, *run).out.splitlines()), key=len)
    skipped = json.loads(run_avseg(capfd, monkeypatch, *run, "--skip-existing").out.splitlines()[-1])
    assert set(failed) | set(done) | set(skipped) | {"worker"} == line
    found = json.loads((tmp_path / "out/clip.avseg.json").read_text())
    assert set(found) | {"audio"} == document and set(found["masks"][0]) == mask
    beside = json.loads((tmp_path / "out/clip.avseg.masks/masks.json").read_text())
    assert set(beside) | {"audio", "masks"} == document | {"frames"} and set(beside["frames"][0]) == {"file", "time"}
    assert f"`{found['format']}`" in page and f"`{beside['format']}`" in page


def test_the_page_of_json_says_how_sure_an_empty_mask_is() -> None:
    empty = MaskResult(0, 0.0, 1.0, np.full((2, 2), np.log(0.3 / 0.7), np.float32), (8, 8), 8)
    assert not empty.mask.any() and empty.confidence == pytest.approx(1 - 0.3)
    assert "where nothing is marked, 1 minus the highest probability" in text(ROOT / "docs/json.md")


def test_the_card_names_every_kind() -> None:
    table = text(ROOT / "weights/README.md").split("## The kinds it knows")[1].split("\n## ")[0]
    heading, _, *rows = [line.split("|")[2:4] for line in table.splitlines() if line.startswith("|")]
    for count, cells, kinds in zip(heading, zip(*rows, strict=True), (HEARD, SEEN), strict=True):
        named = re.findall(r"\w+", re.sub(r"\([^)]*\)", "", " ".join(cells)))
        assert sorted(named) == sorted(kinds) and count.split()[0] == str(len(kinds))


def test_the_page_of_the_default_model_tells_the_epochs_of_its_recipe() -> None:
    said = " ".join(text(ROOT / "docs/training-small.md").split())
    image, last = re.search(
        r"each of the (\d+) epochs of pretrain-image and 28 for each of the (\d+) of", said
    ).groups()
    recipes = BACKBONES["small"].recipes
    assert (recipes["pretrain-image"]["epochs"], recipes["2"]["epochs"]) == (int(image), int(last))
