"""``--report`` of evaluate and train: what the pages show, and that a browser can show it."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import make
from PIL import Image
from typer.testing import CliRunner

from avseg_cli.cli import app
from avseg_cli.data.clips import read_clips
from avseg_cli.data.files import read_masks
from avseg_cli.data.subsets import find_subset
from avseg_cli.scoring.evaluate import EvaluateOptions, evaluate
from avseg_cli.scoring.examples import Example, Extremes
from avseg_cli.scoring.scores import ClipScore
from avseg_cli.scoring.scores_page import _strips
from avseg_cli.scoring.strips import FOUND, TRUE, strip
from avseg_cli.training.train_options import TrainOptions


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data"), "ms3", {"train": 1, "val": 2, "test": 3})


def run(*arguments: object) -> None:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output


def write_half_truth(data: Path, out: Path) -> None:
    """Masks that are right in the first clip and, in each further one, less so."""
    for number, clip in enumerate(read_clips(data, find_subset("ms3"), "test")):
        (out / clip.name).mkdir(parents=True)
        for k, mask in enumerate(read_masks(clip)):
            shifted = np.roll(mask, 12 * number, axis=0)
            Image.fromarray(shifted.astype(np.uint8) * 255).save(out / clip.name / f"{clip.name}_{k}.png")


def test_an_evaluation_shows_tables_curves_and_clips(data: Path, tmp_path: Path) -> None:
    write_half_truth(data, tmp_path / "masks")
    page, lines = tmp_path / "out/report.html", tmp_path / "clips.csv"
    run("evaluate", "--data", data, "--predictions", tmp_path / "masks", "--report", page, "--csv", lines)
    text = page.read_text()
    with open(lines, newline="") as file:
        scores = {row["name"]: float(row["miou"]) for row in csv.DictReader(file)}
    assert f"<td>{100 * np.mean(list(scores.values())):.2f}</td>" in text
    explained = re.findall(r"<dt>(.*?)</dt>", text.split("What the figures mean")[1].split("</dl>")[0])
    assert explained == re.findall(r"<th[^>]*>([^<]+)</th>", text)[:3], "columns, by the names they have"
    assert text.count("<svg") == 2 and "clips by IoU" in text and "F over the whole split" in text
    shown = re.findall(r'<b>(\w+)</b> <span class="quiet">IoU ([\d.]+)', text)
    assert [float(iou) for _, iou in shown] == pytest.approx([scores[name] for name, _ in shown], abs=1e-3)
    best = sorted(scores, key=lambda name: -scores[name])
    assert [name for name, _ in shown] == best, "best first; then, of the rest, the worst first"
    assert not re.search(r'(src|href)="(?!data:|#)', text)


def write_run_folder(out: Path, data: Path, checkpoint: Path) -> None:
    """What two stages of a run leave behind."""
    for stage, scores in (("1a", [0.1, 0.3, 0.2]), ("2", [0.25, 0.4375])):
        folder = out / stage
        folder.mkdir(parents=True)
        options = TrainOptions(
            data=str(data), subset="ms3", out=str(out), stages=("1a", "2"), backbone="tiny", device="cpu"
        )
        (folder / "config.json").write_text(json.dumps({"options": options.to_dict()}))
        (folder / "command.txt").write_text("avseg train <nothing>\n")
        (folder / "done.json").write_text("{}")
        lines = [
            json.dumps({"epoch": k, "step": k, "loss": 1 / k, "time": 60.0 * k, "score": score})
            for k, score in enumerate(scores, 1)
        ]
        (folder / "metrics.jsonl").write_text("\n".join(lines))
        (folder / "best.safetensors").write_bytes(checkpoint.read_bytes())


def test_a_run_shows_its_curves_and_its_validation_clips(data: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    write_run_folder(tmp_path / "run", data, tiny_checkpoint)
    run("train", "--resume", tmp_path / "run", "--report")
    text = (tmp_path / "run/report.html").read_text()
    assert "Stage 1a" in text and "Stage 2" in text and "<td>0.4375</td><td>2</td>" in text
    assert text.count('aria-label="training loss') == text.count('aria-label="validation score') == 2
    assert "val0" in text and "val1" in text and text.count("data:image/jpeg") == 2 * 3
    assert "&lt;nothing&gt;" in text


def test_a_report_of_no_run_is_an_error(tmp_path: Path) -> None:
    from avseg_cli.base.errors import OutputError
    from avseg_cli.training.run_page import write_run

    with pytest.raises(OutputError, match="comes after training"):
        write_run(tmp_path)


def test_strips_are_frames_truth_and_prediction(data: Path, tmp_path: Path) -> None:
    write_half_truth(data, tmp_path / "masks")
    options = EvaluateOptions(str(data), "ms3", predictions=str(tmp_path / "masks"), examples=1)
    result = evaluate(options)
    assert len(result.best) == len(result.worst) == 1
    strips = dict(_strips(result.best[0])["strips"])
    pictures = {}
    for name, uri in strips.items():
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
            pictures[name] = np.asarray(image.convert("RGB")).astype(int)
            assert image.size == (5 * 162 - 2, 160)
    example = result.best[0]
    for name, masks, color in (("truth", example.truth, TRUE), ("prediction", example.prediction, FOUND)):
        inside = np.asarray(strip(np.repeat(masks[..., None], 3, -1).astype(np.uint8) * 255))[..., 0]
        coloured, frame = pictures[name][inside > 250], pictures["frame"][inside > 250]
        assert 0.01 < (inside > 250).mean() < 0.5
        assert np.abs(coloured - color).mean() < 0.5 * np.abs(frame - color).mean()
        dark, light = pictures[name][inside < 5].mean(), pictures["frame"][inside < 5].mean()
        assert dark == pytest.approx(0.4 * light, abs=4), "what is silent is darker"


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_only_the_best_and_worst_are_kept(count: int) -> None:
    extremes = Extremes(2)
    for iou in [0.4, 0.9, 0.1, 0.5, 0.8, 0.2, 0.3][:count]:
        score = ClipScore(str(iou), "", iou, 0, 0, torch.zeros(255), 1, 1)
        extremes.show(Example(score, np.zeros(0), np.zeros(0), np.zeros(0)))
    extremes.show(Example(ClipScore("empty", "", 1.0, 0, 0, torch.zeros(255), 0, 5), *3 * [np.zeros(0)]))
    best, worst = ([example.score.iou for example in part] for part in (extremes.best, extremes.worst))
    assert (best, worst) == {0: ([], []), 1: ([0.4], []), 2: ([0.9], [0.4]), 7: ([0.9, 0.8], [0.1, 0.2])}[count]
