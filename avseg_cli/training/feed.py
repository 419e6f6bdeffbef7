"""Batches on their way to the device: read, made ready and sent by a thread while the batch before is learnt from."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from avseg_cli.base.device_copies import to_device
from avseg_cli.base.prefetch import Prefetch
from avseg_cli.data.dataset import Sample

AHEAD = 2  # batches

Batch = list[Sample]


def fed(batches: Iterable[Batch], device: torch.device, ahead: int = AHEAD) -> Generator[Batch]:
    """The batches with their tensors on ``device``.

    To a GPU they go on a stream of its own, out of page-locked memory, so that copies and arithmetic overlap.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None
    source = Prefetch((_sent(batch, device, stream) for batch in batches), ahead)
    try:
        for batch in source:
            if stream is not None:
                _await(batch, torch.cuda.current_stream(device), stream)
            yield batch
    finally:
        source.close()


def _sent(batch: Batch, device: torch.device, stream: torch.cuda.Stream | None) -> Batch:
    with torch.cuda.stream(stream) if stream is not None else nullcontext():
        return [replace(sample, **{name: _moved(value, device) for name, value in _held(sample)}) for sample in batch]


def _held(sample: Sample) -> Iterator[tuple[str, Any]]:
    """The tensors of a sample, and its lists of tensors."""
    for field in fields(sample):
        value = getattr(sample, field.name)
        if isinstance(value, Tensor) or (isinstance(value, list) and value and isinstance(value[0], Tensor)):
            yield field.name, value


def _moved(value: Any, device: torch.device) -> Any:
    return to_device(value, device) if isinstance(value, Tensor) else [to_device(each, device) for each in value]


def _await(batch: Batch, computing: torch.cuda.Stream, copying: torch.cuda.Stream) -> None:
    """What computes waits for the copies so far, on the device; their memory stays the batch's until then."""
    computing.wait_stream(copying)
    for sample in batch:
        for _, value in _held(sample):
            for tensor in (value,) if isinstance(value, Tensor) else value:
                tensor.record_stream(computing)
