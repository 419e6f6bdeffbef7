"""Whether what JSON gave is of the types that a dataclass has."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


def misfits(values: Mapping[str, Any], cls: type) -> list[str]:
    """The fields of the dataclass ``cls`` for which JSON gave ``values`` of another type."""
    return [name for name, kind in get_type_hints(cls).items() if name in values and not fits(values[name], kind)]


def fits(value: Any, kind: Any) -> bool:
    """Whether a value that JSON gave is of a field's type."""
    if isinstance(kind, UnionType):
        return any(fits(value, part) for part in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    return type(value) in (int, float) if kind is float else type(value) is kind
