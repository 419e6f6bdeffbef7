"""A CUDA device that is none: torch works out shapes, types and devices, and computes nothing.

What a GPU would have to wait for is noted, and so is what reaches its attention kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from avseg_cli.training.memory import fake_tensors

CUDA = torch.device("cuda:0")
# Operations whose outcome the host must know before it can go on
ASKING = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "_unique", "unique_", "equal")


@dataclass
class Seen:
    """waits: operations for which the host would wait. attention: what entered each attention kernel."""

    waits: list[str] = field(default_factory=list)
    attention: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = field(default_factory=list)


class _Watch(TorchDispatchMode):
    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::").split(".")[0]
        asking = name in ASKING or (name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1]))
        if asking and args[0].is_cuda:
            self.seen.waits.append(f"{name} of {tuple(args[0].shape)}")
        out = func(*args, **(kwargs or {}))
        if name in ("_to_copy", "to", "copy_"):
            self._copied(name, args, kwargs or {}, out)
        return out

    def _copied(self, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
        source, target = (args[1], args[0]) if name == "copy_" else (args[0], out)
        if source.device.type == target.device.type:
            return
        told = kwargs.get("non_blocking", False) or any(argument is True for argument in args[1:])
        locked = getattr(source if target.device.type == "cuda" else target, "locked", False)
        if not (told and locked):
            self.seen.waits.append(f"copy of {tuple(source.shape)} from {source.device} to {target.device}")


@contextmanager
def fake_cuda() -> Iterator[Seen]:
    """Inside, tensors on ``CUDA`` can be made and used, in autocast too; but not be differentiated."""
    seen, plain, empty_like = Seen(), F.scaled_dot_product_attention, torch.empty_like

    def attention(
        q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, *more: Any, **options: Any
    ) -> Tensor:
        seen.attention.append((q, k, v, attn_mask))
        return plain(q, k, v, attn_mask, *more, **options)

    def page_locked(tensor: Tensor) -> Tensor:
        copy = tensor.clone()
        copy.locked = True
        return copy

    def empty(like: Tensor, *, pin_memory: bool = False, **options: Any) -> Tensor:
        made = empty_like(like, **options)
        made.locked = pin_memory
        return made

    with pytest.MonkeyPatch.context() as patch, fake_tensors(), _Watch(seen):
        patch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        patch.setattr(torch.cuda, "Event", _Event)
        patch.setattr(torch.cuda, "current_stream", lambda device=None: None)
        patch.setattr(torch, "empty_like", empty)
        patch.setattr(Tensor, "pin_memory", page_locked)
        patch.setattr(F, "scaled_dot_product_attention", attention)
        yield seen


class _Event:
    def record(self, stream: object) -> None: ...

    def synchronize(self) -> None: ...


def takes_flash(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> bool:
    """Whether torch's flash kernel takes this as it is: no mask, half precision, one width, whole in its last
    dimension, a multiple of 8 (else torch copies all three) and at most 256."""
    widths = {tensor.shape[-1] for tensor in (q, k, v)}
    return (
        mask is None
        and all(tensor.dtype in (torch.bfloat16, torch.float16) for tensor in (q, k, v))
        and all(tensor.stride(-1) == 1 and tensor.device.type == "cuda" for tensor in (q, k, v))
        and len(widths) == 1
        and widths.pop() in range(8, 257, 8)
    )
