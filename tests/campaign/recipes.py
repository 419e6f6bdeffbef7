"""How a small file is changed: bytes at random, or a value of its JSON, TOML or table for one that hypothesis draws."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from .mutate import mutated

Edit = tuple[int, str, Any]  # which place, what happens there, with which value
Recipe = int | list[Edit]  # a seed for changes of bytes, or edits of the content
Editor = Callable[[bytes, list[Edit]], bytes]

TEXTS = st.sampled_from(["", "..", "/", "../../x", "a/../../b", "C:\\x", "\0", "a\nb", "n" * 300, "é", "\u2028", "-o"])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 10), st.integers(-(2**70), 2**70), st.floats(), TEXTS,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, 10_000), st.sampled_from(["put", "drop", "add"]), VALUES), min_size=1, max_size=3
)
BYTES = st.integers(0, 2**62)


def recipes(edit: Editor | None) -> st.SearchStrategy[Recipe]:
    """Everything that may happen to a file; edits where its content has a structure."""
    return BYTES if edit is None else st.one_of(BYTES, EDITS)


def cooked(seed: bytes, edit: Editor | None, recipe: Recipe) -> bytes:
    """The content that comes of ``seed``."""
    if isinstance(recipe, int) or edit is None:
        return mutated(seed, np.random.default_rng(recipe))
    return edit(seed, recipe)


def edit_json(seed: bytes, edits: list[Edit]) -> bytes:
    content = json.loads(seed)
    for edit in edits:
        content = _edited(content, *edit)
    return json.dumps(content).encode()


def edit_json_lines(seed: bytes, edits: list[Edit]) -> bytes:
    lines = [json.loads(line) for line in seed.splitlines()]
    for edit in edits:
        lines = _edited(lines, *edit)
    return "".join(json.dumps(line) + "\n" for line in (lines if isinstance(lines, list) else [lines])).encode()


def edit_header(seed: bytes, edits: list[Edit]) -> bytes:
    """Of a safetensors file: the first edit is one of what avseg wrote into it, the others of the header itself."""
    size = int.from_bytes(seed[:8], "little")
    header = json.loads(seed[8 : 8 + size])
    about = header["__metadata__"]
    (key,) = about
    about[key] = edit_json(about[key].encode(), edits[:1]).decode()
    written = edit_json(json.dumps(header).encode(), edits[1:])
    return len(written).to_bytes(8, "little") + written + seed[8 + size :]


def edit_tensors(seed: bytes, edits: list[Edit]) -> bytes:
    """Of a checkpoint of other code: tensors of another shape, type or value, under other names, or none."""
    content = torch.load(io.BytesIO(seed), weights_only=True)
    state = content["state_dict"]
    for place, what, value in edits:
        name = list(state)[place % len(state)]
        if what == "drop":
            del state[name]
        elif what == "add":
            state[f"{name}{value}"] = state[name]
        else:
            state[name] = _other_tensor(state[name], place)
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _other_tensor(tensor: torch.Tensor, place: int) -> torch.Tensor:
    others: tuple[Callable[[], torch.Tensor], ...] = (
        lambda: tensor[:0], lambda: tensor[None], lambda: tensor.flatten()[0], lambda: tensor.half(),
        lambda: torch.full_like(tensor, torch.nan), lambda: tensor.int(), lambda: tensor.bool(),
        lambda: tensor.to(torch.complex64), lambda: tensor.to_sparse(),
        lambda: torch.zeros(1).expand(tensor.shape), lambda: tensor.flatten(),
        lambda: torch.cat([tensor.flatten()[None]] * 3), lambda: torch.zeros(1).expand(1 << 40),
    )  # fmt: skip
    return others[place % len(others)]()


def edit_card(seed: bytes, edits: list[Edit]) -> bytes:
    """The JSON in a page."""
    before, card, after = re.split(rb"(?<=>)(\{.*\})(?=<)", seed)
    return before + edit_json(card, edits) + after


def edit_table(seed: bytes, edits: list[Edit]) -> bytes:
    rows = list(csv.reader(io.StringIO(seed.decode())))
    for edit in edits:
        rows = _edited(rows, *edit)
    file = io.StringIO()
    csv.writer(file).writerows(row if isinstance(row, list) else [row] for row in rows or [])
    return file.getvalue().encode("utf-8", "replace")


def edit_toml(seed: bytes, edits: list[Edit]) -> bytes:
    """One of its lines gets another value, goes, or comes again."""
    lines = seed.decode().splitlines()
    for place, what, value in edits:
        at = place % len(lines)
        key = lines[at].partition("=")[0]
        new = key if key.startswith("[") else f"{key}= {_toml(value)}"
        lines[at : at + 1] = {"put": [new], "drop": [], "add": [lines[at], new]}[what]
        lines = lines or ["[segment]"]
    return "\n".join(lines).encode()


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value).replace("Infinity", "inf").replace("NaN", "nan")


def _edited(content: Any, place: int, what: str, value: Any) -> Any:
    """``content`` with one of the values in it, at any depth, replaced, dropped, or given a neighbour."""
    places = list(_places(content))
    if not places:
        return value
    holder, key = places[place % len(places)]
    if what == "drop":
        del holder[key]
    elif what == "add" and isinstance(holder, list):
        holder.insert(key, value)
    elif what == "add":
        holder[f"{key}_"] = value
    else:
        holder[key] = value
    return content


def _places(content: Any) -> Any:
    keys = list(content) if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield content, key
        yield from _places(content[key])
