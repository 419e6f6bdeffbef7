"""How well masks follow picture and sound between the instants at which the model looks: mIoU over all frames.

    avseg synth --media media --out films --clips 20 --seed 7 --splits 0/0/1/0 --mp4 --mp4-size 384x288 --every-frame
    python -m tests.motion_figures films --rates 1,4,25

For each number of masks a second: the nearest mask repeated, the distances from the outlines mixed, one mask faded into
the next, and avseg's own way; with the default model's masks, and with the truth's own at the same instants, steadied
like the model's, which show what is lost by that and between them alone.
"still" is the mean IoU of a mask with that of the next frame, where the truth hardly moves (0.99 and more).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import cv2
import numpy as np

from avseg_cli import Segmenter, segment_video
from avseg_cli.motion.onset import onset
from avseg_cli.motion.timeline import Instant, Timeline
from avseg_cli.motion.trail import Trail
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.shapes import signed_distance
from avseg_cli.segment.steady import steadied
from avseg_cli.synth.video_file import VIDEO_FPS, read_masks

LOGITS = attrgetter("logits")
STILL = 0.99  # IoU of the truth with that of the next frame from which it hardly moves
Figures = dict[tuple[str, str], list[float]]  # (whose masks, how they are shown between) -> a value for each frame


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Of two masks; 1 where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def ways_to_show(results: list[MaskResult], trail: Trail) -> Iterator[tuple[str, Callable[[float], np.ndarray]]]:
    """Each way to show masks between the results: its name, and the logits at a time in seconds."""
    fading = Timeline(iter(results))
    followed = Timeline(iter(results), trail, onset)

    def nearest(instant: Instant[MaskResult]) -> np.ndarray:
        return LOGITS(instant.before if instant.share < 0.5 else instant.after)

    def distance(instant: Instant[MaskResult]) -> np.ndarray:
        one, other = (signed_distance(LOGITS(result)) for result in (instant.before, instant.after))
        return (1 - instant.share) * one + instant.share * other

    repeated, bent = Timeline(iter(results)), Timeline(iter(results))
    yield "nearest", lambda time: nearest(repeated.at(time))
    yield "distance", lambda time: distance(bent.at(time))
    yield "fade", lambda time: fading.at(time).between(LOGITS)
    yield "avseg", lambda time: followed.at(time).between(LOGITS)


def true(result: MaskResult, truth: np.ndarray) -> MaskResult:
    """The result with the truth's mask in place of the model's."""
    mask = truth[min(len(truth) - 1, round(result.time * VIDEO_FPS))].astype(np.float32)
    share = cv2.resize(mask, result.logits.shape[::-1], interpolation=cv2.INTER_AREA)
    return replace(result, logits=12 * (share - 0.5))


def measure(video: Path, model: Segmenter, rate: int, figures: Figures, still: Figures) -> None:
    """Add the values of every frame of one film."""
    truth = read_masks(video)
    rests = [k for k in range(len(truth) - 1) if truth[k].any() and iou(truth[k], truth[k + 1]) >= STILL]
    masks = segment_video(video, model, fps=rate, follow=True)
    found = list(masks)
    assert masks.trail is not None
    masks.trail.forget = lambda before: None  # it is followed twice
    known = (true(result, truth) for result in found)
    told = list(known if rate == 1 else steadied(known, masks.trail, forget=False))
    for whose, results in (("model", found), ("truth", told)):
        for name, at in ways_to_show(results, masks.trail):
            logits = [at(k / VIDEO_FPS) for k in range(len(truth))]
            shown = [replace(results[0], logits=own, size=truth.shape[1:]).mask for own in logits]
            figures[whose, name] += [iou(mask, own) for mask, own in zip(shown, truth, strict=True)]
            still[whose, name] += [iou(shown[k], shown[k + 1]) for k in rests]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("--rates", default="1,4,25")
    parser.add_argument("--clips", type=int, default=20, help="how many films at most")
    given = parser.parse_args()
    model = Segmenter.load("default")
    videos = sorted(given.films.rglob("raw_videos/**/*.mp4"))[: given.clips]
    print("| masks a second | masks of | nearest | distance | fade | avseg | fade, still | avseg, still |")
    print("|---" * 8 + "|")
    for rate in map(int, given.rates.split(",")):
        figures, still = defaultdict(list), defaultdict(list)
        for video in videos:
            measure(video, model, rate, figures, still)
        for whose in ("model", "truth"):
            row = [f"{100 * np.mean(figures[whose, name]):.1f}" for name in ("nearest", "distance", "fade", "avseg")]
            row += [f"{np.mean(still[whose, name]):.3f}" for name in ("fade", "avseg")]
            print(f"| {rate} | {whose} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
