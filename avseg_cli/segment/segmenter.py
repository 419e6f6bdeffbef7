"""A model made ready to segment fast."""

from __future__ import annotations

import copy
from itertools import chain
from pathlib import Path

from avseg_cli.base.compiler import refuse_without_compiler
from avseg_cli.checkpoints import checkpoint as checkpoints
from avseg_cli.checkpoints.packing import packing_pays
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.inference import prepare_for_inference


class Segmenter:
    """What makes a plain model fast, to be handed to ``segment_video`` and ``render`` in its place.

    On a CPU its linear layers are copied into oneDNN's layout where that is faster, and malloc keeps the memory that
    is freed: the latter holds for the whole process. The model given stays as it is and shares its other weights.
    compiled: also compile the image encoder, for thousands of frames on a GPU. Raises ``DeviceError`` where there is
    nothing to compile with.
    """

    def __init__(self, model: AvsegModel, compiled: bool = False) -> None:
        if compiled:
            refuse_without_compiler(model.device.type)
        tensors = chain(model.parameters(), model.buffers())
        twin = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})  # other modules, the same weights
        self.model: AvsegModel = prepare_for_inference(twin, compiled, packing_pays)

    @classmethod
    def load(
        cls, checkpoint: str | Path = checkpoints.DEFAULT, device: str = "auto", precision: str = "auto",
        compiled: bool = False,
    ) -> Segmenter:  # fmt: skip
        """``Segmenter(load_model(…), compiled)`` without the memory of a plain model beside the fast one."""
        if compiled:
            refuse_without_compiler(checkpoints.choose_device(device).type)
        segmenter = cls.__new__(cls)
        segmenter.model = prepare_for_inference(
            checkpoints.load_model(checkpoint, device, precision), compiled, packing_pays
        )
        return segmenter
