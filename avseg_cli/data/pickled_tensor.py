"""AVSBench's log-mels: plain pickles of a tensor, as ``pickle.dump`` writes them, read without running code in them.

Such a pickle calls four functions. These are answered here, by ones that can do nothing but make a tensor; a pickle
that asks for anything else is refused.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import MAGIC_NUMBER

from avseg_cli.base.errors import CheckpointError, DataError
from avseg_cli.checkpoints.state_files import load_tensors_only

REMAKE = "get it again, or put the clip's wav in its place (`avseg prepare` makes it from the raw video)"
MAX_BYTES = 16 << 20  # ten seconds of AVSBench take a quarter of a megabyte


def read_pickled_tensor(path: Path) -> Tensor:
    """The tensor in a file of ``pickle.dump`` or of ``torch.save``, without gradient; raises ``DataError``.

    Its values are not looked at: it may be a view of any shape on few of them.
    """
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: too large for a log-mel, not opened; {REMAKE}")
    try:
        content = path.read_bytes()
        found = MAGIC_NUMBER if content[:2] == b"PK" else _TensorUnpickler(io.BytesIO(content)).load()
        if (
            isinstance(found, int) and found == MAGIC_NUMBER
        ):  # a file of torch.save: a zip, or in its old format several pickles
            found = load_tensors_only(path)
    except CheckpointError as error:
        raise DataError(f"{error}; {REMAKE}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: not a pickled tensor ({reason}); {REMAKE}") from error
    if not isinstance(found, Tensor):
        raise DataError(f"{path}: not a pickled tensor but {type(found).__name__}; {REMAKE}")
    return found.detach()


class _TensorUnpickler(pickle.Unpickler):
    """Methods rather than functions stand in for what is asked for: nothing can be set on them."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch.storage", "_load_from_bytes"): self._storage,
            ("_codecs", "encode"): self._bytes,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"asks for {module}.{name}, which could run code")
        return known[module, name]

    def _tensor(self, storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
        return torch._utils._rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict())

    def _storage(self, content: bytes) -> Any:
        if content[:2] == b"PK":  # may unpack to more than it is, and storages are not written so
            raise pickle.UnpicklingError("its values are in a zip")
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)

    def _bytes(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":  # how pickles of protocol 2 hold bytes
            raise pickle.UnpicklingError(f"bytes written as {encoding}")
        return text.encode("latin1")
