"""avseg ablate: variants share what they can, are not done twice, and stand beside the published figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from miniature import make
from typer.testing import CliRunner

from avseg_cli.ablation import ablate as job
from avseg_cli.ablation.ablate import SETS, VARIANTS, VariantScore, choose, to_markdown
from avseg_cli.base.errors import InputError, OutputError
from avseg_cli.checkpoints.checkpoint import save_checkpoint
from avseg_cli.cli import app
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import FUSIONS
from avseg_cli.training.run_folder import StageFolder
from avseg_cli.training.train_options import TrainOptions


def test_variants_run_once_and_fill_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make(tmp_path / "data", "ms3", {"train": 2, "val": 1, "test": 1})
    out = tmp_path / "out"
    arguments = [
        "ablate", "--data", str(data), "--out", str(out), "--backbone", "tiny", "--epochs", "1", "--limit-clips", "2",
        "--device", "cpu", "--json", "--variants", "full,no-adapters,fusion-none,fusion-sama,fusion-jca,depth-1",
        "--pretrained", str(tmp_path / "earlier"), "--image-size", "64",
    ]  # fmt: skip
    best = StageFolder(tmp_path / "earlier/pretrain-image").best
    best.parent.mkdir(parents=True)
    save_checkpoint(best, AvsegModel(preset("tiny", image_size=64)))
    first = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    rows = json.loads(first.stdout)
    assert [row["variant"] for row in rows] == [
        "full",
        "no-adapters",
        "fusion-none",
        "fusion-sama",
        "fusion-jca",
        "depth-1",
    ]
    assert not (out / "no-adapters" / "2").exists() and (out / "full" / "2" / "done.json").is_file()
    assert rows[2]["checkpoint"].endswith("shared/1b/best.safetensors")
    assert len(list((out / "embeddings").iterdir())) == 2  # train and val, for all variants
    markdown = (out / "ablation.md").read_text()
    assert "| full ST-BAVA |" in markdown and "69.01" not in markdown and "| JCA |" in markdown
    assert "| none: the sound straight to the decoder |" in markdown and "| SAMA-AVS |" in markdown
    assert (out / "fusion-sama" / "1b" / "done.json").is_file() and (out / "depth.png").is_file()

    def no_training(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(job, "_train_variant", no_training)
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert json.loads(again.stdout) == rows

    monkeypatch.undo()  # another split is another result, of the same training
    other = CliRunner().invoke(app, [*arguments, "--variants", "full", "--split", "val"], catch_exceptions=False)
    (validation,) = json.loads(other.stdout)
    assert validation["checkpoint"] == rows[0]["checkpoint"]
    assert json.loads((out / "full" / "evaluation.json").read_text())["of"]["split"] == "val"
    for dry in ((), ("--dry-run",)):
        more = CliRunner().invoke(app, [*arguments, "--epochs", "2", *dry])
        assert isinstance(more.exception, OutputError) and "trained with epochs 1, not 2" in str(more.exception)
    again = CliRunner().invoke(app, [*arguments, "--split", "val", "--dry-run"], catch_exceptions=False)
    assert again.exit_code == 0, again.output


def test_sama_is_left_out_where_it_would_be_deaf() -> None:
    assert "fusion-sama" not in [variant.name for variant in job._fitting(choose(["table-6.2"]), frozen=True)]
    with pytest.raises(InputError, match="leave out frozen"):
        job._fitting(choose(["fusion-sama"]), frozen=True)


@pytest.mark.parametrize("frozen", [False, True])
def test_no_model_is_trained_for_two_rows(frozen: bool, tmp_path: Path) -> None:
    """Frozen, "without adapters" is what all are."""
    base = TrainOptions(data="data", subset="ms3", out="out", backbone="tiny", device="cpu")
    chosen = job._fitting(choose(["table-6.2", "table-6.3"]), frozen)
    trained = [job._options_of(base, variant, tmp_path, tmp_path / "adapters", frozen) for variant in chosen]
    models = [replace(options, out="").to_dict() for options in trained if options]
    assert len(models) > 7 and all(models.count(model) == 1 for model in models)


def test_the_papers_tables_are_sets() -> None:
    assert SETS["table-6.3"] == ("spatial-a2v", "no-temporal", "no-bidirectional", "no-adapters", "full")
    assert len(choose(["table-6.2"])) == 7 and len(choose(["all"])) == len(VARIANTS)
    assert len(choose(["full", "table-6.3", "full"])) == 5
    with pytest.raises(InputError, match="no variant 'no-sound'; choose from table-6.2"):
        choose(["no-sound"])


def test_every_fusion_has_a_variant() -> None:
    default = ModelConfig().fusion
    assert {f"fusion-{name}" for name in FUSIONS if name != default} == set(SETS["table-6.2"]) - {"full"}


def test_published_figures_are_those_of_the_subset() -> None:
    rows = [VariantScore("no-temporal", 0.5, 0.6, 0.61, "x")]
    assert "| 50.00 | 0.600 | 65.37 | 0.752 |" in to_markdown(rows, "ms3")
    assert "80.72 | 0.892" in to_markdown(rows, "s4")
    assert "| – | – |" in to_markdown(rows, "v2")
    composed = to_markdown(rows, "ms3", composed=True)
    assert composed.splitlines()[-2:] == ["|---|---|---|", "| without temporal attention | 50.00 | 0.600 |"]


def test_what_was_published_of_another_model_stands_beside_that_one() -> None:
    rows = [VariantScore(name, 0.5, 0.6, 0.61, "x") for name in ("fusion-none", "fusion-sama")]
    none, sama = to_markdown(rows, "ms3").strip().splitlines()[-2:]
    assert none.endswith("| – | – |") and "63.14 | 0.691" in sama


def test_scores_are_computed_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where bf16 is switched on: they are compared with others."""
    monkeypatch.setenv("AVSEG_BF16", "on")
    asked = []
    total = SimpleNamespace(miou=0.5, f=0.5, f_dataset=0.5)
    monkeypatch.setattr(job, "evaluate", lambda options: asked.append(options) or SimpleNamespace(total=total))
    base = TrainOptions(data="data", subset="ms3", out="out", device="cpu")
    job._evaluate_variant(base, VARIANTS["full"], tmp_path / "best", {"split": "test"}, tmp_path / "full/done.json")
    assert [options.precision for options in asked] == ["fp32"]
