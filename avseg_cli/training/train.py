"""``avseg train``: the paper's recipe (section 5.3), stage after stage, each in a folder of its own and resumable."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from avseg_cli.base.arithmetic import arithmetic
from avseg_cli.base.compiler import refuse_without_compiler
from avseg_cli.base.errors import CheckpointError, InputError, OutputError, named
from avseg_cli.base.extras import extra
from avseg_cli.base.free_memory import free_bytes
from avseg_cli.base.progress import console
from avseg_cli.base.text import counted, lasting
from avseg_cli.checkpoints.checkpoint import choose_device, find_checkpoint, load_checkpoint, read_info, save_checkpoint
from avseg_cli.checkpoints.packaged_weights import starting_state
from avseg_cli.checkpoints.precision import training_precision
from avseg_cli.checkpoints.public_weights import starting_weights
from avseg_cli.data.dataset import Sample
from avseg_cli.data.embedding_cache import embedding_shape
from avseg_cli.data.subsets import find_subset
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import BACKBONES, preset
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import FUSIONS
from avseg_cli.model.image_size import at_image_size
from avseg_cli.training.distributed import local_device, process_group, take_own_gpu
from avseg_cli.training.estimate import epoch_steps, memory_in_words, steps_in_words, time_in_words
from avseg_cli.training.feed import fed
from avseg_cli.training.loop import Setup, fit
from avseg_cli.training.material import Material, material_of
from avseg_cli.training.memory import StepMemory, fits, recomputes, step_memory
from avseg_cli.training.parameters import (
    set_dropout,
    set_trainable,
    start_adapters,
    start_kinds,
    start_sound_from_nothing,
    taught_to_encoders,
    transfer,
)
from avseg_cli.training.run_folder import StageFolder, unfinished, versions
from avseg_cli.training.stages import STAGES, in_order, pretraining
from avseg_cli.training.train_options import TrainOptions
from avseg_cli.training.trial import reckon, step_seconds, zero_embeddings

StartingPoint = tuple[dict[str, Tensor], ModelConfig, dict[str, Any]]
FEW_STEPS = 16  # are done almost as soon as their time is known


def train(options: TrainOptions, resume: bool = False) -> Path:
    """Run the stages that are asked for and not yet done; returns the best checkpoint of the last one.

    Raises ``InputError`` for options that do not fit together, ``OutputError`` when the run exists and
    ``resume`` is false, ``DataError`` and ``CheckpointError`` for what the data or a checkpoint lacks.
    """
    take_own_gpu(options.device)
    options = replace(options, stages=options.stages or whole_recipe(options))
    run = Path(options.out)
    if not resume:
        _refuse_started(run, options.stages)
    check_ready(options)
    options = options.beginning
    device = local_device(choose_device(options.device))
    with arithmetic(options.tf32, options.deterministic), process_group(device) as sharing:
        for stage in options.stages:
            folder = StageFolder(run / stage)
            if folder.done:
                continue
            with folder.alone(sharing):
                setup = Setup(
                    options.recipe(stage), options.seed, options.workers, sharing, device,
                    training_precision(options.precision, device), options.accumulate, options.validate_every,
                    options.save_minutes,
                )  # fmt: skip
                train_stage(stage, options, setup, folder)
    return StageFolder(run / options.stages[-1]).best


def plan(options: TrainOptions, resume: bool = False) -> list[str]:
    """What ``train`` would do, in sentences without their subject; raises as it would, and writes nothing."""
    options = replace(options, stages=options.stages or whole_recipe(options))
    run = Path(options.out)
    if not resume:
        _refuse_started(run, options.stages)
    material, config = _checked(options)
    learnt, judged = material.counts
    device = choose_device(options.device)
    dtype = training_precision(options.precision, device)
    precision = str(dtype).removeprefix("torch.")
    lines = [f"train on {learnt} and choose the best on {judged}, on {device} in {precision}"]
    for stage in options.stages:
        recipe, folder = options.recipe(stage), StageFolder(run / stage)
        if not folder.done:
            folder.refuse_busy()
            going_on = "continue" if folder.started else "train"
            lines.append(
                f"{going_on} stage {stage}, {counted(recipe.epochs, 'epoch')} in batches of {recipe.batch_size}, into "
                f"{folder.path}"
            )
            setup = Setup(recipe, device=device, dtype=dtype, accumulate=options.accumulate)
            own = STAGES[stage].model(config)
            memory, free = memory_of(stage, options, setup, material, own), free_bytes(device)
            told = expected(options, setup, material, memory, free)
            if memory is not None:
                with arithmetic(options.tf32, options.deterministic):
                    told += _reckoned(stage, options, setup, material, own, memory, free)
            lines += [f"need for stage {stage}: {line}" for line in told]
    if options.photos:
        lines.append(f"keep features of photographs and sounds in {options.embeddings}")
    elif any(STAGES[stage].caches for stage in options.stages):
        kept = material.kept(config) / 1e9
        lines.append(f"keep image embeddings in {options.embeddings}: {kept:.2f} GB for train and val")
    return lines


def check_ready(options: TrainOptions) -> Material:
    """Look at all that training will need, so that nothing is missed hours later; what it learns from.

    Raises as ``train`` would: for the device, the data, the weights and the packages that are missing, and for a
    disk that cannot take what is kept.
    """
    return _checked(options)[0]


def _checked(options: TrainOptions) -> tuple[Material, ModelConfig]:
    """What is learnt from, and the model that learns; every stage's is put together, without memory for its weights."""
    run = Path(options.out)
    with extra("train", "training writes event files and"):
        import tensorboard  # noqa: F401
    device = choose_device(options.device)
    training_precision(options.precision, device)
    if options.compiled:
        refuse_without_compiler(device.type)
    for folder, option in ((Path(options.embeddings), "cache"), *((run / stage, "out") for stage in options.stages)):
        _refuse_file(folder, option)
    material = material_of(options)
    start = _starting_point(options)
    if options.init_adapters:
        read_info(find_checkpoint(options.init_adapters))
    if options.pretrained:
        _refuse_unpretrained(Path(options.pretrained))
    for stage, folder in ((stage, StageFolder(run / stage)) for stage in options.stages):
        options.recipe(stage)
        if not folder.done:
            _assembled(stage, options, start, torch.device("meta"))
            folder.load_state()
    config = options.ablated(start[1])
    _check_space(options, material.kept(config))
    return material, config


def _refuse_unpretrained(run: Path) -> None:
    """A run without pretraining would leave the encoders at random weights without a word."""
    if not any(StageFolder(run / stage).best.is_file() for stage in pretraining()):
        raise CheckpointError(
            f"{run}: holds no {' or '.join(f'{stage}/best.safetensors' for stage in pretraining())}; give "
            f"{named('pretrained')} the folder of a run that was pretrained, or leave it out"
        )


def _there(folder: Path) -> Path:
    """The part of a path that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _refuse_file(folder: Path, option: str) -> None:
    """Where a folder is to be, or above it, there can be no file, nor a folder that may not be written to."""
    there = _there(folder)
    if not there.is_dir():
        raise OutputError(f"{there}: not a folder; give one with {named(option)}")
    if not os.access(there, os.W_OK):
        raise OutputError(f"{there}: may not be written to; give another folder with {named(option)}")


def _check_space(options: TrainOptions, needed: int) -> None:
    """Where nothing is kept yet, all of it must fit, in bytes; where there is something, it may be this."""
    folder = Path(options.embeddings)
    if folder.is_dir() and any(folder.iterdir()):
        return
    free = shutil.disk_usage(_there(folder)).free
    if needed > free:
        raise OutputError(
            f"{folder}: what frozen networks give takes {needed / 1e9:.1f} GB and there are {free / 1e9:.1f} GB "
            f"left; give another folder with {named('cache')}"
        )


def plan_resume(run: str | Path) -> list[str]:
    """What ``resume`` would do."""
    left = unfinished(Path(run))
    return [line for options in left for line in plan(replace(options, out=str(run)), resume=True)]


def resume(run: str | Path) -> list[Path]:
    """Continue every command whose stages a run folder has not finished; returns their best checkpoints."""
    left = unfinished(Path(run))
    return [train(replace(options, out=str(run)), resume=True) for options in left]


def whole_recipe(options: TrainOptions) -> tuple[str, ...]:
    """The backbone's stages that the options call for: pretraining only from nothing, 1b and 2 only with adapters."""
    given = bool(options.init or options.pretrained)
    left_out = {
        name for name in STAGES if (given and STAGES[name].pretrains) or (STAGES[name].adapts and not options.adapters)
    }
    backbone = BACKBONES[options.backbone]
    stages = backbone.stages
    if options.fusion and not FUSIONS[options.fusion].prompts:  # nothing to join: its decoder hears nothing
        alone = (name for name in in_order() if not STAGES[name].fuses)
        stages = tuple(name for name in alone if backbone.from_nothing or not STAGES[name].pretrains)
    found = tuple(name for name in stages if name not in left_out)
    if not found:
        raise InputError(f"no stage of {options.backbone} is left to train; name one with {named('stages')}")
    return found


def _refuse_started(run: Path, stages: Iterable[str]) -> None:
    for stage in stages:
        if StageFolder(run / stage).started:
            raise OutputError(
                f"{run / stage}: this stage was already started; continue it with `avseg train --resume {run}`, "
                f"or name another {named('out')}"
            )


def train_stage(stage: str, options: TrainOptions, setup: Setup, folder: StageFolder) -> None:
    """One stage from its start, or from where it was interrupted, to its best checkpoint."""
    material = material_of(replace(options, stages=(stage,)))
    torch.manual_seed(options.seed)
    model, origin = initial_model(stage, options)
    parameters = set_trainable(model, stage, options.unfreeze, setup.recipe.still)
    set_dropout(model, options.dropout)
    memory, free = memory_of(stage, options, setup, material, model.config), free_bytes(setup.device)
    model.image_encoder.recompute = recomputes(options.recompute, BACKBONES[options.backbone].recompute, memory, free)
    model.to(setup.device)
    if setup.sharing.rank == 0:
        facts = {"recipe": vars(setup.recipe), "model": model.config.to_dict(), "origin": origin}
        folder.start(options, facts)  # before what can take hours: a run that is stopped there can go on
        _announce(stage, model, parameters, setup, material)
        for line in expected(options, setup, material, memory, free):
            console().print(line, highlight=False, soft_wrap=True)
        if memory is not None and not folder.has_state:
            _tell_time(model, setup, folder, material, STAGES[stage].caches)
    setup.sharing.wait()
    if options.compiled:
        model.image_encoder.compile()  # in place: the names of its weights stay
    task = material.task(stage, model, setup)
    task.module.to(setup.device)
    heads = {f"head.{n}": p for n, p in task.module.named_parameters() if not n.startswith(_MODEL_PREFIXES)}

    def save(which: str, figures: dict[str, Any]) -> None:
        training = {
            "stage": stage, "command": options.command, "versions": versions(), "recipe": vars(setup.recipe),
            "seed": options.seed, "origin": origin, "epoch": figures["epoch"], **material.facts,
        }  # fmt: skip
        save_checkpoint(folder.path / f"{which}.safetensors", model, training, {"val": figures})
        if which == "best":
            task.keep(folder.path)

    summary = fit(task, {**parameters, **heads}, setup, folder, save)
    if setup.sharing.rank == 0:
        folder.finish(summary)
    setup.sharing.wait()


def memory_of(
    stage: str, options: TrainOptions, setup: Setup, material: Material, config: ModelConfig
) -> StepMemory | None:
    """What a step takes, where it is of the stages that learn masks from clips: the others are small."""
    if material.clips is None or STAGES[stage].pretrains or setup.device.type not in ("cpu", "cuda"):
        return None
    return step_memory(
        config, stage, setup.recipe, material.annotated, STAGES[stage].caches, setup.device, setup.dtype,
        options.unfreeze,
    )  # fmt: skip


def _tell_time(model: AvsegModel, setup: Setup, folder: StageFolder, material: Material, cached: bool) -> None:
    """Try a step, where there will be so many that it is worth it."""
    steps = steps_of(material, setup) * setup.recipe.epochs
    if steps <= FEW_STEPS:
        return
    each = step_seconds(model, setup, folder, first_batch(material, setup, model.config, cached))
    if each is not None:
        console().print(time_in_words(each, steps), highlight=False, soft_wrap=True)


def _reckoned(
    stage: str, options: TrainOptions, setup: Setup, material: Material, config: ModelConfig, memory: StepMemory,
    free: int | None,
) -> list[str]:  # fmt: skip
    """The same of a dry run, which has no weights; and what the embeddings take that are made before the first step."""
    steps, cached = steps_of(material, setup) * setup.recipe.epochs, STAGES[stage].caches
    if steps <= FEW_STEPS or not fits(memory.rest, free):
        return []
    recompute = recomputes(options.recompute, BACKBONES[options.backbone].recompute, memory, free)
    batch, room = first_batch(material, setup, config, cached), fits(memory.peak(recompute), free)
    found = reckon(stage, config, setup, batch, options.unfreeze or (), recompute, room)
    if found is None:
        return []
    lines = [time_in_words(found.step, steps, found.blocks)]
    if found.embedding is not None:
        frames = material.kept(config) // (2 * math.prod(embedding_shape(config)))
        told = lasting(found.embedding * frames)
        lines.append(f"before it, embeddings of the {frames:,} frames take about {told}, where they are not kept yet")
    return lines


def first_batch(material: Material, setup: Setup, config: ModelConfig, cached: bool) -> list[Sample]:
    """The clips of a step to try, on the device; zeros stand for embeddings, which may not have been made yet."""
    (batch,) = fed([material.first(setup.recipe.batch_size, cached)], setup.device)
    return [replace(sample, embeddings=zero_embeddings(config, setup.device)) for sample in batch] if cached else batch


def steps_of(material: Material, setup: Setup) -> int:
    """Optimizer steps of an epoch on clips."""
    assert material.clips is not None, "asked for of stages that learn from clips alone"
    return epoch_steps(material.clips, setup.recipe, setup.accumulate, setup.sharing.world)


def expected(
    options: TrainOptions, setup: Setup, material: Material, memory: StepMemory | None, free: int | None
) -> list[str]:
    """What a stage will take, before its first step."""
    lines = []
    if material.clips is not None:
        lines.append(steps_in_words(steps_of(material, setup), setup.recipe.epochs))
    if memory is not None:
        usual = BACKBONES[options.backbone].recompute
        lines.append(memory_in_words(memory, recomputes(options.recompute, usual, memory, free), free))
    return lines


_MODEL_PREFIXES = ("model.", "encoder.", "upscaling.", "vggish.")  # of the task modules; the rest are heads


def initial_model(stage: str, options: TrainOptions) -> tuple[AvsegModel, dict[str, Any]]:
    """The model a stage starts from, and a record of where each part of it came from."""
    return _assembled(stage, options, _starting_point(options), torch.device("cpu"))


def _assembled(
    stage: str, options: TrainOptions, starting: StartingPoint, device: torch.device
) -> tuple[AvsegModel, dict[str, Any]]:
    """The same; on the device "meta", where it takes no memory, it shows that all parts are there and fit."""
    start, config, begun = starting
    origin = dict(begun)
    with device:
        model = AvsegModel(STAGES[stage].model(options.ablated(config)))
    start_adapters(model, options.recipe(stage).adapter_start)
    if not start:
        start_sound_from_nothing(model)
    if model.config.seen_kinds:
        start_kinds(model)
    if start:
        fresh = transfer(model, at_image_size(start, model.config))
        origin |= {} if BACKBONES[options.backbone].packaged else {"fresh": fresh}
    for earlier, parts in STAGES[stage].sources:
        best = StageFolder(options.folder_of(earlier)).best
        if best.is_file():
            state = _learnt(best)
            if options.init and STAGES[earlier].pretrains:
                state = taught_to_encoders(model, earlier, state)
            transfer(model, state, parts)
            origin[earlier] = str(best)
    if STAGES[stage].joins and options.init_adapters:
        other, _ = load_checkpoint(find_checkpoint(options.init_adapters))
        transfer(model, other.state_dict(), ("image_encoder.adapters.",))
        origin["adapters"] = options.init_adapters
    return model, origin


def _learnt(best: Path) -> dict[str, Tensor]:
    """The tensors of a stage's best checkpoint."""
    try:
        return load_file(best)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{best}: not a readable safetensors file ({error}); train that stage anew") from error


def _starting_point(options: TrainOptions) -> StartingPoint:
    """Tensors and configuration to begin with, and which: a checkpoint, public files, or nothing but a preset."""
    if options.init:
        model, info = load_checkpoint(find_checkpoint(options.init))
        if info.config.backbone != options.backbone:
            raise InputError(
                f"{options.init}: a {info.config.backbone} checkpoint; pass {named('backbone')} {info.config.backbone}"
            )
        fusion = ModelConfig.fusion if FUSIONS[info.config.fusion].build is None else info.config.fusion
        return model.state_dict(), replace(info.config, adapters=True, fusion=fusion), {"init": options.init}
    config, backbone = preset(options.backbone), BACKBONES[options.backbone]
    origin: dict[str, Any] = {"init": f"{options.backbone}, public weights or seed {options.seed}"}
    if backbone.packaged:
        state, digests = starting_state(backbone.packaged, options.public)
        return state, config, origin | {"packages": digests}
    if backbone.from_nothing:
        return {}, config, origin
    return starting_weights(config), replace(config, fusion_depth=find_subset(options.subset).fusion_depth), origin


def _announce(
    stage: str, model: AvsegModel, parameters: dict[str, torch.nn.Parameter], setup: Setup, material: Material
) -> None:
    learnt, judged = material.counts
    count = sum(p.numel() for p in parameters.values())
    everything = sum(p.numel() for p in model.parameters())
    recipe = setup.recipe
    whole = BACKBONES[model.config.backbone].parameters
    share = f", {count / whole:.1%} of SAM's" if whole else ""
    console().print(
        f"[bold]stage {stage}[/bold]: {learnt} to train on, {judged} to choose the best on; "
        f"{count / 1e6:.2f} M of {everything / 1e6:.2f} M parameters train{share}\n"
        f"{recipe.optimizer}, lr {recipe.learning_rate:g} {recipe.schedule}, batch {recipe.batch_size}"
        f" x {setup.accumulate} x {setup.sharing.world}, {counted(recipe.epochs, 'epoch')}, loss {recipe.loss}, "
        f"{setup.device} {str(setup.dtype).removeprefix('torch.')}, {os.cpu_count()} cores",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
