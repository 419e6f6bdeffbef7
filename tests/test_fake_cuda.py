"""What would run on a GPU, on one that is not there: types, devices, what the host waits for, what attention gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from fake_cuda import CUDA, fake_cuda, takes_flash
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.utils._python_dispatch import TorchDispatchMode

from avseg_cli.base.device_copies import Arriving, to_device
from avseg_cli.data.dataset import Sample
from avseg_cli.model import relative_attention
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import FUSIONS
from avseg_cli.model.sound_events import SoundEventsNet
from avseg_cli.training import feed
from avseg_cli.training.kinds_heard import HeardModule
from avseg_cli.training.kinds_seen import SeenModule, SeenSample
from avseg_cli.training.loop import Setup, Trainer
from avseg_cli.training.memory import fake_tensors, faked
from avseg_cli.training.parameters import set_trainable
from avseg_cli.training.pretraining import ImageModule, SoundModule
from avseg_cli.training.recipe import default_recipe
from avseg_cli.training.scene_task import SceneModule
from avseg_cli.training.scenes import SceneSample
from avseg_cli.training.stages import STAGES
from avseg_cli.training.tasks import SegmentationModule

BF16 = torch.bfloat16
SIZES = {  # of a video
    "vit_b": (270, 480), "vit_l": (270, 480), "vit_h": (270, 480), "tiny": (90, 160), "small": (90, 160)
}  # fmt: skip
OTHERS = [name for name in FUSIONS if name != ModelConfig.fusion]


def shape_only(config: ModelConfig) -> AvsegModel:
    with torch.device("meta"):
        return AvsegModel(config)


def short(backbone: str, fusion: str = ModelConfig.fusion) -> ModelConfig:
    """The backbone's configuration, SAM's with three blocks, of which the last is global."""
    config = replace(preset(backbone), fusion=fusion)
    return replace(config, depth=3, global_blocks=(2,), fusion_depth=1) if backbone.startswith("vit") else config


# --- inference


@pytest.mark.parametrize(
    ("backbone", "fusion"), [*((backbone, "stbava") for backbone in SIZES), *(("vit_b", other) for other in OTHERS)]
)
def test_a_clip_goes_through_in_bf16_and_nothing_waits(backbone: str, fusion: str) -> None:
    model = shape_only(short(backbone, fusion)).eval().requires_grad_(False).set_precision(BF16)
    time, config = 5, model.config
    example = model.front_end(torch.zeros(16_000)).shape[1:]
    with fake_cuda() as seen, torch.inference_mode():
        faked(model, CUDA)
        pictures = torch.zeros(time, *SIZES[backbone], 3, dtype=torch.uint8, device=CUDA)
        ready = model.preprocess(pictures)  # makes what is made once
        seen.waits.clear()
        ready = model.preprocess(pictures)
        sound = model.embed_sound(torch.zeros(time, *example, device=CUDA))
        embeddings = model.embed_frames(ready, sound)
        logits = model.decode(embeddings[None], sound[None])
        shown = model.postprocess(logits[0], (1080, 1920))
    assert ready.dtype == torch.float32 and embeddings.dtype == BF16 and logits.dtype == torch.float32
    assert logits.shape == (1, time, config.low_res, config.low_res) and shown.shape == (time, 1080, 1920)
    assert {tensor.device for tensor in (ready, embeddings, logits, shown)} == {CUDA}
    assert seen.waits == []
    assert len(seen.attention) >= (config.depth if backbone.startswith("vit") else 0)
    assert all(takes_flash(*inputs) for inputs in seen.attention)


def test_batches_go_ahead_on_a_stream_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are on it, what computes waits for it, and no memory of a batch is given away before that."""
    told: list[str] = []

    class Stream:
        def wait_stream(self, other: Stream) -> None:
            told.append("waits")

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        told.append("on the copies' stream" if stream is copying else "on another")
        yield
        told.append("off it")

    computing, copying = Stream(), Stream()
    held: list[tuple[tuple[int, ...], torch.dtype]] = []

    def record(tensor: Tensor, stream: Stream) -> None:
        assert stream is computing and tensor.device == CUDA
        held.append((tuple(tensor.shape), tensor.dtype))

    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(Tensor, "record_stream", record)
    with fake_cuda() as seen:
        clip = Sample(0, "clip", log_mel=torch.zeros(5, 1, 96, 64), masks=torch.zeros(5, 8, 8, dtype=torch.bool))
        clip.embeddings = torch.zeros(5, 256, 4, 4, dtype=torch.float16)
        scene = SceneSample(
            0, "scene", features=[torch.zeros(3, 2, 2)] * 2, sound=torch.zeros(5, 7), truth=torch.zeros(5)
        )
        batch = feed._sent([clip, scene], CUDA, copying)
        assert told == ["on the copies' stream", "off it"]
        feed._await(batch, computing, copying)
    assert told[2:] == ["waits"] and seen.waits == []
    assert batch[0].embeddings.dtype == torch.float16 and batch[0].embeddings.device == CUDA
    assert sorted(shape for shape, _ in held) == sorted(
        [(5, 1, 96, 64), (5, 8, 8), (5, 256, 4, 4), (3, 2, 2), (3, 2, 2), (5, 7), (5,)]
    )
    assert ((5, 256, 4, 4), torch.float16) in held
    assert clip.embeddings.device.type == "cpu"  # the data set's own stay where they are


def test_what_a_gpu_waits_for_is_noticed() -> None:
    with fake_cuda() as seen:
        values = torch.zeros(3, device=CUDA)
        for wait in (
            lambda: values.cpu(),
            lambda: torch.zeros(3).to(CUDA),
            lambda: torch.zeros(3).to(CUDA, non_blocking=True),  # from memory that may move
            lambda: torch.zeros(3).copy_(values),
        ):
            seen.waits.clear()
            wait()
            assert len(seen.waits) == 1
        seen.waits.clear()
        with pytest.raises(DataDependentOutputException):
            values.sum().item()
        assert len(seen.waits) == 1
        seen.waits.clear()
        to_device(torch.zeros(3), CUDA)
        Arriving(values)
        assert seen.waits == []


# --- training


def of_clips(model: AvsegModel, stage: str, device: torch.device) -> tuple[nn.Module, Callable[[nn.Module], Tensor]]:
    """The module of a stage that learns from AVSBench's clips, and its loss on two of them as they come to the step."""
    config = model.config
    sample = Sample(
        0, "clip", log_mel=torch.zeros(5, 1, 96, 64, device=device),
        masks=torch.zeros(1, 224, 224, dtype=torch.bool, device=device),
    )  # fmt: skip
    if stage == "1a":
        sample.embeddings = torch.zeros(5, 256, config.grid, config.grid, dtype=torch.float16, device=device)
    else:
        sample.frames = torch.zeros(5, 224, 224, 3, dtype=torch.uint8, device=device)
    module = SegmentationModule(model, "bce+iou", device)
    return module, lambda module: module([sample, sample])


def of_pretraining(model: AvsegModel, stage: str, device: torch.device) -> tuple[nn.Module, Callable]:
    """The same of tiny's pretraining stages."""
    if stage == "pretrain-sound":  # mixed on the host, as in its task
        return SoundModule(model, 7, device), lambda module: module(torch.zeros(2, 5, 1, 96, 64), torch.zeros(2, 5, 7))
    maps = torch.zeros(1, 224, 224, dtype=torch.uint8, device=device)
    frames = torch.zeros(1, 224, 224, 3, dtype=torch.uint8, device=device)
    sample = Sample(0, "clip", frames=frames, object_maps=maps)
    return ImageModule(model, 7, device), lambda module: module([sample, sample])


class Features:
    """Of sounds: as ``SoundFeatures``, on the host."""

    def __init__(self, kinds: int) -> None:
        self.features = torch.zeros(12, SoundEventsNet.FEATURES, dtype=torch.float16)
        self.kinds = torch.zeros(12, kinds)
        self.folds = torch.arange(12) % 3


def of_kinds(model: AvsegModel, stage: str, device: torch.device) -> tuple[nn.Module, Callable]:
    """The same of the stages of a model that names kinds."""
    config = model.config
    side, seen = config.image_size, len(config.seen_kinds)
    shapes = [(w, side // by) for w, by in zip(model.image_encoder.trunk.widths, (4, 8, 16, 32), strict=True)]
    features = [torch.zeros(w, s, s, dtype=torch.float16, device=device) for w, s in shapes]
    if stage == "pretrain-sound":
        module = HeardModule(model, Features(len(config.kinds)), device)
        return module, lambda module: module(torch.zeros(4, dtype=torch.long))
    if stage == "pretrain-image":
        maps = torch.zeros(seen, config.grid, config.grid, device=device)
        sample = SeenSample(0, "view", middle=features[2], last=features[3], target=maps, weight=maps)
        module = SeenModule(model, torch.ones(seen, dtype=torch.bool, device=device), device)
        return module, lambda module: module([sample, sample])
    truth = torch.zeros(5, config.low_res, config.low_res, dtype=torch.uint8, device=device)
    scene = SceneSample(
        0, "scene", features=features, sound=torch.zeros(5, len(config.kinds), device=device), truth=truth
    )
    return SceneModule(model, "bce+iou", device), lambda module: module([scene, scene], (1, 2, config.grid // 2))


CASES = [
    *(("vit_h", stage, of_clips, "stbava") for stage in ("1a", "1b", "2")),
    *(("tiny", stage, of_pretraining, "stbava") for stage in ("pretrain-sound", "pretrain-image")),
    *(("small", stage, of_kinds, "stbava") for stage in ("pretrain-sound", "pretrain-image", "2")),
    *(("vit_b", "2" if FUSIONS[other].prompts else "1b", of_clips, other) for other in OTHERS),
]
IDS = [f"{name}-{stage}-{fusion}" for name, stage, _, fusion in CASES]


IDLE = (  # the biases of SAM's keys cancel in the softmax
    "cross_attn_token_to_image.k_proj.bias", "final_attn_token_to_image.k_proj.bias"
)  # fmt: skip


class FakeTask:
    """As much of a task as a step needs."""

    skips_parameters = False

    def __init__(self, module: nn.Module, compute: Callable[[nn.Module], Tensor]) -> None:
        self.module, self.compute = module, compute

    def batch_count(self) -> int:
        return 10

    def loss(self, module: nn.Module, samples: list[Sample]) -> Tensor:
        return self.compute(module)


def trainer(backbone: str, stage: str, made: Callable, fusion: str, device: torch.device) -> Trainer:
    """On fake tensors; its losses are read as 0."""
    model = shape_only(STAGES[stage].model(short(backbone, fusion)))
    parameters = set_trainable(model, stage)
    if hasattr(model.image_encoder, "recompute"):
        model.image_encoder.recompute = backbone == "vit_h"
    faked(model, device)
    module, compute = made(model, stage, device)
    faked(module, device)
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    setup = Setup(default_recipe(backbone, stage), device=device, dtype=BF16, accumulate=2)
    return Trainer(FakeTask(module, compute), parameters, setup, None)


class Zeros:
    def mean(self) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def losses_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step reads its losses, which fake tensors have not."""
    monkeypatch.setattr("avseg_cli.training.loop.Arriving.read", lambda self: Zeros())
    monkeypatch.setattr("avseg_cli.training.loop.check_finite", lambda losses, samples: None)


@pytest.mark.parametrize(("backbone", "stage", "made", "fusion"), CASES, ids=IDS)
def test_a_step_computes_in_bf16_and_nothing_waits(
    backbone: str, stage: str, made: Callable, fusion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a step but the gradients, which torch's engine makes on real devices alone."""
    with fake_cuda() as seen:
        run = trainer(backbone, stage, made, fusion, CUDA)

        def backward(loss: Tensor) -> None:
            assert loss.device == CUDA and loss.dtype == torch.float32 and loss.shape == ()
            for parameter in run.parameters:
                parameter.grad = torch.zeros_like(parameter)

        monkeypatch.setattr(Tensor, "backward", backward)
        run.step([[], []])  # makes what is made once: the optimizer's state
        seen.waits.clear()
        run.step([[], []])
    assert seen.waits == []
    assert all(takes_flash(*inputs) for inputs in seen.attention)
    encoders = [inputs for inputs in seen.attention if inputs[0].shape[2] > 100]
    assert len(encoders) == (4 * 3 if backbone.startswith("vit") and stage != "1a" else 0) or backbone == "tiny"


# Whose gradients CUDA adds up in any order and torch refuses where it is deterministic (its documentation lists them).
# Bilinear resizing and replication padding it replaces there.
UNORDERED = ("adaptive", "avg_pool3d", "fractional", "unpool", "reflection_pad", "bicubic", "linear1d", "grid_sampler",
             "put_", "histc", "bincount", "ctc", "embedding_bag")  # fmt: skip


class Named(TorchDispatchMode):
    """The names of the operations inside."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("backbone", "stage", "made", "fusion"), CASES, ids=IDS)
def test_gradients_reach_all_that_trains(
    backbone: str, stage: str, made: Callable, fusion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fake tensors on the CPU, which torch differentiates, in the form of attention that CUDA takes."""
    monkeypatch.setattr(relative_attention, "TILE", 0)
    with fake_tensors():
        run = trainer(backbone, stage, made, fusion, torch.device("cpu"))
        with Named() as seen:
            run.step([[], []])  # raises where the host would have to know a value
        without = [name for name, p in zip(run.names, run.parameters, strict=True) if p.grad is None]
        assert all(p.grad.shape == p.shape and p.grad.dtype == p.dtype for p in run.parameters if p.grad is not None)
    assert all(name.endswith(IDLE) for name in without)
    backward = {name for name in seen.names if "backward" in name or "put" in name}
    assert backward and not [name for name in backward if any(kind in name for kind in UNORDERED)]
