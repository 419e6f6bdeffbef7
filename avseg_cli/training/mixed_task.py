"""Stage 2 on annotated clips and on composed scenes: batches of both, evenly spread, on one model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn

from avseg_cli.base.sharing import Sharing
from avseg_cli.data.dataset import Sample
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.training.distributed import mean_figures
from avseg_cli.training.scenes import SceneSample
from avseg_cli.training.tasks import Task

PARTS = ("clips", "scenes")


class MixedModule(nn.Module):
    """The modules of both tasks, of which each step uses one."""

    def __init__(self, model: AvsegModel, parts: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.model, self.parts = model, nn.ModuleList(parts)

    def forward(self, part: int, *inputs: Any) -> Tensor:
        """One loss a clip, or a scene: each of its own kind (scenes have pixels whose truth is not known)."""
        return self.parts[part](*inputs)


class MixedTask(Task):
    """An epoch has all batches of both; the score is the mean of both scores."""

    skips_parameters = True

    def __init__(self, model: AvsegModel, clips: Task, scenes: Task) -> None:
        self.tasks = (clips, scenes)
        self.counts = tuple(task.batch_count() for task in self.tasks)
        self.module = MixedModule(model, (clips.module, scenes.module))

    def batch_count(self) -> int:
        return sum(self.counts)

    def batches(self, epoch: int, first: int) -> Iterator[list[Sample]]:
        done = self._scenes_before(first)
        clips, scenes = self.tasks[0].batches(epoch, first - done), self.tasks[1].batches(epoch, done)
        for number in range(first, self.batch_count()):
            yield next(scenes if self._scenes_before(number + 1) > self._scenes_before(number) else clips)

    def _scenes_before(self, number: int) -> int:
        """Batches of scenes among the first ``number`` of an epoch."""
        return number * self.counts[1] // self.batch_count()

    def loss(self, module: nn.Module, samples: list[Sample]) -> Tensor:
        part = int(isinstance(samples[0], SceneSample))
        return self.tasks[part].loss(partial(module, part), samples)

    def validate(self, sharing: Sharing) -> list[tuple[dict[str, float], float]]:
        """The figures of both over the whole split, under ``clips`` and ``scenes``."""
        means = [mean_figures(task.validate(sharing), sharing) for task in self.tasks]
        named = {
            f"{part}_{key}": value
            for part, figures in zip(PARTS, means, strict=True)
            for key, value in figures.items() if key != "score"
        }  # fmt: skip
        return [({"score": sum(figures["score"] for figures in means) / len(means), **named}, 1.0)]
