"""Weights are mapped, not read: loading a large checkpoint takes hardly any memory of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from avseg_cli.model.backbones import preset
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.empty import empty_model

DTYPES = {"torch.float32": "F32", "torch.int64": "I64"}
CHILD = """
import re, sys
from avseg_cli.checkpoints.checkpoint import load_checkpoint

def own():  # bytes of this process alone: neither files nor what it shares
    with open("/proc/self/status") as file:
        return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", file.read())[1])

before = own()
model, _ = load_checkpoint(sys.argv[1])
print(own() - before, sum(p.numel() * p.element_size() for p in model.parameters()))
"""


def write_hollow(path: Path, config: ModelConfig) -> int:
    """A checkpoint with every tensor of ``config``, all zeros, that takes no room on the disk; gives its bytes."""
    header: dict[str, object] = {}
    end = 0
    for name, tensor in empty_model(config).state_dict().items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[str(tensor.dtype)], "shape": list(tensor.shape), "data_offsets": [start, end]}
    about = {"format": "avseg-1", "config": config.to_dict(), "base": {}, "training": {}, "metrics": {}}
    text = json.dumps({"__metadata__": {"avseg": json.dumps(about)}, **header}).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return end


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads what Linux tells of a process's memory")
def test_a_large_checkpoint_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    size = write_hollow(path, preset("vit_b", fusion_depth=1))
    ran = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True)
    grown, loaded = map(int, ran.stdout.split())
    assert loaded > 600e6 and loaded > 0.99 * size
    assert grown < 0.2 * size  # the check that values are finite works on one tensor at a time
