"""What trains in each stage: a named list, not a pattern over names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from avseg_cli.base.errors import InputError
from avseg_cli.model import kinds
from avseg_cli.model.adapters import AudioAdapters
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import BACKBONES
from avseg_cli.training.stages import STAGES

UNTAUGHT = 7.0  # logit that makes up for a class map that says nothing
UNFROZEN = {"image": "image_encoder", "sound": "vggish"}


def trained_parts(model: AvsegModel, stage: str, unfreeze: tuple[str, ...] = ()) -> list[str]:
    """What of ``model`` trains in ``stage``, modules and parameters by name, without what an ablation removed."""
    own = BACKBONES[model.config.backbone].trained if model.config.backbone in BACKBONES else {}
    names = own.get(stage, STAGES[stage].trains) + (
        tuple(UNFROZEN[part] for part in unfreeze) if STAGES[stage].joins else ()
    )
    there = dict(model.named_modules()) | dict(model.named_parameters())
    return [name for name in names if name in there]


def set_trainable(
    model: AvsegModel, stage: str, unfreeze: tuple[str, ...] = (), still: tuple[str, ...] = ()
) -> dict[str, nn.Parameter]:
    """Freeze everything but the stage's parts, which go into train mode; returns their parameters by name.

    ``still``: those among them that keep their values.
    """
    model.eval().requires_grad_(False)
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for name in trained_parts(model, stage, unfreeze):
        if name in modules:
            modules[name].train()
        (modules[name] if name in modules else parameters[name]).requires_grad_(True)
    for name in never_read(model):
        model.get_submodule(name).requires_grad_(False)
    for name in (*STAGES[stage].still, *still):
        if name in modules:
            model.get_submodule(name).requires_grad_(False)
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def never_read(model: AvsegModel) -> list[str]:
    """What SAM's decoder carries and the model does not use: its quality head, and the masks that are not wanted."""
    unused = (0,) if model.no_mask_embed is None else (1, 2, 3)
    return ["mask_decoder.iou_prediction_head", *(f"mask_decoder.output_hypernetworks_mlps.{k}" for k in unused)]


def start_sound_from_nothing(model: AvsegModel) -> None:
    """He initialisation for VGGish: nine layers without normalisation fade out under torch's default one."""
    for layer in model.vggish.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)


def start_adapters(model: AvsegModel, how: str) -> None:
    """Audio adapters as they begin: "zero" leaves the encoder as it was; "normal": SAMA-AVS's truncated normal."""
    if how != "normal" or not isinstance(model.image_encoder.adapters, AudioAdapters):
        return
    for layer in model.image_encoder.adapters.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)


def start_kinds(model: AvsegModel) -> None:
    """What an encoder of kinds is told before it learns: which classes and which sounds go with which things.

    The usual logit of a kind with classes of ImageNet's is none; one without is far from there until it is learnt.
    """
    encoder, config = model.image_encoder, model.config
    events, classes = model.vggish.members, encoder.members
    events.copy_(kinds.members([kinds.EVENTS[kind] for kind in config.kinds], len(events)))
    classes.copy_(kinds.members([kinds.SEEN[kind] for kind in config.seen_kinds], len(classes)))
    if encoder.adapters is not None:
        encoder.adapters.relation.copy_(kinds.relation(config.kinds, config.seen_kinds))
    nn.init.zeros_(encoder.sharpen.weight)
    nn.init.zeros_(encoder.sharpen.bias)
    with torch.no_grad():
        encoder.usual.copy_(torch.where(classes.any(0), 0.0, UNTAUGHT))


def set_dropout(model: AvsegModel, probability: float) -> None:
    """Dropout on the attention weights of the fusion module."""
    for module in model.modules():
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = probability


def taught_to_encoders(model: AvsegModel, stage: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a pretraining stage's checkpoint holds that the stage taught ``model``'s encoders; the rest is as it began.

    For a model that has learnt masks: its decoder and adapters stay its own.
    """
    still = tuple(f"{part}." for part in STAGES[stage].still)
    taught = [part for part in trained_parts(model, stage) if part.split(".")[0] in UNFROZEN.values()]
    return {
        name: tensor
        for name, tensor in state.items()
        if any(f"{name}.".startswith(f"{part}.") for part in taught) and not name.startswith(still)
    }


def transfer(model: AvsegModel, state: Mapping[str, Tensor], parts: tuple[str, ...] = ("",)) -> list[str]:
    """Copy the tensors of ``state`` below ``parts`` into ``model``; returns the model's names that had no counterpart.

    A warm start may lack whole modules (new fusion blocks, adapters); it never differs in shape: that raises
    ``InputError``.
    """
    own = model.state_dict()
    chosen = {k: v for k, v in own.items() if k.startswith(parts)}
    fresh = [name for name in chosen if name not in state]
    for name in chosen.keys() & state.keys():
        if chosen[name].shape != state[name].shape:
            raise InputError(
                f"the starting checkpoint has {name} of shape {tuple(state[name].shape)}, this model needs "
                f"{tuple(chosen[name].shape)}; start from a checkpoint of the same backbone and size"
            )
        chosen[name].copy_(state[name])
    return sorted(fresh)
