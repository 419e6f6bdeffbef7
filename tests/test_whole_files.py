"""Files that appear whole or not at all, and what a kill leaves of them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from avseg_cli.base.whole_files import discard_abandoned, discard_of, partial_name, write_whole


def test_what_a_killed_process_left_goes_and_what_a_living_one_makes_stays(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, made = (partial_name(tmp_path / "best.safetensors", process) for process in (ended.pid, os.getppid()))
    for partial in (left, made):
        partial.write_bytes(b"half")
    write_whole(tmp_path / "last.safetensors", lambda partial: partial.write_bytes(b"whole"))
    assert sorted(tmp_path.iterdir()) == [made, tmp_path / "last.safetensors"]


def test_what_another_machine_makes_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes are none of this machine's, however alike the hosts are called."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr(platform, "node", lambda: "gpu-cluster-node-001")
    (made := partial_name(tmp_path / "best.safetensors", ended.pid)).write_bytes(b"half")
    monkeypatch.setattr(platform, "node", lambda: "gpu-cluster-node-002")
    discard_abandoned(tmp_path)
    discard_of(tmp_path, ended.pid)
    assert made.exists()


def test_what_fits_on_a_disk_can_be_written(tmp_path: Path) -> None:
    """A title of 80 signs in Chinese has 240 bytes, and the name of what is half-written is longer."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    paths = [tmp_path / f"{'影' * 80}{end}.json" for end in ("", "1", "2", "23456789ab")]
    assert len(os.fsencode(paths[-1].name)) == 255
    for path in paths:
        partial_name(path, ended.pid).with_suffix(".pictures").write_bytes(b"half")
    assert len(list(tmp_path.iterdir())) == len(paths), "names that begin alike are told apart"
    for path in paths:
        write_whole(path, lambda partial: partial.write_bytes(b"whole"))
    assert sorted(tmp_path.iterdir()) == sorted(paths), "what was left half-written is found"
    too_long = tmp_path / f"{'影' * 86}.json"
    assert too_long.name in partial_name(too_long).name, "refused at once, not when it is done"
