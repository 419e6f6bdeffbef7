"""Reading files of weights that somebody else wrote: untrusted input, opened without running code in it."""

from __future__ import annotations

import pickle
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from avseg_cli.base.errors import CheckpointError

MAX_ENTRIES = 100_000  # tensors in a file; SAM ViT-H has 596
MAX_PICKLE = 64 << 20  # bytes of a zip's data.pkl, which lists names and shapes only
MAX_OLD_FILE = 2 << 30  # bytes; the format before PyTorch 1.6 cannot be memory-mapped
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")  # keys under which training scripts save
PREFIX = "module."  # nn.DataParallel


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth`` (or safetensors) file by name, on the CPU, memory-mapped where possible.

    A wrapper such as ``{"state_dict": …, "epoch": …}`` is opened and DataParallel's ``module.`` taken off.
    Values and dtypes are as in the file. Raises ``CheckpointError`` for a file that is missing, damaged,
    carries code, would unpack to more than it is, or holds anything but dense floating-point tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file of weights")
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{":
        return _read_safetensors(path)
    state = _unwrap(path, load_tensors_only(path))
    _refuse_odd_tensors(path, state)
    return state


def some(names: list[str]) -> str:
    """The first few of many names, and how many more there are."""
    if not names:
        return "nothing"
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _refuse_bomb(path: Path) -> None:
    """PyTorch stores without compression, so the parts of a zip cannot add up to more than the file."""
    try:
        with ZipFile(path) as archive:
            entries = archive.infolist()
    except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path}: a damaged PyTorch file ({error}); get it again") from error
    if any(entry.compress_type != ZIP_STORED for entry in entries):
        raise CheckpointError(f"{path}: a compressed zip, which PyTorch does not write; not opened")
    if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise CheckpointError(f"{path}: claims to unpack to more than it is (a zip bomb); not opened")
    if any(entry.file_size > MAX_PICKLE for entry in entries if entry.filename.endswith("data.pkl")):
        raise CheckpointError(f"{path}: its table of contents is oversized; not opened")


def load_tensors_only(path: Path) -> object:
    """What a file of PyTorch's holds, without running code in it; tensors of a zip stay mapped to the file.

    Raises ``CheckpointError`` for a file that is damaged, carries code, or would unpack to more than it is.
    """
    with open(path, "rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    if is_zip:
        _refuse_bomb(path)
    elif path.stat().st_size > MAX_OLD_FILE:
        raise CheckpointError(f"{path}: too large for PyTorch's old format; save it again with a new one")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_code_sentence(path, is_zip)) from error
    except MemoryError as error:
        raise CheckpointError(f"{path}: asks for more memory than there is; not opened") from error
    except Exception as error:  # a damaged pickle can fail in any way (IndexError, KeyError, struct.error, …)
        reason = (str(error).splitlines() or [""])[0]
        reason = reason if any(map(str.isalpha, reason)) else type(error).__name__  # a KeyError is a bare number
        raise CheckpointError(f"{path}: not a readable PyTorch file ({reason}); get it again") from error


def _code_sentence(path: Path, is_zip: bool) -> str:
    names: list[str] = []
    if is_zip:
        try:
            names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        except Exception:  # the listing is a courtesy; the file is refused all the same
            names = []
    found = f" ({some(names)})" if names else ""
    return (
        f"{path}: holds Python objects that could run code{found}, or is damaged; not opened: "
        "save its weights alone with torch.save(model.state_dict(), …)"
    )


def _unwrap(path: Path, content: object) -> dict[str, Tensor]:
    """The dictionary of tensors inside training-script wrappers, without DataParallel's prefix."""
    for _ in range(2):  # {"model": {"state_dict": …}} is the deepest met
        inside = content if isinstance(content, dict) else {}
        wrapped = [inside[key] for key in WRAPPERS if isinstance(inside.get(key), dict)]
        content = wrapped[0] if len(wrapped) == 1 else content
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path}: holds {type(content).__name__}, not a dictionary of tensors")
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
        odd = [str(k) for k, v in content.items() if not (isinstance(k, str) and isinstance(v, Tensor))]
        raise CheckpointError(f"{path}: not a dictionary of tensors: {some(odd)} is something else")
    if all(key.startswith(PREFIX) for key in content):
        content = {key.removeprefix(PREFIX): value for key, value in content.items()}
    return dict(content)


def _refuse_odd_tensors(path: Path, state: dict[str, Tensor]) -> None:
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise CheckpointError(f"{path}: {name} is not a plain dense tensor")
        if tensor.dtype not in FLOATS:
            raise CheckpointError(f"{path}: {name} has type {tensor.dtype}; weights are floating-point")
    # a view can repeat a small storage; copied out, such tensors could fill any memory
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > path.stat().st_size:
        raise CheckpointError(f"{path}: its tensors claim more values than the file holds; not opened")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            if len(names) > MAX_ENTRIES:
                raise CheckpointError(f"{path}: its header is oversized; not opened")
            state = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error}); get it again") from error
    state = _unwrap(path, state)
    _refuse_odd_tensors(path, state)
    return state


def checked(path: Path, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    """``tensor`` as float32 of the expected shape with finite values; ``CheckpointError`` otherwise.

    The shape is compared before the values are touched, so nothing is read that does not fit.
    """
    if tensor.shape != shape:
        raise CheckpointError(f"{path}: {name} is {tuple(tensor.shape)}, the model needs {tuple(shape)}")
    if not torch.isfinite(tensor).all():
        raise CheckpointError(f"{path}: {name} has values that are not finite; the file is damaged")
    return tensor.float()
