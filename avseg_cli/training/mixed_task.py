"""Stage 2 on annotated clips and on scenes at once: batches of both in turns, on one model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn

from avseg_cli.base.sharing import Sharing
from avseg_cli.data.dataset import Sample
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.training.scenes import SceneSample
from avseg_cli.training.tasks import Task

CLIPS, SCENES = 0, 1  # the tasks' numbers


class MixedModule(nn.Module):
    """The modules of both tasks, of which each step uses one."""

    def __init__(self, model: AvsegModel, parts: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.model, self.parts = model, nn.ModuleList(parts)

    def forward(self, which: int, *inputs: Any) -> Tensor:
        """One loss a clip, or a scene."""
        return self.parts[which](*inputs)


class MixedTask(Task):
    """An epoch has all batches of both, spread evenly; the score is the mean of both scores."""

    skips_parameters = True

    def __init__(self, model: AvsegModel, clips: Task, scenes: Task) -> None:
        self.tasks = (clips, scenes)
        self.module = MixedModule(model, (clips.module, scenes.module))

    def batch_count(self) -> int:
        return sum(task.batch_count() for task in self.tasks)

    def _scenes_before(self, number: int) -> int:
        """Batches of scenes among the first ``number`` of an epoch."""
        return number * self.tasks[SCENES].batch_count() // max(1, self.batch_count())

    def batches(self, epoch: int, first: int) -> Iterator[list[Sample]]:
        met = self._scenes_before(first)
        clips, scenes = (
            task.batches(epoch, done) for task, done in zip(self.tasks, (first - met, met), strict=True)
        )  # fmt: skip
        for number in range(first, self.batch_count()):
            yield next(scenes if self._scenes_before(number + 1) > self._scenes_before(number) else clips)

    def loss(self, module: nn.Module, samples: list[Sample]) -> Tensor:
        which = SCENES if isinstance(samples[0], SceneSample) else CLIPS
        return self.tasks[which].loss(partial(module, which), samples)

    def validate(self, sharing: Sharing) -> list[tuple[dict[str, float], float]]:
        """The figures of both, under ``clips`` and ``scenes``: their means over this process's part of the split."""
        parts = [task.validate(sharing) for task in self.tasks]
        means = [_mean(part) for part in parts]
        named = {
            f"{name}_{key}": value
            for name, figures in zip(("clips", "scenes"), means, strict=True)
            for key, value in figures.items() if key != "score"
        }  # fmt: skip
        score = sum(figures["score"] for figures in means) / len(means)
        return [({"score": score, **named}, sum(weight for part in parts for _, weight in part))]


def _mean(parts: list[tuple[dict[str, float], float]]) -> dict[str, float]:
    whole = sum(weight for _, weight in parts)
    return {key: sum(figures[key] * weight for figures, weight in parts) / whole for key in parts[0][0]}
