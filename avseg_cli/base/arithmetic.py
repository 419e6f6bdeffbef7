"""How a GPU computes in fp32, and whether twice the same gives the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from avseg_cli.base.errors import DeviceError, named

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # cuBLAS is deterministic with this alone


@contextmanager
def arithmetic(tf32: bool, deterministic: bool = False) -> Iterator[None]:
    """Inside, as asked; afterwards, as before.

    What torch has in no deterministic form still runs, and torch warns of it by name; not inside ``ordered``.
    """
    before = (
        torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
    )  # fmt: skip
    if deterministic:
        os.environ.setdefault(WORKSPACE, ":4096:8")
    _set("high" if tf32 else "highest", tf32, before[2] and not deterministic, deterministic, True)
    try:
        yield
    finally:
        _set(*before)


@contextmanager
def ordered() -> Iterator[None]:
    """Inside ``arithmetic(deterministic=True)``, for gradients: torch may not merely warn.

    The kernels of attention add in one order only then. Raises ``DeviceError`` for an operation that cannot.
    """
    if not torch.is_deterministic_algorithms_warn_only_enabled() or not torch.are_deterministic_algorithms_enabled():
        yield
        return
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise DeviceError(f"{named('deterministic')}: {str(error).split('.')[0]}; leave it out") from error
    finally:
        torch.use_deterministic_algorithms(True, warn_only=True)


def _set(products: str, convolutions: bool, benchmark: bool, deterministic: bool, warn_only: bool) -> None:
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cudnn.benchmark = benchmark
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
