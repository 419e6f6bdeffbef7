"""What trains in each stage: a named list, not a pattern over names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from avseg_cli.base.errors import InputError
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.training.stages import STAGES

UNFROZEN = {"image": "image_encoder", "sound": "vggish"}


def trained_parts(model: AvsegModel, stage: str, unfreeze: tuple[str, ...] = ()) -> list[str]:
    """Names of the modules of ``model`` that train in ``stage``; parts that an ablation removed are left out."""
    names = STAGES[stage].trains + (tuple(UNFROZEN[part] for part in unfreeze) if STAGES[stage].joins else ())
    modules = dict(model.named_modules())
    return [name for name in names if name in modules]


def set_trainable(model: AvsegModel, stage: str, unfreeze: tuple[str, ...] = ()) -> dict[str, nn.Parameter]:
    """Freeze everything but the stage's parts, which go into train mode; returns their parameters by name."""
    model.eval().requires_grad_(False)
    for name in trained_parts(model, stage, unfreeze):
        model.get_submodule(name).train().requires_grad_(True)
    for name in never_read(model):
        model.get_submodule(name).requires_grad_(False)
    for name in STAGES[stage].still:
        if name in dict(model.named_modules()):
            model.get_submodule(name).requires_grad_(False)
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def never_read(model: AvsegModel) -> list[str]:
    """What SAM's decoder carries and the model does not use: its quality head, and the masks that are not wanted."""
    unused = (1, 2, 3) if model.config.fusion == "sama" else (0,)
    return ["mask_decoder.iou_prediction_head", *(f"mask_decoder.output_hypernetworks_mlps.{k}" for k in unused)]


def start_sound_from_nothing(model: AvsegModel) -> None:
    """He initialisation for VGGish: nine layers without normalisation fade out under torch's default one."""
    for layer in model.vggish.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)


def set_dropout(model: AvsegModel, probability: float) -> None:
    """Dropout on the attention weights of the fusion module."""
    for module in model.modules():
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = probability


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
