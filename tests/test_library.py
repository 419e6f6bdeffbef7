"""The public library: an ordinary model, what makes it fast, arrays as well as files, the notebook that shows it."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from media_files import Clip, LoudRed, iou, is_red
from PIL import Image
from torch import nn

import avseg_cli
from avseg_cli import InputError, Recording, Segmenter, Style, load_model, render, save_checkpoint, segment_video
from avseg_cli.model import inference

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_every_public_name_is_there() -> None:
    assert all(getattr(avseg_cli, name) is not None for name in avseg_cli.__all__)
    assert (Path(avseg_cli.__file__).parent / "py.typed").is_file()


def test_a_loaded_model_is_an_ordinary_module(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "_mallopt", lambda *_: pytest.fail("changes malloc for the whole process"))
    model = load_model(tiny_checkpoint, "cpu", "fp32")
    save_checkpoint(tmp_path / "again.safetensors", copy.deepcopy(model))
    again = load_model(tmp_path / "again.safetensors", "cpu", "fp32").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_a_segmenter_leaves_the_model_and_shares_its_weights(tiny_checkpoint: Path) -> None:
    model = load_model(tiny_checkpoint, "cpu", "fp32")
    before = {name: type(module) for name, module in model.named_modules()}
    fast = Segmenter(model).model
    assert {name: type(module) for name, module in model.named_modules()} == before
    assert fast is not model and fast.vggish.features[0].weight is model.vggish.features[0].weight
    frames = torch.randint(0, 255, (5, 60, 80, 3), dtype=torch.uint8)
    seconds = [np.random.default_rng(number).normal(0, 0.1, 16_000).astype(np.float32) for number in range(5)]
    torch.testing.assert_close(fast.predict(frames, seconds), model.predict(frames, seconds), atol=1e-4, rtol=1e-4)


def test_the_edge_of_a_model(tiny_checkpoint: Path) -> None:
    model = load_model(tiny_checkpoint, "cpu", "bf16")
    assert model.device == torch.device("cpu") and model.dtype == torch.bfloat16
    frames = torch.randint(0, 255, (5, 60, 80, 3), dtype=torch.uint8)
    probability = model.predict(frames, [np.zeros(16_000, np.float32)] * 5)
    assert probability.shape == (5, 60, 80) and probability.dtype == torch.float32
    assert probability.min() >= 0 and probability.max() <= 1
    assert model.preprocess(frames).shape == (5, 3, 128, 128)
    assert isinstance(model, nn.Module)


def test_arrays_give_what_the_file_gives(tmp_path: Path) -> None:
    clip = Clip(seconds=4, rate=10, place=lambda t: (0.25 + t / 8, 0.5))
    times = clip.frame_times()
    pictures = np.stack([clip.picture(time) for time in times])
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(4 * 44_100) / 44_100)).astype(np.float32)
    from_arrays = list(segment_video(Recording(pictures, 10, tone, 44_100), LoudRed()))
    from_file = list(segment_video(clip.write(tmp_path / "clip.mp4"), LoudRed()))
    assert [result.time for result in from_arrays] == pytest.approx([result.time for result in from_file], abs=0.11)
    assert all(iou(result.mask, is_red(clip.picture(result.time))) > 0.9 for result in from_arrays)
    assert len(repr(from_arrays[0])) < 120 and "time=0.9" in repr(from_arrays[0])


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"frames": np.zeros((2, 4, 4), np.uint8)}, "frames"),
        ({"samples": np.zeros((10, 2))}, "samples"),
        ({"samples": np.array([np.nan])}, "samples"),
        ({"rate": 0}, "rate"),
        ({"sample_rate": -1}, "sample_rate"),
    ],
    ids=str,
)
def test_a_recording_says_which_field_is_wrong(values: dict, field: str) -> None:
    fitting = {"frames": np.zeros((2, 4, 4, 3), np.uint8), "rate": 1, "samples": np.zeros(10)}
    with pytest.raises(InputError, match=f"^{field} is "):
        Recording(**fitting | values)


def test_a_file_is_rendered_in_one_call(tmp_path: Path) -> None:
    clip = Clip(seconds=2).write(tmp_path / "clip.mp4")
    done = render(clip, LoudRed(), {"json": tmp_path / "out.json"})
    assert done.masks == 2 and len(json.loads((tmp_path / "out.json").read_text())["masks"]) == 2


@pytest.mark.parametrize("size", [(160, 120), (161, 121)], ids=["even", "odd"])
def test_a_result_keeps_its_frame_and_draws_over_it(size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    clip = Clip(size=size)
    recording = Recording(np.stack([clip.picture(t) for t in clip.frame_times()]), 10, np.full(48_000, 0.4))
    kept = list(segment_video(recording, LoudRed(), keep_frames=True))
    assert [np.array_equal(result.frame, clip.picture(result.time)) for result in kept] == [True] * 3
    drawn = kept[0].overlay(Style(opacity=0.5, dim=0.5))
    assert drawn.shape == (height, width, 3) and drawn.dtype == np.uint8
    inside, outside = drawn[kept[0].mask].mean(0), drawn[: height // 5].mean((0, 1))
    frame = kept[0].frame
    assert inside[2] > frame[kept[0].mask].mean(0)[2] + 20, "the tint has more blue than the red square"
    assert np.allclose(outside, 0.5 * frame[: height // 5].mean((0, 1)), atol=4), "the rest is half as bright"
    kept[0].save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as saved:
        assert np.array_equal(np.asarray(saved), 255 * kept[0].mask)
    with pytest.raises(InputError, match="no kind of picture ends in '.mkp'"):
        kept[0].save(tmp_path / "mask.mkp")
    plain = next(iter(segment_video(recording, LoudRed())))
    assert plain.frame is None and np.array_equal(plain.overlay(frame=frame), kept[0].overlay())
    with pytest.raises(InputError, match="keep_frames=True"):
        plain.overlay()
    with pytest.raises(InputError, match="^frame is float64"):
        plain.overlay(frame=frame / 255)
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = json.loads((EXAMPLES / "library.ipynb").read_text())["cells"]
    monkeypatch.chdir(EXAMPLES)
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    said, names = io.StringIO(), {}
    with contextlib.redirect_stdout(said):
        for cell in cells:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
    plt.close("all")
    assert said.getvalue().count("2 masks, ") == 2 and "threshold 1.5 is out of range" in said.getvalue()
    assert "missing.mp4: no such file" in said.getvalue()
    assert "['falls-silent.json', 'falls-silent.mp4', 'mask.png', 'takes-turns.json', 'takes-turns.mp4']" in (
        said.getvalue()
    )
    assert len(names["results"]) == 5 and names["loudest"].overlay().shape == names["loudest"].frame.shape


def test_rendering_arrays_says_what_to_take_instead(tmp_path: Path) -> None:
    recording = Recording(np.zeros((10, 60, 80, 3), np.uint8), 10, np.zeros(16_000))
    with pytest.raises(InputError, match=r"for a Recording take segment_video\(…\), whose results have save\(\)"):
        render(recording, LoudRed(), {"json": tmp_path / "a.json"})  # type: ignore[arg-type]
