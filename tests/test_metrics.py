"""mIoU and F against a literal transcription of AVSBench's definitions (data facts, section 4)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avseg_cli.scoring.metrics import f_score, mask_iou
from avseg_cli.scoring.scores import score_clip, summarise

SIDE = 24


def literal_iou(probability: np.ndarray, truth: np.ndarray) -> float:
    """One frame, set by set."""
    predicted, true = probability > 0.5, truth > 0
    if not true.any():
        return float((~predicted & ~true).sum() / true.size)
    return float((predicted & true).sum() / ((predicted | true).sum() + 1e-7))


def literal_f(probability: np.ndarray, truth: np.ndarray) -> float:
    """One batch of frames, threshold by threshold."""
    thresholds = torch.linspace(0, 1 - 1e-10, 255).numpy()
    curves = []
    for p, g in zip(probability, truth, strict=True):
        if not g.any():
            continue
        curve = []
        for threshold in thresholds:
            predicted = p >= threshold
            tp = float((predicted & g).sum())
            precision, recall = tp / (predicted.sum() + 1e-20), tp / (g.sum() + 1e-20)
            bottom = 0.3 * precision + recall
            curve.append(1.3 * precision * recall / bottom if bottom else 0.0)
        curves.append(curve)
    return float(np.mean(curves, axis=0).max()) if curves else 0.0


@st.composite
def batches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 5))
    probability = random.random((count, SIDE, SIDE), np.float32)
    if draw(st.booleans()):  # values exactly on thresholds, and certain ones
        levels = torch.linspace(0, 1 - 1e-10, 255).numpy()
        probability = levels[random.integers(0, 255, probability.shape)]
    if draw(st.booleans()):
        probability[random.random(count) < 0.5] = 0.0
    truth = random.random((count, SIDE, SIDE)) < random.random()
    truth[random.random(count) < 0.4] = False
    return probability, truth


@settings(max_examples=40, deadline=None)
@given(batches())
def test_metrics_equal_their_definitions(batch: tuple[np.ndarray, np.ndarray]) -> None:
    probability, truth = batch
    p, g = torch.from_numpy(probability), torch.from_numpy(truth)
    expected = [literal_iou(a, b) for a, b in zip(probability, truth, strict=True)]
    assert mask_iou(p, g).tolist() == pytest.approx(expected, abs=1e-9)
    assert f_score(p, g) == pytest.approx(literal_f(probability, truth), abs=1e-6)


def test_empty_truth_scores_what_is_left_empty() -> None:
    truth = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    probability = torch.zeros(2, SIDE, SIDE)
    probability[1, : SIDE // 2] = 1.0
    assert mask_iou(probability, truth).tolist() == [1.0, 0.5]


def test_empty_prediction_of_a_full_truth_scores_nothing() -> None:
    truth = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
    assert mask_iou(torch.zeros(1, SIDE, SIDE), truth).tolist() == [0.0]


def test_half_is_not_foreground() -> None:
    truth = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
    assert mask_iou(torch.full((1, SIDE, SIDE), 0.5), truth).tolist() == [0.0]


def test_silent_video_scores_zero_f_and_is_averaged_in() -> None:
    silent = score_clip("silent", "", torch.zeros(5, SIDE, SIDE), torch.zeros(5, SIDE, SIDE, dtype=torch.bool))
    truth = torch.zeros(5, SIDE, SIDE, dtype=torch.bool)
    truth[:, 4:9] = True
    right = score_clip("right", "", truth.float(), truth)
    assert (silent.f, silent.iou, silent.scored_frames) == (0.0, 1.0, 0)
    total = summarise([silent, right])
    assert total.f == pytest.approx(right.f / 2)
    assert total.f_dataset == pytest.approx(right.f)  # only frames that have a truth


def test_f_depends_on_the_batch_and_both_figures_are_reported() -> None:
    """The reason why the output names its definition: clips whose best thresholds differ."""
    truth = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    truth[0, :12] = True
    shy = torch.where(truth, 0.3, 0.2)
    bold = torch.where(truth, 0.9, 0.8)
    scores = [score_clip(name, "", p, truth) for name, p in (("shy", shy), ("bold", bold))]
    total = summarise(scores)
    assert total.f == pytest.approx(1.0)
    assert total.f_dataset == pytest.approx(f_score(torch.cat([shy, bold]), torch.cat([truth, truth])))
    assert total.f_dataset < total.f
