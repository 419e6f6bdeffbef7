"""How long a step takes, tried before the first one.

A run tries a copy of what trains, a dry run the same with random weights, or a part of it: nothing is left behind.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from avseg_cli.base.operations import count_flops
from avseg_cli.base.sharing import Sharing
from avseg_cli.data.dataset import Sample
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.config import ModelConfig
from avseg_cli.training.loop import NonFiniteLoss, Setup, Trainer
from avseg_cli.training.memory import shortened
from avseg_cli.training.parameters import set_trainable
from avseg_cli.training.run_folder import StageFolder
from avseg_cli.training.tasks import SegmentationModule, Task

STEPS = 3  # the first starts things up
ENOUGH = 20.0  # seconds, after which one step has to do
BRIEF = 5.0  # seconds, after which two have to do


class OneBatch(Task):
    """As much of a task as a step needs."""

    skips_parameters = True

    def __init__(self, module: SegmentationModule) -> None:
        self.module = module

    def batch_count(self) -> int:
        return 1

    def batches(self, epoch: int, first: int) -> Iterator[list[Sample]]:
        """None: they are handed to the step."""
        return iter(())

    def validate(self, sharing: Sharing) -> list[tuple[dict[str, float], float]]:
        """Nothing is judged."""
        return []

    def loss(self, module: torch.nn.Module, samples: list[Sample]) -> torch.Tensor:
        return module(samples)


def step_seconds(model: AvsegModel, setup: Setup, folder: StageFolder, batch: list[Sample]) -> float | None:
    """Seconds of an optimizer step of a stage that learns masks from clips; None where none can be made.

    What processes tell each other is not in it. Frozen weights are shared with the copy, and random states are put
    back, so that training gives the same bytes as without.
    """
    frozen = {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}
    twin = copy.deepcopy(model, frozen)
    trained = {name: parameter for name, parameter in twin.named_parameters() if parameter.requires_grad}
    with _forked(setup):
        task = OneBatch(SegmentationModule(twin, setup.recipe.loss, setup.device))
        trainer = Trainer(task, trained, replace(setup, sharing=Sharing()), folder)
        try:
            return _least(lambda: trainer.step([batch]), setup) * setup.accumulate
        except (NonFiniteLoss, torch.OutOfMemoryError):  # the run itself will say so
            return None


@dataclass(frozen=True)
class Reckoned:
    """Seconds of an optimizer step, and of one frame's embedding where these are kept; blocks: as many of the encoder's
    were tried, and the others are their arithmetic; None: all that a step takes was tried."""

    step: float
    embedding: float | None = None
    blocks: int | None = None


def reckon(
    stage: str, config: ModelConfig, setup: Setup, batch: list[Sample], unfreeze: tuple[str, ...], recompute: bool,
    fits: bool,
) -> Reckoned | None:  # fmt: skip
    """What ``step_seconds`` would find, without the weights; None where no step can be made.

    Long steps, and those of a model that does not fit into memory, are reckoned: the part outside the encoder is tried,
    and one frame through a block of each kind that the encoder has.
    """
    with torch.device("meta"):
        whole = AvsegModel(config)
        short = AvsegModel(shortened(whole))

    def model(of: AvsegModel) -> AvsegModel:
        with _forked(setup), torch.device(setup.device):
            made = AvsegModel(of.config)
        set_trainable(made, stage, unfreeze, setup.recipe.still)
        made.image_encoder.recompute = recompute
        return made

    def tried(model: AvsegModel, batch: list[Sample]) -> float | None:
        return step_seconds(model, setup, StageFolder(Path()), batch)

    scale = _frame_flops(whole) / _frame_flops(short)
    part, cached = model(short), batch[0].embeddings is not None
    if cached or short.config == config:
        step = tried(part, batch)
        return None if step is None else Reckoned(step, scale * _frame_seconds(part, setup, False) if cached else None)
    embeddings = zero_embeddings(config, setup.device).requires_grad_()  # gradients go on into the encoder
    beside = tried(part, [replace(sample, frames=None, embeddings=embeddings) for sample in batch])
    if beside is None:
        return None
    frames = config.clip_frames * len(batch) * setup.accumulate
    step = beside + frames * scale * _frame_seconds(part, setup, True)
    if not fits or STEPS * step > ENOUGH:
        return Reckoned(step, blocks=short.config.depth)
    step = tried(model(whole), batch)
    return None if step is None else Reckoned(step)


def zero_embeddings(config: ModelConfig, device: torch.device) -> torch.Tensor:
    """(T, C, g, g), as the image encoder gives them for a clip."""
    return torch.zeros(config.clip_frames, config.out_chans, config.grid, config.grid, device=device)


def _frame_flops(model: AvsegModel) -> int:
    """Operations of the encoder on one frame; the model is on the device "meta"."""
    return count_flops(lambda: model.embed_frames(*_frame(model.config, torch.device("meta"))))


def _frame_seconds(model: AvsegModel, setup: Setup, gradients: bool) -> float:
    """Seconds of one frame in the encoder."""

    def work() -> None:
        with torch.set_grad_enabled(gradients), setup.autocast():
            embedding = model.embed_frames(*_frame(model.config, setup.device))
        if embedding.requires_grad:
            embedding.float().mean().backward()
        model.zero_grad()

    return _least(work, setup)


def _frame(config: ModelConfig, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A frame, and the sound that an encoder with adapters hears in it."""
    sound = torch.zeros(1, config.audio_dim, device=device) if config.adapters else None
    return torch.zeros(1, 3, config.image_size, config.image_size, device=device), sound


def _forked(setup: Setup) -> AbstractContextManager[None]:
    """Random states are put back afterwards."""
    return torch.random.fork_rng([setup.device] if setup.device.type == "cuda" else [])


def _least(work: Callable[[], object], setup: Setup) -> float:
    """Seconds of the quickest of some calls: the first is left out if it was not long."""
    times: list[float] = []
    while len(times) < STEPS and sum(times) < (BRIEF if len(times) > 1 else ENOUGH):
        began = time.perf_counter()
        work()
        if setup.device.type == "cuda":
            torch.cuda.synchronize(setup.device)
        times.append(time.perf_counter() - began)
    return min(times[1:] or times)
