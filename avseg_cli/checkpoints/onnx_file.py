"""The layers of a network that somebody published as an ONNX file, read without running it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from avseg_cli.base.errors import CheckpointError
from avseg_cli.base.extras import extra

LAYERS = ("Conv", "Gemm")
PASSED_OVER = ("QuantizeLinear", "DequantizeLinear")  # they round what stands before them in full precision


def onnx_layers(archive: Path) -> dict[str, Tensor]:
    """The convolutions and linear layers of a zipped ONNX model, in the graph's order: "0.weight", "0.bias", …

    Where the graph rounds its weights as it runs, these are the weights before that. Raises ``CheckpointError`` for a
    file that is no such archive.
    """
    with extra("train", "reading an ONNX file"):
        import onnx
        from google.protobuf.message import DecodeError  # pyright: ignore[reportMissingModuleSource]
        from onnx import numpy_helper
    try:
        with TemporaryDirectory() as folder, ZipFile(archive) as content:
            content.extractall(folder)
            (path,) = Path(folder).rglob("*.onnx")
            graph = onnx.load(path).graph
    except (BadZipFile, OSError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise CheckpointError(f"{archive}: holds no readable ONNX model ({error}); download it again") from error
    values = {tensor.name: tensor for tensor in graph.initializer}
    before = {node.output[0]: node.input[0] for node in graph.node if node.op_type in PASSED_OVER}
    layers: dict[str, Tensor] = {}
    nodes = [node for node in graph.node if node.op_type in LAYERS]
    for number, node in enumerate(nodes):
        for part, name in zip(("weight", "bias"), node.input[1:], strict=False):
            while name in before:
                name = before[name]
            layers[f"{number}.{part}"] = torch.from_numpy(numpy_helper.to_array(values[name]).copy())
    return layers
