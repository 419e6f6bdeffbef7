"""The short part of the campaign: what broke once, and some of each kind. All of it: ``python -m tests.campaign``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign.media import corpus
from campaign.mutate import Seeds
from campaign.watch import Watch

CORPUS = corpus()
SHORT = (
    "fifo", "stdin of nothing", "cover art", "concat script", "no moov", "ts cut at 50 %",
    "ts with 10 % of packets flipped", "1x1", "one frame", "mkv a gap of 300 hours", "mp4 claims 10 hours",
    "12 channels without a layout", "changes: size to odd", "name: not UTF-8", "name: 250 bytes", "a device",
    "unreadable file", "read-only folder",
)  # fmt: skip
MUTATED = 20


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory is measured through Linux's /proc")
    with tempfile.TemporaryDirectory() as folder, Watch(Path(folder)) as watch:
        yield watch


@pytest.mark.parametrize("name", SHORT)
def test_hostile_files(watch: Watch, name: str) -> None:
    verdict = watch.try_case(name, CORPUS[name])
    if verdict.outcome.startswith("not tried"):
        pytest.skip(verdict.outcome)
    assert not verdict.problems, verdict.said


def test_mutated_files(watch: Watch, tmp_path: Path) -> None:
    seeds = Seeds(tmp_path)
    for number in range(MUTATED):
        name, make = seeds.makers(0, number)
        verdict = watch.try_case(name, make)
        assert not verdict.problems, f"{name}: {verdict.said}"


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_the_whole_campaign() -> None:
    command = [sys.executable, "-m", "tests.campaign", "--minutes", "60", "--seed", "1"]
    ran = subprocess.run(command, cwd=Path(__file__).parents[1], text=True, capture_output=True)
    assert ran.returncode == 0, ran.stderr + ran.stdout
