"""Makes weights/faces.safetensors of the face detector that MediaPipe publishes.

    npm pack @mediapipe/face_detection@0.4.1657300184 && tar xzf mediapipe-face_detection-0.4.1657300184.tgz
    pip install ai-edge-litert
    python -m tests.make_faces package/face_detection_full_range.tflite weights/faces.safetensors

Apache-2.0, Google. Convolutions come in the order in which both run them; scores are compared with those of the
original on random pictures before anything is written.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from avseg_cli.model.faces import SIDE, FaceDetector


def main(source: str, target: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    original = Interpreter(source)
    original.allocate_tensors()
    detector = FaceDetector().eval()
    detector.load_state_dict(_state(original, detector))
    pictures = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        ours = detector(pictures).flatten(1)
    theirs = torch.cat([_scores(original, picture) for picture in pictures])
    apart = (ours - theirs).abs().max().item()
    print(f"largest difference of a logit: {apart:.1e}, of logits up to {theirs.abs().max():.1f}")
    assert apart < 1e-3
    save_file({name: tensor.half() for name, tensor in detector.state_dict().items()}, target)


def _state(original, detector: FaceDetector) -> dict[str, Tensor]:
    """The tensors of the file under our names: its convolutions are numbered in the order in which ours run."""
    full = {}  # number of a tensor in full precision -> that of the stored one
    pairs = []
    for operation in original._get_ops_details():
        inputs = [int(number) for number in operation["inputs"]]
        if operation["op_name"] == "DEQUANTIZE":
            full[int(operation["outputs"][0])] = inputs[0]
        elif operation["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            pairs.append([original.get_tensor(full[number]).astype(np.float32) for number in inputs[1:]])
    state = {}
    for (name, layer), (weight, bias) in zip(_in_order(detector), pairs, strict=False):  # the last is of boxes
        moved = weight.transpose(3, 0, 1, 2) if layer.groups > 1 else weight.transpose(0, 3, 1, 2)
        state |= {f"{name}.weight": torch.from_numpy(moved.copy()), f"{name}.bias": torch.from_numpy(bias)}
    return state


def _in_order(detector: FaceDetector) -> list[tuple[str, torch.nn.Module]]:
    """The convolutions of the detector in the order in which they run."""
    seen: list[tuple[str, torch.nn.Module]] = []
    layers = {layer: name for name, layer in detector.named_modules() if isinstance(layer, torch.nn.Conv2d)}
    hooks = [layer.register_forward_hook(lambda it, *_: seen.append((layers[it], it))) for layer in layers]
    with torch.inference_mode():
        detector(torch.zeros(1, 3, SIDE, SIDE))
    for hook in hooks:
        hook.remove()
    return seen


def _scores(original, picture: Tensor) -> Tensor:
    original.set_tensor(original.get_input_details()[0]["index"], picture.permute(1, 2, 0)[None].numpy())
    original.invoke()
    scores = next(out for out in original.get_output_details() if out["shape"][-1] == 1)
    return torch.from_numpy(original.get_tensor(scores["index"]))[..., 0]


if __name__ == "__main__":
    main(*sys.argv[1:])
