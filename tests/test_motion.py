"""Between two results masks follow the picture, and switch where the sound does."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from operator import attrgetter

import cv2
import numpy as np
import pytest
from media_files import iou

from avseg_cli.model.log_mel import log_mel_spectrogram
from avseg_cli.motion.cuts import Cuts
from avseg_cli.motion.onset import onset, spectrum
from avseg_cli.motion.timeline import Timeline
from avseg_cli.motion.trail import Trail
from avseg_cli.outputs.drawing import EDGE
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.unmarked import PAUSE, UNSEEN
from avseg_cli.segment.steady import steadied

SIZE = (192, 256)  # of the pictures
SIDE = 128  # of the masks
RATE = 25

Place = Callable[[float], tuple[float, float]]  # of a disc's centre, (x, y) in shares of the picture

LOGITS = attrgetter("logits")


@dataclass(frozen=True)
class Shown:
    """A picture that is grey already."""

    time: float
    pixels: np.ndarray

    def grey(self, size: tuple[int, int]) -> np.ndarray:
        return cv2.resize(self.pixels, size[::-1], interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Found:
    """A result of the model."""

    time: float
    logits: np.ndarray
    end: float = 0.0
    spectrum: np.ndarray | None = None

    @property
    def sound_end(self) -> float:
        return self.end


def texture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Smooth noise, which can be followed."""
    noise = np.random.default_rng(seed).normal(size=size)
    for axis in (0, 1):
        noise = sum(np.roll(noise, shift, axis) for shift in range(-3, 4)) / 7
    return np.clip(128 + 160 * noise, 0, 255).astype(np.uint8)


def disc(place: tuple[float, float], size: tuple[int, int], radius: float = 0.15) -> np.ndarray:
    """A disc in the picture; ``size`` is what the picture is squashed to, radius in heights of it."""
    y, x = ((np.arange(side) + 0.5) / side for side in size)
    across, down = (x - place[0]) * SIZE[1] / SIZE[0], (y - place[1])[:, None]
    return across**2 + down**2 < radius**2


def picture(place: tuple[float, float], ground: int = 1) -> np.ndarray:
    """A patterned disc before a darker patterned ground; the pattern moves with it."""
    shift = tuple(round((part - 0.5) * side) for part, side in zip(place[::-1], SIZE, strict=True))
    return np.where(disc(place, SIZE), np.roll(texture(2), shift, (0, 1)), texture(ground) // 2)


def logits(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 6, -6).astype(np.float32)


def found(place: tuple[float, float], time: float) -> Found:
    return Found(time, logits(disc(place, (SIDE, SIDE))))


def trail_of(pictures: list[Shown]) -> Trail:
    trail = Trail(SIZE)
    assert list(trail.record(pictures)) == pictures
    return trail


def wandering(time: float) -> tuple[float, float]:
    return 0.25 + 0.3 * time, 0.5 + 0.15 * np.sin(3 * time)


def overlaps(place: Place, results: list[Found], trail: Trail | None, times: list[float]) -> list[float]:
    timeline = Timeline(iter(results), trail)
    masks = [timeline.at(time).between(LOGITS) > 0 for time in times]
    return [iou(mask, disc(place(time), (SIDE, SIDE))) for mask, time in zip(masks, times, strict=True)]


def test_a_mask_follows_what_moves_also_before_the_first_result_and_after_the_last() -> None:
    times = [k / RATE for k in range(40)]
    trail = trail_of([Shown(time, picture(wandering(time))) for time in times])
    results = [found(wandering(time), time) for time in (0.4, 1.2)]
    assert min(overlaps(wandering, results, trail, times)) > 0.75
    left_behind = overlaps(wandering, results, None, times)
    assert min(left_behind) < 0.4, "cross-fading alone trails"


SCENES = [(0.3, 0.5), (0.5, 0.5), (0.7, 0.4)]  # where the disc is in each


def scenes(cuts: tuple[float, ...], times: list[float]) -> tuple[Place, Trail]:
    """A film whose disc jumps at each cut, as its ground changes."""

    def scene(time: float) -> int:
        return sum(time >= cut for cut in cuts)

    shown = [Shown(time, picture(SCENES[scene(time)], 1 + 4 * scene(time))) for time in times]
    return lambda time: SCENES[scene(time)], trail_of(shown)


@pytest.mark.parametrize("change", [None, 0.1, 0.6])
def test_nothing_is_carried_over_a_cut_even_if_the_sound_changes_elsewhere(change: float | None) -> None:
    times = [k / RATE for k in range(26)]
    place, trail = scenes((0.3,), times)
    results = [found(place(time), time) for time in (0.0, 1.0)]
    timeline = Timeline(iter(results), trail, (lambda before, after: change) if change else None)
    for time in times:
        assert np.array_equal(timeline.at(time).between(LOGITS) > 0, disc(place(time), (SIDE, SIDE)))


def test_a_scene_without_a_result_shows_no_other_scenes_masks() -> None:
    times = [k / RATE for k in range(40)]
    place, trail = scenes((0.3, 0.7), times)
    timeline = Timeline(iter([found(place(time), time) for time in (0.0, 1.0)]), trail, lambda before, after: 0.5)
    for time in times:
        shown = disc(place(time), (SIDE, SIDE)) & (not 0.3 <= time < 0.7)
        assert np.array_equal(timeline.at(time).between(LOGITS) > 0, shown)
    place, trail = scenes((0.3, 0.7), times)
    timeline = Timeline(iter([found(place(0.5), 0.5)]), trail)
    for time in times:
        shown = disc(place(time), (SIDE, SIDE)) & (0.3 <= time < 0.7)
        instant = timeline.at(time)
        assert np.array_equal(instant.between(LOGITS) > 0, shown)
        assert shown.any() or not instant.chosen(LOGITS).any()


def test_a_flash_hides_nothing() -> None:
    times = [k / RATE for k in range(26)]
    still, flash = picture((0.3, 0.5)), np.full(SIZE, 255, np.uint8)
    trail = trail_of([Shown(time, flash if 0.3 < time < 0.4 else still) for time in times])
    assert trail.cuts.between(0, 1) == () and len(trail.cuts.noted_between(0, 1)) == 2
    timeline = Timeline(iter([found((0.3, 0.5), time) for time in (0.0, 1.0)]), trail)
    for time in times:
        assert np.array_equal(timeline.at(time).between(LOGITS) > 0, disc((0.3, 0.5), (SIDE, SIDE)))


def test_what_is_left_out_for_a_blink_is_no_cut_unless_the_scene_is_another_after_it() -> None:
    times = [k / RATE for k in range(60)]
    one, other, flash = picture((0.3, 0.5)), picture((0.7, 0.4), 5), np.full(SIZE, 255, np.uint8)

    def shown(time: float) -> np.ndarray:  # flashes at 0.3 and 0.7, a flash over a cut at 1.1, another scene from 1.7
        if 0.3 < time < 0.33 or 0.7 < time < 0.85 or 1.1 < time < 1.17:
            return flash
        return other if 1.1 < time < 1.7 else one

    pictures = [Shown(time, shown(time)) for time in times]
    trail, cuts = trail_of(pictures), Cuts(SIZE)
    assert list(cuts.record(pictures)) == pictures
    assert trail.cuts.between(0, 9) == cuts.between(0, 9) == (1.12, 1.2, 1.72)
    assert len(cuts.noted_between(0, 9)) == 7


def test_cuts_are_the_same_with_and_without_the_motion() -> None:
    times = [k / RATE for k in range(40)]
    _, trail = scenes((0.3, 0.7), times)
    cuts = Cuts(SIZE)
    pictures = [Shown(time, picture(wandering(time), 1 + 4 * ((time >= 0.3) + (time >= 0.7)))) for time in times]
    assert list(cuts.record(pictures)) == pictures
    assert cuts.between(0, 9) == trail.cuts.between(0, 9) == (0.32, 0.72)
    assert cuts.between(0, 0.32) == (0.32,) and cuts.between(0.32, 0.7) == ()


def test_what_stands_still_stays_and_numbers_of_sources_are_carried_whole() -> None:
    times = [k / RATE for k in range(26)]
    trail = trail_of([Shown(time, picture(wandering(time))) for time in times])
    still = np.zeros((SIDE, SIDE), bool)
    still[4:14, 6:30] = True
    numbers = {
        time: np.where(still, 7, np.where(disc(wandering(time), (SIDE, SIDE)), 2, 0)).astype(np.uint8)
        for time in (0.0, 1.0)
    }
    timeline = Timeline(iter([Found(time, numbers[time]) for time in numbers]), trail)
    for time in times:
        ids = timeline.at(time).chosen(LOGITS)
        assert set(np.unique(ids)) == {0, 2, 7}
        assert iou(ids == 2, disc(wandering(time), (SIDE, SIDE))) > 0.8
        assert iou(ids == 7, still) > 0.97


def heard(end: float, changes: float) -> np.ndarray:
    """The spectrum of the second up to ``end`` of a low tone that becomes a high one."""
    time = end - 1 + np.arange(15_600) / 16_000
    tones = np.where(time < changes, np.sin(2500 * time), 0.7 * np.sin(14_000 * time)).astype(np.float32)
    return spectrum(log_mel_spectrogram(tones))


@pytest.mark.parametrize("change", [1.0, 1.37, 1.8])
def test_what_sounds_switches_where_the_sound_does(change: float) -> None:
    left, right = disc((0.25, 0.5), (SIDE, SIDE)), disc((0.75, 0.5), (SIDE, SIDE))
    pair = [Found(end - 1 / 16, logits(mask), end, heard(end, change)) for end, mask in ((1.0, left), (2.0, right))]
    assert onset(*pair) == pytest.approx(change, abs=0.04)
    trail = trail_of([Shown(k / RATE, texture(1)) for k in range(50)])
    timeline = Timeline(iter(pair), trail, onset)
    for k in range(24, 48):
        time = k / RATE
        shown = timeline.at(time).between(LOGITS) > 0
        if abs(time - change) > 0.1:
            assert np.array_equal(shown, left if time < change else right)
        assert shown.sum() in (0, left.sum(), right.sum()), "a whole thing or none, never a lattice of dots"


def test_an_outline_that_grows_is_no_switch() -> None:
    small, large = (disc((0.5, 0.5), (SIDE, SIDE), radius) for radius in (0.2, 0.22))
    pair = [Found(0.9, logits(small), 1.0, heard(1.0, 5)), Found(1.9, logits(large), 2.0, heard(2.0, 5))]
    timeline = Timeline(iter(pair), None, onset)
    quarter, three = (timeline.at(time).between(LOGITS) for time in (1.15, 1.65))
    rim = large & ~small
    assert np.allclose(quarter[rim], -3) and np.allclose(three[rim], 3)


def test_a_trail_forgets_what_has_passed() -> None:
    trail = trail_of([Shown(k / RATE, picture(wandering(k / RATE))) for k in range(10)])
    before = trail.ways(0.0, 0.2)
    assert before is not None and np.abs(before.to_first(0.2)[..., :2] - before.to_last(0.2)[..., :2]).max() > 2
    trail.forget(0.2)
    gone, kept = trail.ways(0.0, 0.2), trail.ways(0.2, 0.36)
    assert gone is not None and np.array_equal(gone.to_first(0.2), gone.to_last(0.2)), "only one picture is left"
    assert kept is not None and np.abs(kept.to_first(0.36)[..., :2] - kept.to_last(0.36)[..., :2]).max() > 2


def test_many_masks_a_second_are_steadied_without_lagging() -> None:
    times = [k / RATE for k in range(40)]
    trail = trail_of([Shown(time, picture(wandering(time))) for time in times])
    truth = [disc(wandering(time), (SIDE, SIDE)) for time in times]
    noise = np.random.default_rng(3).normal(0, 6, (40, SIDE, SIDE)).astype(np.float32)
    noisy = [
        MaskResult(k, time, time, logits(mask) + more, SIZE, 256)
        for k, (time, mask, more) in enumerate(zip(times, truth, noise, strict=True))
    ]
    steady = list(steadied((result for result in noisy), trail, forget=True))
    assert [result.index for result in steady] == list(range(40))

    def overlap(found: list[MaskResult], lag: int = 0) -> float:
        """The mean IoU with the truth of ``lag`` frames before."""
        return float(np.mean([iou(found[k].logits > 0, truth[k - lag]) for k in range(8, 32)]))

    assert overlap(noisy) < 0.3 and overlap(steady) > 0.9
    assert overlap(steady, 2) == pytest.approx(overlap(steady, -2), abs=0.03), "neither late nor early"


def test_what_sounds_is_what_most_of_a_second_say_and_switches_when_it_does() -> None:
    """Single masks are of something else; what sounds moves on after 2.5 seconds."""
    times = [k / 4 for k in range(20)]
    trail = trail_of([Shown(k / RATE, texture(1)) for k in range(5 * RATE)])
    left, right, stray = (disc(place, (SIDE, SIDE)) for place in ((0.2, 0.3), (0.8, 0.3), (0.5, 0.8)))
    truth = [left if time < 2.5 else right for time in times]
    made = [
        MaskResult(k, time, time, logits(stray if k in (3, 6, 14, 18) else mask), SIZE, 256)
        for k, (time, mask) in enumerate(zip(times, truth, strict=True))
    ]
    steady = list(steadied((result for result in made), trail, forget=True))
    assert all(iou(result.logits > 0, mask) > 0.97 for result, mask in zip(steady, truth, strict=True))


@pytest.mark.parametrize("rate", (2, 4, 5, 10, 25))
def test_a_switch_is_shown_when_it_is_at_any_rate(rate: int) -> None:
    """Also next to the beginning and the end; with a reach of three masks a side, or of fifteen."""
    count = 2 * rate
    times = [k / rate for k in range(count)]
    trail = trail_of([Shown(time, texture(1)) for time in times])
    left, right = (disc(place, (SIDE, SIDE)) for place in ((0.2, 0.3), (0.8, 0.3)))
    for moment in sorted({*range(1, min(7, count)), *range(7, count, 5), *range(max(1, count - 6), count)}):
        made = [
            MaskResult(k, time, time, logits(left if k < moment else right), SIZE, 256) for k, time in enumerate(times)
        ]
        for k, result in enumerate(steadied((result for result in made), trail, forget=False)):
            assert np.array_equal(result.logits > 0, left if k < moment else right), (moment, k)


@pytest.mark.parametrize("rate, strays", ((4, 2), (10, 5), (25, 14)))
def test_what_a_minority_shows_is_not_even_shown_faintly(rate: int, strays: int) -> None:
    times = [k / rate for k in range(4 * rate)]
    trail = trail_of([Shown(time, texture(1)) for time in times])
    thing, nothing = logits(disc((0.5, 0.5), (SIDE, SIDE))), logits(np.zeros((SIDE, SIDE), bool))
    odd = range(2 * rate, 2 * rate + strays)
    for usual, stray in ((thing, nothing), (nothing, thing)):
        made = [MaskResult(k, time, time, stray if k in odd else usual, SIZE, 256) for k, time in enumerate(times)]
        for result in steadied((result for result in made), trail, forget=False):
            assert np.array_equal(result.logits > 0, usual > 0) and np.abs(result.logits).min() > 0.5 / EDGE


def test_the_outline_of_what_moves_is_that_of_its_own_mask() -> None:
    """At four masks a second neighbours are carried far: they say what sounds, and not where it ends."""
    times = [k / RATE for k in range(40)]
    trail = trail_of([Shown(time, picture(wandering(time))) for time in times])
    made = [
        MaskResult(k, time, time, logits(disc(wandering(time), (SIDE, SIDE))), SIZE, 256)
        for k, time in enumerate(times[::8])
    ]
    for before, after in zip(made, steadied((result for result in made), trail, forget=True), strict=True):
        assert iou(before.logits > 0, after.logits > 0) == 1


def test_what_moves_and_lacks_for_two_masks_is_filled_in_whole() -> None:
    """The others have come a long way, some places more surely than others: each of them is believed everywhere."""
    times = [k / RATE for k in range(3 * RATE)]
    trail = trail_of([Shown(time, picture(wandering(time))) for time in times])
    made = [
        MaskResult(k, time, time, logits(disc(wandering(time), (SIDE, SIDE)) & (k not in (5, 6))), SIZE, 256)
        for k, time in enumerate(times[::6])
    ]
    for result in list(steadied((result for result in made), trail, forget=True))[5:7]:
        shown = result.logits > 0
        assert iou(shown, disc(wandering(result.time), (SIDE, SIDE))) > 0.85
        assert cv2.connectedComponents(shown.astype(np.uint8))[0] == 2, "one piece, and the ground"


def test_a_pause_is_not_outvoted() -> None:
    trail = trail_of([Shown(k / RATE, texture(1)) for k in range(3 * RATE)])
    shown, nothing = logits(disc((0.5, 0.5), (SIDE, SIDE))), logits(np.zeros((SIDE, SIDE), bool))
    made = [
        MaskResult(k, k / 4, k / 4, nothing if k in (3, 7) else shown, SIZE, 256, ruled_out=PAUSE if k == 7 else "")
        for k in range(12)
    ]
    steady = list(steadied((result for result in made), trail, forget=True))
    assert [k for k, result in enumerate(steady) if not (result.logits > 0).any()] == [7]


@pytest.mark.parametrize("reason", (PAUSE, UNSEEN, ""))
def test_a_mask_emptied_by_its_neighbours_tells_their_reason(reason: str) -> None:
    trail = trail_of([Shown(k / RATE, texture(1)) for k in range(3 * RATE)])
    shown, nothing = logits(disc((0.5, 0.5), (SIDE, SIDE))), logits(np.zeros((SIDE, SIDE), bool))
    made = [
        MaskResult(k, k / 4, k / 4, shown if k == 5 else nothing, SIZE, 256, ruled_out="" if k in (5, 9) else reason)
        for k in range(12)
    ]
    steady = list(steadied((result for result in made), trail, forget=True))
    assert [result.unmarked for result in steady] == ["" if k == 9 else reason for k in range(12)]


def test_a_faint_mask_after_a_switch_shows_nothing_of_the_sure_ones_before_it() -> None:
    times = [k / 4 for k in range(16)]
    trail = trail_of([Shown(k / RATE, texture(1)) for k in range(4 * RATE)])
    left, right = (disc(place, (SIDE, SIDE)) for place in ((0.2, 0.3), (0.8, 0.3)))
    made = [
        MaskResult(k, time, time, logits(left) / 2 if time < 2 else logits(right) / 4, SIZE, 256)
        for k, time in enumerate(times)
    ]
    for result in steadied((result for result in made), trail, forget=True):
        assert np.array_equal(result.logits > 0, left if result.time < 2 else right)


def test_no_mask_votes_over_a_cut_and_all_do_over_a_flash() -> None:
    times = [k / RATE for k in range(50)]
    first, second = (picture(place, ground) for place, ground in (((0.3, 0.5), 1), ((0.7, 0.5), 5)))
    left, right, stray = (disc(place, (SIDE, SIDE)) for place in ((0.2, 0.3), (0.8, 0.3), (0.5, 0.8)))
    for flash in (None, 30):
        shown = [first if time < 0.4 else second for time in times]  # the first scene is shorter than the votes reach
        if flash:
            shown[flash] = np.full(SIZE, 255, np.uint8)
        trail = trail_of([Shown(time, pixels) for time, pixels in zip(times, shown, strict=True)])
        truth = [left if time < 0.4 else right for time in times]
        truth[5] = left & False
        made = [
            MaskResult(k, time, time, logits(stray if k == flash else mask), SIZE, 256)
            for k, (time, mask) in enumerate(zip(times, truth, strict=True))
        ]
        for result in steadied((result for result in made), trail, forget=False):
            assert np.array_equal(result.logits > 0, left if result.time < 0.4 else right), result.index


def test_masks_of_a_picture_that_is_held_vote_as_others_do() -> None:
    """Only those near in time: they are given out at once, and what sounds may change meanwhile."""
    rate, seconds = 10, 20
    trail = trail_of([Shown(0.0, texture(1))])
    left, right = (disc(place, (SIDE, SIDE)) for place in ((0.2, 0.3), (0.8, 0.3)))
    taken = 0

    def made() -> Generator[MaskResult]:
        nonlocal taken
        for k in range(seconds * rate):
            taken += 1
            yield MaskResult(k, 0.0, (k + 1) / rate, logits(left if k < 50 else right), SIZE, 256)

    for k, result in enumerate(steadied(made(), trail, forget=True)):
        assert taken <= k + 10
        assert np.array_equal(result.logits > 0, left if k < 50 else right)
