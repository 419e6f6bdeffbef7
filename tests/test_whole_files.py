"""Files that appear whole or not at all, and what a kill leaves of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from avseg_cli.base.whole_files import partial_name, write_whole


def test_what_a_killed_process_left_goes_and_what_a_living_one_makes_stays(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, made = (partial_name(tmp_path / "best.safetensors", process) for process in (ended.pid, os.getppid()))
    for partial in (left, made):
        partial.write_bytes(b"half")
    write_whole(tmp_path / "last.safetensors", lambda partial: partial.write_bytes(b"whole"))
    assert sorted(tmp_path.iterdir()) == [made, tmp_path / "last.safetensors"]
