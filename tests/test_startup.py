"""What a process of the command line sets before its libraries are loaded."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import pytest

from avseg_cli.base.startup import THRESHOLDS, spare_the_processor


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_threads_sleep_while_they_wait_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    spare_the_processor()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE" and gc.get_threshold() == THRESHOLDS
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    spare_the_processor()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def ends(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of the command line with something to do at its end, and something that Python would take apart."""
    told = (
        "import atexit, sys\n"
        "class Held:\n"
        "    def __del__(self): print('taken apart')\n"
        "held = Held()\n"
        "atexit.register(lambda: print('handled'))\n"
        "import avseg_cli.cli as cli\n"
        "print('early', 'torch' in sys.modules)\n"
        f"sys.argv = ['avseg', *{arguments!r}]\n"
        "cli.run()\n"
    )
    return subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=60)


def test_pytorch_comes_with_the_first_command_that_needs_it() -> None:
    """So that OpenMP, which reads its settings then, finds them."""
    assert "early False" in ends("--help").stdout


def test_a_process_ends_at_once_with_its_code_all_said_and_its_handlers_run() -> None:
    for arguments, code in ((("--help",), 0), (("segment", "--nothing"), 2)):
        ran = ends(*arguments)
        assert ran.returncode == code and "handled" in ran.stdout and "taken apart" not in ran.stdout, ran
    assert "No such option" in ran.stderr
