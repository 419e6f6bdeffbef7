"""What a step needs of a device's memory: counted on tensors that have a shape and no content, before anything runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from avseg_cli.data.dataset import Sample
from avseg_cli.data.subsets import MASK_SIZE
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.image_encoder import ImageEncoder
from avseg_cli.model.transforms import statistics
from avseg_cli.training.parameters import set_trainable
from avseg_cli.training.recipe import Recipe
from avseg_cli.training.tasks import SegmentationModule

ROOM = 0.85  # of what is free; the rest is for kernels' own needs and gaps
STATES = 3  # tensors beside every trained weight: its gradient and Adam's two means


@dataclass(frozen=True)
class StepMemory:
    """Bytes. weights: and what the optimizer keeps of them; rest: activations outside the encoder's blocks, which are
    always kept; blocks: those inside; entrances: what enters the blocks; largest: the activations of one block."""

    weights: int
    rest: int
    blocks: int = 0
    entrances: int = 0
    largest: int = 0

    def peak(self, recompute: bool) -> int:
        """At most, when a block's gradients are made; they take about what its activations do."""
        kept = self.entrances + self.largest if recompute else self.blocks
        return self.weights + self.rest + kept + self.largest


def recomputes(asked: str, usual: bool, memory: StepMemory | None, free: int | None) -> bool:
    """Whether blocks compute their activations twice: as asked, or where they do not all fit into what is ``free``."""
    if asked != "auto" or not usual or memory is None or free is None:
        return usual if asked == "auto" else asked == "on"
    return not fits(memory.peak(False), free)


def fits(needed: int, free: int | None) -> bool:
    """Whether so many bytes find room; None free: not known, and then they do."""
    return free is None or needed <= ROOM * free


def step_memory(
    config: ModelConfig, stage: str, recipe: Recipe, annotated: int, cached: bool, device: torch.device,
    dtype: torch.dtype, unfreeze: tuple[str, ...] = (),
) -> StepMemory:  # fmt: skip
    """Of a stage that learns masks from clips. annotated: frames of a clip with a mask; cached: embeddings are read.

    A block of each kind is counted and stands for all of them.
    """
    with torch.device("meta"):
        whole = AvsegModel(config)
        short = AvsegModel(shortened(whole))
    trained = set_trainable(whole, stage, unfreeze, recipe.still).values()
    weights = sum(p.nbytes for p in whole.parameters()) + STATES * sum(p.nbytes for p in trained)
    set_trainable(short, stage, unfreeze, recipe.still)
    kinds = [j in config.global_blocks for j in range(config.depth)]
    with fake_tensors():
        saved = _Saved(faked(short, device))
        module = SegmentationModule(short, recipe.loss, device)
        samples = [clip_of_zeros(config, annotated, cached, device)] * recipe.batch_size
        computing = torch.autocast(device.type, dtype) if dtype != torch.float32 else nullcontext()
        with saved_tensors_hooks(saved.note, lambda tensor: tensor), computing:
            module(samples).mean()
    if not saved.entrance:
        return StepMemory(weights, sum(saved.bytes.values()))
    return StepMemory(
        weights, saved.bytes[None], sum(saved.bytes[kind] for kind in kinds), saved.entrance * config.depth,
        max(saved.bytes[kind] for kind in kinds),
    )  # fmt: skip


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Tensors made inside have no values. Nothing that is made once for a device and kept crosses either way."""
    statistics.cache_clear()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        statistics.cache_clear()


def faked(module: nn.Module, device: torch.device) -> nn.Module:
    """``module``, which was made on the device "meta", with fake tensors on ``device``; inside ``fake_tensors``."""
    for part in module.modules():
        for name, tensor in part._parameters.items():
            if tensor is not None:
                fake = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
                part._parameters[name] = nn.Parameter(fake, requires_grad=tensor.requires_grad)
        for name, tensor in part._buffers.items():
            if tensor is not None:
                part._buffers[name] = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
    return module


def shortened(model: AvsegModel) -> ModelConfig:
    """The configuration of a model with one block of each kind that its encoder has; its own if that has no blocks."""
    config = model.config
    if not isinstance(model.image_encoder, ImageEncoder):
        return config
    kinds = sorted({j in config.global_blocks for j in range(config.depth)})
    return replace(config, depth=len(kinds), global_blocks=tuple(j for j, kind in enumerate(kinds) if kind))


def clip_of_zeros(config: ModelConfig, annotated: int, cached: bool, device: torch.device) -> Sample:
    """A clip as it comes to the step."""
    time = config.clip_frames
    sample = Sample(
        0, "", log_mel=torch.zeros(time, 1, 96, 64, device=device),
        masks=torch.zeros(annotated, MASK_SIZE, MASK_SIZE, dtype=torch.bool, device=device),
    )  # fmt: skip
    if cached:
        sample.embeddings = torch.zeros(time, config.out_chans, config.grid, config.grid, device=device)
    else:
        sample.frames = torch.zeros(time, MASK_SIZE, MASK_SIZE, 3, dtype=torch.uint8, device=device)
    return sample


class _Saved:
    """Counts what is kept for gradients: inside a block by its kind (global or not), elsewhere under None."""

    def __init__(self, model: AvsegModel) -> None:
        self.bytes: dict[bool | None, int] = defaultdict(int)
        self.entrance = 0  # bytes that enter a block
        self._inside: bool | None = None
        self._known: dict[int, Any] = {}  # storages, held so that no other gets their number
        for tensor in (*model.parameters(), *model.buffers()):
            self._new(tensor)
        if isinstance(model.image_encoder, ImageEncoder):
            for block in model.image_encoder.blocks:
                block.register_forward_pre_hook(self._enter)
                block.register_forward_hook(self._leave)

    def note(self, tensor: Tensor) -> Tensor:
        if self._new(tensor):
            self.bytes[self._inside] += tensor.untyped_storage().nbytes()
        return tensor

    def _new(self, tensor: Tensor) -> bool:
        storage = tensor.untyped_storage()
        new = storage._cdata not in self._known
        self._known[storage._cdata] = storage
        return new

    def _enter(self, block: nn.Module, inputs: Sequence[Tensor]) -> None:
        if inputs[0].requires_grad:
            self._inside, self.entrance = block.attn.window == 0, inputs[0].nbytes

    def _leave(self, block: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> None:
        self._inside = None
