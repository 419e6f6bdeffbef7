"""A plain installation does the main job; what a command needs besides is named by one sentence."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from avseg_cli.base.errors import AvsegError
from avseg_cli.base.extras import extra
from avseg_cli.cli import app
from avseg_cli.scoring.predictors import load_sam

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = {
    "reference": ("segment_anything", "torchvggish", "torchvision", "resampy", "numba", "scipy"),
    "synth": ("librosa", "scipy"),
    "evaluate": ("scipy",),
    "train": ("tensorboard", "scipy"),
    "cluster": ("ray",),
    "remote": ("upath", "s3fs", "gcsfs"),
    "ffmpeg": ("ffmpeg",),
}


def test_all_but_bench_synth_and_footage_is_imported_without_the_extras() -> None:
    missing = [name for names in EXTRAS.values() for name in names if name != "ffmpeg"]  # its one user is imported late
    script = f"""
import importlib, pathlib, sys
sys.modules.update(dict.fromkeys({missing!r}))
import avseg_cli
package = pathlib.Path(avseg_cli.__file__).parent
for path in package.rglob("*.py"):
    parts = path.relative_to(package.parent).with_suffix("").parts
    late = parts[1] in ("bench", "synth") or parts[-1].startswith("footage")
    if not late and parts[-1] not in ("__init__", "__main__"):
        importlib.import_module(".".join(parts))
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def take_away(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """As if it were not installed, whatever has been imported of it."""
    for module in {package, *(module for module in sys.modules if module.startswith(f"{package}."))}:
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize(
    "arguments, room, missing, name",
    [
        (("bench", "--dry-run"), "bench", "segment_anything", "reference"),
        (("synth", "--media", "m", "--out", "o", "--clips", "1", "--dry-run"), "synth", "librosa", "synth"),
        (("evaluate", "--subset", "clips", "--data", "d"), "scoring", "scipy", "evaluate"),
        (("synth", "fetch", "--out", "o", "--dry-run"), "synth", "scipy.signal", "synth"),
    ],
)
def test_a_command_names_the_extra_it_needs(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], room: str, missing: str, name: str
) -> None:
    for module in [module for module in sys.modules if module.startswith(f"avseg_cli.{room}.")]:
        monkeypatch.delitem(sys.modules, module)
    take_away(monkeypatch, missing)
    ran = CliRunner().invoke(app, list(arguments))
    assert isinstance(ran.exception, AvsegError)
    assert missing in str(ran.exception) and f"pip install 'avseg[{name}]'" in str(ran.exception)


def test_prompts_name_the_extra_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    take_away(monkeypatch, "segment_anything")
    with pytest.raises(AvsegError, match=r"needs segment_anything, .* pip install 'avseg\[reference\]'"):
        load_sam("vit_b", device=None)


def test_a_fault_of_our_own_is_not_taken_for_a_missing_package() -> None:
    with pytest.raises(ModuleNotFoundError), extra("reference", "this"):
        import avseg_cli.nowhere  # noqa: F401


def test_the_extras_are_declared_and_the_core_has_none_of_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert EXTRAS.keys() <= project["optional-dependencies"].keys()
    core = " ".join(project["dependencies"])
    for name in ("segment-anything", "torchvggish", "torchvision", "resampy", "scipy", "librosa"):
        assert name not in core


def test_a_recording_played_faster_is_the_same_wave_higher() -> None:
    from avseg_cli.synth.sounds import SAMPLE_RATE, _resampled

    time, speed, pitch = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE, 2 ** (1 / 12), 5000.0
    faster = _resampled(np.sin(2 * np.pi * pitch * time).astype(np.float32), speed)
    assert len(faster) == pytest.approx(len(time) / speed, abs=1)
    inside = slice(1000, -1000)
    wanted = np.sin(2 * np.pi * pitch * speed * time[: len(faster)])
    assert np.abs(faster - wanted)[inside].max() < 1e-3
