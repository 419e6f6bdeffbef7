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


def test_it_is_set_before_openmp_reads_it_and_nothing_is_searched_at_the_end() -> None:
    """PyTorch comes with the first command that needs it, after ``main`` began; exit handlers find a frozen heap."""
    told = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: print('frozen', gc.get_freeze_count() > 1000))\n"
        "import avseg_cli.cli as cli\n"
        "print('early', 'torch' in sys.modules)\n"
        "sys.argv = ['avseg', '--help']\n"
        "cli.main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=60)
    assert "early False" in ran.stdout and "frozen True" in ran.stdout, ran.stdout + ran.stderr
