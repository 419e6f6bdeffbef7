"""Numbers out of range are refused in one sentence before anything starts, and nothing is left of the attempt."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import run_avseg
from media_files import Clip
from miniature import make

from avseg_cli.base.errors import AvsegError, InputError, OutputError
from avseg_cli.base.option_fields import MOST_WORKERS
from avseg_cli.bench.run import BenchOptions
from avseg_cli.scoring.evaluate import EvaluateOptions
from avseg_cli.segment.segment_options import SegmentOptions
from avseg_cli.synth.synth_options import SynthOptions
from avseg_cli.synth.write import synthesise
from avseg_cli.training.train_options import TrainOptions

DIGITS = 10**22  # 23 of them
HUGE = 10**400  # more than a float holds
MAKERS = {
    "train": lambda **values: TrainOptions(data="data", subset="ms3", out="out", **values),
    "evaluate": lambda **values: EvaluateOptions(data="data", subset="ms3", checkpoint="default", **values),
    "segment": SegmentOptions,
    "synth": lambda **values: SynthOptions(Path("o"), Path("s"), Path("b"), Path("out"), **values),
    "bench": lambda **values: BenchOptions(parts=("fusion",), **values),
}


@pytest.mark.parametrize(
    ("command", "name", "values"),
    [
        ("train", "batch_size", (0, -1, DIGITS, HUGE)),
        ("train", "limit_clips", (0, -3)),
        ("train", "seed", (-1, 2**32, DIGITS)),
        ("train", "learning_rate", (0.0, -1.0, math.nan, math.inf)),
        ("train", "weight_decay", (-1.0, math.nan)),
        ("train", "warmup", (-0.1, 1.1, math.nan)),
        ("train", "workers", (-1, 10**9, MOST_WORKERS + 1)),
        ("train", "epochs", (0, DIGITS)),
        ("train", "dropout", (1.0, -0.1, math.nan)),
        ("train", "accumulate", (0, DIGITS)),
        ("train", "validate_every", (0,)),
        ("train", "save_minutes", (-1.0, math.inf)),
        ("train", "patience", (0,)),
        ("train", "depth", (-1, 65)),
        ("train", "image_size", (0, 10**6)),
        ("evaluate", "limit_clips", (0, -3)),
        ("evaluate", "seed", (-1, DIGITS)),
        ("segment", "batch_size", (0, DIGITS, HUGE)),
        ("synth", "clips", (0, -1, 2**31)),
        ("synth", "seed", (-1, DIGITS)),
        ("synth", "workers", (0, -1, 10**9)),
        ("synth", "size", (8, 10**6)),
        ("bench", "repeats", (0, DIGITS)),
        ("bench", "threads", (0, -1, 10**9)),
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_refused_by_name(command: str, name: str, values: tuple) -> None:
    for value in values:
        with pytest.raises(InputError, match=rf"^{name} .*is out of range; give ") as refused:
            MAKERS[command](**{name: value})
        assert len(str(refused.value)) < 160


def test_the_ends_of_a_range_are_inside() -> None:
    MAKERS["train"](seed=2**32 - 1, workers=MOST_WORKERS, batch_size=1, warmup=1.0, dropout=0.0, save_minutes=0.0)
    MAKERS["synth"](clips=1, workers=1, size=32)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--lr", "nan"), "--lr nan is out of range"),
        (("ablate", "--limit-clips", "0"), "'--limit-clips'"),
        (("ablate", "--workers", "1000000000"), "'--workers'"),
        (("ablate", "--seed", "-1"), "'--seed'"),
        (("ablate", "--split", "nowhere"), "no clip of ms3 in split 'nowhere'"),
        (("ablate", "--init", "nowhere.safetensors"), "no such checkpoint file"),
        (("evaluate", "-c", "default", "--limit-clips", "-1"), "'--limit-clips'"),
    ],
    ids=str,
)
def test_a_refused_command_leaves_no_folder(arguments, said, tmp_path: Path, capfd, monkeypatch) -> None:
    data = make(tmp_path / "data", "ms3", {"train": 1, "val": 1, "test": 1})
    out = ("--out", tmp_path / "out", "--backbone", "tiny") if arguments[0] != "evaluate" else ()
    code, _, err = run_avseg(capfd, monkeypatch, *arguments, "--data", data, "--device", "cpu", *out)
    assert code in (2, 3, 7) and said in err, err
    assert err.count("\n") == 1 or err.startswith("Usage: "), "one sentence, or the option parser's own"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_clips_too_far_apart_are_refused_by_a_dry_run_too(tmp_path: Path, capfd, monkeypatch) -> None:
    Clip(seconds=1).write(tmp_path / "clip.mp4")
    for dry in ((), ("--dry-run",)):
        code, _, err = run_avseg(capfd, monkeypatch, "segment", tmp_path / "clip.mp4", "--stride", "7", *dry)
        assert code == InputError.exit_code and "--stride 7 is out of range; clips have 5 frames: give 1 to 5" in err
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_clips_that_no_disk_holds_are_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**9))
    options = SynthOptions(tmp_path, tmp_path, tmp_path, tmp_path / "a" / "out", clips=1_000_000)
    with pytest.raises(OutputError, match=r"making 1000000 clips takes about .* GB and there are 1\.0 GB left"):
        synthesise(options)
    assert list(tmp_path.iterdir()) == []


def test_a_settings_file_nested_a_thousand_deep_is_one_sentence(tmp_path: Path, capfd, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVSEG_CONFIG")
    (tmp_path / "avseg.toml").write_text("x = " + "[" * 5000 + "]" * 5000)
    code, _, err = run_avseg(capfd, monkeypatch, "info", "clip.mp4")
    assert code == InputError.exit_code and err.count("\n") == 1
    assert "avseg.toml: not valid TOML: nested too deeply" in err
    assert issubclass(InputError, AvsegError)
