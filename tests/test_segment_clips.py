"""The grid of instants and the clips over it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from media_files import Clip, LoudRed, iou, is_red, retimed
from plain_forms import decode_rle

from avseg_cli import segment_video as public_segment_video
from avseg_cli.base.errors import InputError
from avseg_cli.media.audio import SoundReader
from avseg_cli.media.container import Damage
from avseg_cli.media.video import VideoReader, probe
from avseg_cli.model.log_mel import log_mel_examples
from avseg_cli.motion.onset import spectrum
from avseg_cli.outputs.rle import encode_rle
from avseg_cli.segment.grid import Grid
from avseg_cli.segment.render import render
from avseg_cli.segment.runner import segment_video
from avseg_cli.segment.sampling import ClipSequence, sample
from avseg_cli.segment.segment_options import SegmentOptions


@given(count=st.integers(1, 40), length=st.integers(1, 6), data=st.data())
def test_every_frame_is_the_mean_over_its_clips(count: int, length: int, data) -> None:
    stride = data.draw(st.integers(1, length))
    sequence = ClipSequence[int](length, stride)
    calls: list[tuple[int, list[int]]] = []
    means: list[np.ndarray] = []

    def run(clips: list[tuple[int, list[int]]]) -> None:
        for start, items in clips:
            calls.append((start, items))
            sequence.add(start, np.array([100.0 * start + item for item in items]))

    for item in range(count):
        run(sequence.push(item))
        means += sequence.release()
        assert len(sequence._items) <= length + stride and len(sequence._sums) <= 2 * length + stride
    run(sequence.finish())
    means += sequence.release(finished=True)
    starts = list(range(0, max(1, count - length + 1), stride))
    if starts[-1] + length < count:
        starts.append(count - length)
    assert [start for start, _ in calls] == starts
    assert all(items == [min(start + k, count - 1) for k in range(length)] for start, items in calls)
    expected = [np.mean([100.0 * s + frame for s in starts if s <= frame < s + length]) for frame in range(count)]
    assert means == pytest.approx(expected)


def grid_of(path: Path, **grid) -> list[tuple[float, float]]:
    video = probe(path)
    return [(frame.picture.time, frame.end) for frame in sample(VideoReader(video), Grid(**grid))]


def test_the_grid_takes_avsbenchs_frames(tmp_path: Path) -> None:
    path = Clip(rate=30, seconds=5).write(tmp_path / "clip.mp4")
    frames = [int(second * 30 + 15 / 16 * 30) for second in range(5)]
    found = grid_of(path)
    assert [time for time, _ in found] == pytest.approx([frame / 30 for frame in frames], abs=1e-3)
    assert [end for _, end in found] == pytest.approx([1, 2, 3, 4, 5], abs=1e-6)


@pytest.mark.parametrize(("seconds", "ends"), [(0.3, [0.3]), (2.0, [1, 2]), (2.1, [1, 2]), (2.5, [1, 2, 2.5])])
def test_a_last_partial_second_is_covered(tmp_path: Path, seconds: float, ends: list[float]) -> None:
    found = grid_of(Clip(rate=10, seconds=seconds).write(tmp_path / "clip.mp4"))
    assert [end for _, end in found] == pytest.approx(ends, abs=1e-3)
    assert found[-1][0] >= seconds - 0.21


def test_frames_that_stay_long_are_seen_more_than_once(tmp_path: Path) -> None:
    found = grid_of(Clip(times=[0, 0.5, 3.2, 3.9]).write(tmp_path / "clip.mkv"))
    assert [time for time, _ in found] == pytest.approx([0.5, 0.5, 0.5, 3.9], abs=1e-3)


def test_a_last_picture_that_is_held_is_seen_until_its_end(tmp_path: Path) -> None:
    path = retimed(Clip(seconds=2).write(tmp_path / "clip.mkv"), tmp_path / "held.mp4", held=3.1)
    assert [end for _, end in grid_of(path)] == pytest.approx([1, 2, 3, 4, 5], abs=0.01)
    part = sample(VideoReader(probe(path), 0.0, 3.5), Grid(), 3.5)
    assert [frame.end for frame in part] == pytest.approx([1, 2, 3, 3.5], abs=0.01)


def test_a_gap_of_hours_in_the_timestamps_is_passed_over(tmp_path: Path) -> None:
    path = Clip(times=[0, 1, 2, 20_002.5, 20_003.5], sound="pcm_s16le", sound_seconds=1).write(tmp_path / "clip.mkv")
    grid = list(sample(VideoReader(probe(path)), Grid()))
    assert len(grid) < 70 and [frame.index for frame in grid] == list(range(len(grid)))
    assert [round(frame.picture.time, 1) for frame in grid[-2:]] == [20_002.5, 20_003.5]
    assert all(0 <= frame.end - frame.picture.time <= 61 for frame in grid)


@pytest.mark.parametrize(("times", "held", "masks", "passed"), [
    ([0, 75, 76.9], None, 62, 15), ([0, 1.9], 75.1, 62, 15.1), ([0, 59, 60.9], None, 61, 0),
])  # fmt: skip
def test_what_sounds_under_a_picture_after_a_minute_is_told_to_be_passed_over(
    tmp_path: Path, times: list[float], held: float | None, masks: int, passed: float
) -> None:
    path = Clip(times=times, sound_seconds=77).write(tmp_path / "clip.mp4")
    path = path if held is None else retimed(path, tmp_path / "held.mp4", held=held)
    grid = list(sample(VideoReader(probe(path)), Grid(), damage=(damage := Damage())))
    assert len(grid) == masks and damage.passed_over == pytest.approx(passed, abs=0.01)
    seldom = segment_video(path, LoudRed(), fps=0.1, consecutive=True)
    assert list(seldom) and any("for more than a minute" in warning for warning in seldom.warnings) == bool(passed)


@pytest.mark.parametrize("fps", [2, 10, 30])
def test_denser_grids(tmp_path: Path, fps: int) -> None:
    found = grid_of(Clip(rate=30, seconds=2).write(tmp_path / "clip.mp4"), fps=fps)
    assert [end for _, end in found] == pytest.approx([(k + 1) / fps for k in range(2 * fps)])
    assert len({time for time, _ in found}) == 2 * fps


@pytest.mark.parametrize("grid", [{"fps": 0}, {"fps": -1}, {"fps": 2.5}, {"fps": 1000}])
def test_grids_that_cannot_be(grid: dict) -> None:
    with pytest.raises(InputError, match="fps"):
        Grid(**grid)


def test_masks_follow_picture_and_sound(tmp_path: Path) -> None:
    loud = lambda t: np.where((t >= 2) & (t < 5), 0.4, 0.0)  # noqa: E731
    clip = Clip(seconds=7, place=lambda t: (0.25 + t / 14, 0.4), loudness=loud)
    model = LoudRed()
    results = list(segment_video(clip.write(tmp_path / "clip.mp4"), model))
    assert [result.index for result in results] == list(range(7))
    for second, result in enumerate(results):
        if 2 <= second < 5:
            assert iou(result.mask, is_red(clip.picture(result.time))) > 0.9
            assert result.area == result.mask.sum() > 0
        else:
            assert not result.mask.any() and result.area == 0
        assert result.confidence > 0.8
    assert sum(model.encoded) == 7, "each frame is encoded once"
    assert sum(model.decoded) == 2, "7 frames make two clips of 5, of which the second begins two later"


@pytest.mark.parametrize(("stride", "clips"), [(1, 8), (2, 5), (5, 3)])
def test_the_stride_decides_how_many_clips(tmp_path: Path, stride: int, clips: int) -> None:
    model = LoudRed()
    list(segment_video(Clip(seconds=12, rate=4).write(tmp_path / "clip.mp4"), model, stride=stride))
    assert sum(model.decoded) == clips and sum(model.encoded) == 12


def test_denser_masks_come_in_order_from_interleaved_clips(tmp_path: Path) -> None:
    clip = Clip(seconds=6, rate=20, place=lambda t: (0.25 + t / 12, 0.5))
    path = clip.write(tmp_path / "clip.mp4")
    for options, clips in (({}, 4 * 2), ({"consecutive": True}, 1 + 10)):
        model = LoudRed()
        results = list(segment_video(path, model, fps=4, **options))
        assert [result.index for result in results] == list(range(24))
        assert all(iou(result.mask, is_red(clip.picture(result.time))) > 0.85 for result in results)
        assert sum(model.encoded) == 24 and sum(model.decoded) == clips


def test_a_short_video_is_padded_and_the_padding_dropped(tmp_path: Path) -> None:
    model = LoudRed()
    assert len(list(segment_video(Clip(seconds=0.6).write(tmp_path / "clip.mp4"), model))) == 1
    assert model.decoded == [1] and model.encoded == [1]


def test_overlapping_clips_are_averaged_like_the_model_itself(tmp_path: Path) -> None:
    """With a real (random) model: the iterator's logits are the mean of the model's own clips."""
    import torch

    from avseg_cli.media.audio import SoundReader
    from avseg_cli.model.avseg import AvsegModel
    from avseg_cli.model.backbones import preset
    from avseg_cli.model.log_mel import log_mel_examples
    from avseg_cli.segment.sampling import GridFrame

    torch.manual_seed(1)
    model = AvsegModel(preset("tiny")).eval()
    clip = Clip(seconds=7, place=lambda t: (0.2 + t / 14, 0.5), loudness=lambda t: 0.05 * (1 + t))
    path = clip.write(tmp_path / "clip.mp4")
    results = list(segment_video(path, model, stride=2))
    video = probe(path)
    grid: list[GridFrame] = list(sample(VideoReader(video), Grid()))
    sound = SoundReader(video.sound)
    frames = torch.stack([torch.from_numpy(frame.picture.rgb()) for frame in grid])
    log_mel = torch.stack([log_mel_examples(sound.second(frame.end))[0] for frame in grid])
    sums, counts = torch.zeros(7, *results[0].logits.shape), torch.zeros(7, 1, 1)
    with torch.inference_mode():
        for start in (0, 2):
            part = slice(start, start + 5)
            sums[part] += model(frames[part], log_mel[part])
            counts[part] += 1
    ours = torch.from_numpy(np.stack([result.logits for result in results]))
    torch.testing.assert_close(ours, sums / counts, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("fps, ahead", [(1, 0.0), (2, 0.25), (4, 0.375)])
@pytest.mark.parametrize("start", [0.0, 1.5])
def test_a_step_lies_in_the_middle_of_its_second_of_sound(tmp_path: Path, fps: int, ahead: float, start: float) -> None:
    """So that what sounds is marked neither early nor late, at any number of masks a second; the first steps hear the
    first second, the last ones the last."""
    path = Clip(seconds=4, loudness=lambda t: 0.02 * (1 + 4 * t)).write(tmp_path / "clip.mp4")
    sound = SoundReader(probe(path).sound)
    for result in segment_video(path, LoudRed(), fps=fps, start=start):
        assert result.sound_end == pytest.approx(max(start + 1, min(result.end + ahead, 4)), abs=1e-3)
        if start + 0.7 < result.end < 3.6:
            assert result.sound_end - 0.5 == pytest.approx(result.end - 1 / fps / 2)
        expected = spectrum(log_mel_examples(sound.second(result.sound_end))[0][0])
        np.testing.assert_allclose(result.spectrum, expected, atol=2e-2 if start else 0)  # sought: another beginning
    saved = tmp_path / "clip.json"
    render(probe(path), LoudRed(), {"json": saved}, SegmentOptions(fps=fps))
    told = [mask["sound"] for mask in json.loads(saved.read_text())["masks"]]
    assert told[0] == pytest.approx([0, 1], abs=1e-3)
    assert told[2] == pytest.approx([max(0, 3 / fps + ahead - 1), max(1, 3 / fps + ahead)], abs=1e-3)


@pytest.mark.parametrize("fps", [0.25, 0.5, 1])
def test_steps_of_a_second_and_more_end_with_their_sound(fps: float) -> None:
    assert Grid(fps, consecutive=True).ahead == 0


def test_part_of_a_video(tmp_path: Path) -> None:
    clip = Clip(seconds=8, place=lambda t: (0.25 + t / 16, 0.5))
    path = clip.write(tmp_path / "clip.mp4")
    results = list(segment_video(path, LoudRed(), start=2.5, duration=3))
    assert [result.end for result in results] == pytest.approx([3.5, 4.5, 5.5])
    assert all(iou(result.mask, is_red(clip.picture(result.time))) > 0.9 for result in results)
    with pytest.raises(InputError, match="nothing is left after start 9"):
        segment_video(path, LoudRed(), start=9)
    with pytest.raises(InputError, match="start -1 is out of range"):
        segment_video(path, LoudRed(), start=-1)


def test_sound_of_another_file(tmp_path: Path) -> None:
    silent = Clip(seconds=3, sound=None).write(tmp_path / "clip.mp4")
    late = Clip(seconds=3, loudness=lambda t: np.where(t >= 1, 0.4, 0)).write(tmp_path / "sound.mp4")
    results = list(segment_video(silent, LoudRed(), audio=late))
    assert [bool(result.area) for result in results] == [False, True, True]


def test_the_threshold_moves_the_mask(tmp_path: Path) -> None:
    path = Clip(seconds=1).write(tmp_path / "clip.mp4")
    areas = [next(segment_video(path, LoudRed(), threshold=threshold)).area for threshold in (0.05, 0.5, 0.999)]
    assert areas[0] > areas[1] > areas[2]
    with pytest.raises(InputError, match="threshold"):
        segment_video(path, LoudRed(), threshold=1.0)
    with pytest.raises(InputError, match="stride"):
        segment_video(path, LoudRed(), stride=6)


def test_it_is_the_public_function_and_can_be_left_early(tmp_path: Path) -> None:
    assert public_segment_video is segment_video
    segmentation = segment_video(Clip(seconds=9).write(tmp_path / "clip.mp4"), LoudRed())
    assert next(segmentation).size == (120, 160)
    segmentation.close()
    assert segmentation.video.frames == 90


def test_running_out_of_memory_names_a_cure(tmp_path: Path) -> None:
    from avseg_cli.base.errors import DeviceError

    class Huge(LoudRed):
        def embed_frames(self, frames, sound):
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(DeviceError, match="batch_size 1"):
        list(segment_video(Clip(seconds=1).write(tmp_path / "clip.mp4"), Huge()))


class Small(LoudRed):
    """Has memory for two frames or clips at a time."""

    def embed_frames(self, frames, sound):
        self._refuse(frames)
        return super().embed_frames(frames, sound)

    def decode(self, embeddings, sound):
        self._refuse(embeddings)
        return super().decode(embeddings, sound)

    def _refuse(self, batch) -> None:
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def test_out_of_memory_halves_the_batch_and_is_said_once(tmp_path: Path) -> None:
    path = Clip(seconds=14).write(tmp_path / "clip.mp4")
    whole = [result.logits for result in segment_video(path, LoudRed(), batch_size=12)]
    small = Small()
    segmentation = segment_video(path, small, batch_size=12)
    halved = [result.logits for result in segmentation]
    assert all(np.array_equal(a, b) for a, b in zip(whole, halved, strict=True))
    assert [w for w in segmentation.warnings if "batch size" in w] == [
        "out of memory on cpu with 12 frames together, so it went on with 1; a batch size of 1 avoids the detour"
    ]
    second = segment_video(path, small, batch_size=12)
    assert len(list(second)) == 14 and not second.warnings, "the next video begins with what fitted"


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_run_lengths_are_cocos(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    encoded = encode_rle(mask)
    assert np.array_equal(decode_rle(encoded), mask)
    coco = pytest.importorskip("pycocotools.mask")
    assert encoded["counts"].encode() == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]


def test_the_time_of_a_mask_is_that_of_its_frame(tmp_path: Path) -> None:
    times = [0, 0.2, 0.91, 1.3, 1.9, 2.2]
    results = list(segment_video(replace(Clip(), times=times).write(tmp_path / "clip.mp4"), LoudRed()))
    assert [result.time for result in results][:2] == pytest.approx([0.91, 1.9])


def test_the_rate_suits_the_machine_unless_it_is_said() -> None:
    asked = [("cpu", 256, 25), ("mps", 256, 25), ("cuda", 256, 29.97), ("cuda", 1024, 25), ("cuda", 1024, 2)]
    assert [SegmentOptions().chosen(*each).to_dict()["fps"] for each in asked] == [1, 1, 30, 4, 2]
    assert SegmentOptions(fps=2).chosen("cuda", 256, 25).fps == 2
