"""The face detector that comes with avseg: weights/faces.safetensors, made by ``python -m tests.make_faces``."""

from __future__ import annotations

from functools import cache

from safetensors import SafetensorError
from safetensors.torch import load_file

from avseg_cli.base.errors import CheckpointError
from avseg_cli.checkpoints.manifest import faces_file
from avseg_cli.model.faces import FaceDetector


@cache
def load_faces(device: str = "cpu") -> FaceDetector:
    """The detector in float32 on ``device``, strictly; one for each device of the process.

    Raises ``CheckpointError`` where the file is missing, damaged or another one.
    """
    path, detector = faces_file(), FaceDetector()
    try:
        state = {name: tensor.float() for name, tensor in load_file(path).items()}
        detector.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the face detector is missing or damaged; install avseg again") from error
    return detector.eval().requires_grad_(False).to(device)
