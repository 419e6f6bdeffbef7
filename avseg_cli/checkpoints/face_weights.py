"""The face detector that comes with avseg: weights/faces.safetensors, made by ``python -m tests.make_faces``."""

from __future__ import annotations

from functools import cache

from safetensors.torch import load_file

from avseg_cli.checkpoints.manifest import weights_dir
from avseg_cli.model.faces import FaceDetector


@cache
def load_faces(device: str) -> FaceDetector:
    """The detector in float32 on ``device``, strictly; one for each device of the process."""
    detector = FaceDetector()
    state = load_file(weights_dir() / "faces.safetensors")
    detector.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return detector.eval().requires_grad_(False).to(device)
