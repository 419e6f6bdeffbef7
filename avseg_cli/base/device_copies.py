"""Between the host and a GPU without making either wait: through page-locked memory, and read when it has arrived."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``, as it is: it is turned into another type there, where that costs nothing.

    A plain copy to a GPU waits until all work given to it is done; one from page-locked memory does not.
    """
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Arriving:
    """A tensor on its way to the host, while its device goes on with what it was given after it."""

    def __init__(self, tensor: Tensor) -> None:
        self._values, self._there = tensor.detach(), None
        if tensor.is_cuda:
            self._values = torch.empty_like(self._values, device="cpu", pin_memory=True)
            self._values.copy_(tensor.detach(), non_blocking=True)
            self._there = torch.cuda.Event()
            self._there.record(torch.cuda.current_stream(tensor.device))

    def read(self) -> Tensor:
        """The values, on the host; waits for what makes them and for nothing later."""
        if self._there is not None:
            self._there.synchronize()
        return self._values
