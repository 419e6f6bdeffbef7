"""The plots of a page of scores."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from avseg_cli.base.text import counted
from avseg_cli.pages.plots import LINE, axes, curve, svg, whole
from avseg_cli.scoring.evaluate import Evaluation
from avseg_cli.scoring.scores import by_category


def score_plots(evaluation: Evaluation) -> list[Markup]:
    """How the clips' IoU is spread, F over the threshold, and the categories' IoU where there are any."""
    figure, axis = axes("clips by IoU", "IoU", "clips")
    axis.hist([clip.iou for clip in evaluation.clips], bins=np.linspace(0, 1, 21), color=LINE)
    whole(axis.yaxis)
    mean_iou = np.mean([clip.iou for clip in evaluation.clips])
    plots = [
        svg(figure, f"how the IoU of {counted(len(evaluation.clips), 'clip')} is spread; their mean is {mean_iou:.3f}")
    ]
    frames = sum(clip.scored_frames for clip in evaluation.clips)
    if frames:
        mean = sum(clip.curve_sum for clip in evaluation.clips).numpy() / frames
        thresholds = np.linspace(0, 1, len(mean))
        plots.append(curve(list(zip(thresholds, mean, strict=True)), "F over the whole split", "threshold", "F"))
    categories = by_category(evaluation.clips)
    if categories:
        figure, axis = axes("mIoU of each category", "mIoU", "")
        figure.set_figheight(1 + 0.24 * len(categories))
        names = sorted(categories, key=lambda name: categories[name].miou)
        axis.barh(names, [categories[name].miou for name in names], color=LINE)
        told = ", ".join(f"{name} {categories[name].miou:.3f}" for name in reversed(names))
        plots.append(svg(figure, f"mIoU of each category: {told}"))
    return plots
