"""Shared fixtures: a seeded random tiny checkpoint; the GPU marker; and how processes of tests share a machine.

pytest-xdist runs the tests in as many processes as there are cores. A test that measures is marked ``alone``: it
waits until the tests that run have ended, and no other begins before it has.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

try:
    from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
except ImportError:  # Windows, where a test that measures may be disturbed
    LOCK_EX = LOCK_SH = LOCK_UN = 0

    def flock(file: object, operation: int) -> None:
        pass


LOCKS = "TESTS_LOCKS"  # names the folder of the locks to the processes that the first one starts
if LOCKS not in os.environ:
    _folder = tempfile.TemporaryDirectory(prefix="avseg-tests-")
    os.environ[LOCKS] = _folder.name
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # before torch is loaded, here and in what tests start
    share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(share))

settings.register_profile("avseg", deadline=None)  # a busy machine is no failure
settings.load_profile("avseg")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a suite in the background; what it starts is to hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # likewise under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    import torch

    for item in items:
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Tests share the room; one that measures has it to itself. The gate keeps later tests from overtaking it."""
    alone = item.get_closest_marker("alone") is not None
    folder = Path(os.environ[LOCKS])
    with open(folder / "gate", "w") as gate, open(folder / "room", "w") as room:
        flock(gate, LOCK_EX)
        flock(room, LOCK_EX if alone else LOCK_SH)
        flock(gate, LOCK_UN)
        try:
            return (yield)
        finally:
            flock(room, LOCK_UN)  # not by closing: a process that the test has forked would hold it


@pytest.fixture(scope="session", autouse=True)
def no_configuration() -> Iterator[None]:
    """What the person who runs the tests has configured does not reach them; AVSEG_BF16, on or off, may."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AVSEG_") and name != "AVSEG_BF16"]:
            patch.delenv(name)
        patch.setenv("AVSEG_CONFIG", os.devnull)
        patch.setenv("AVSEG_DEFAULT_CHECKPOINT", str(Path(__file__).parent / "tiny.safetensors"))  # small and quick
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
