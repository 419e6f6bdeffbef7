"""Shared fixtures: a seeded random tiny checkpoint, and the GPU marker."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("avseg", deadline=None)  # a busy machine is no failure
settings.load_profile("avseg")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a suite in the background; what it starts is to hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    import torch

    for item in items:
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


@pytest.fixture(scope="session", autouse=True)
def no_configuration() -> Iterator[None]:
    """What the person who runs the tests has configured does not reach them, but AVSEG_BF16: on, off or as it is."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AVSEG_") and name != "AVSEG_BF16"]:
            patch.delenv(name)
        patch.setenv("AVSEG_CONFIG", os.devnull)
        yield


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny model with seeded random weights."""
    import torch

    from avseg_cli.checkpoints.checkpoint import save_checkpoint
    from avseg_cli.model.avseg import AvsegModel
    from avseg_cli.model.backbones import preset

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_checkpoint(path, AvsegModel(preset("tiny")))
    return path
