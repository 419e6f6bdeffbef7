"""How a GPU computes in fp32, in every job whose figures are compared: exactly, unless asked otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from avseg_cli.base.arithmetic import arithmetic
from avseg_cli.base.sharing import Sharing
from avseg_cli.bench.bench_options import BenchOptions
from avseg_cli.bench.run import run_bench
from avseg_cli.scoring.evaluate import score_part
from avseg_cli.scoring.evaluate_options import EvaluateOptions, FootageOptions
from avseg_cli.scoring.footage import evaluate_footage


def test_arithmetic_is_as_asked_and_afterwards_as_before() -> None:
    def state() -> tuple:
        return torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()

    before = state()
    with arithmetic(tf32=True, deterministic=True):
        assert state() == ("high", True) and torch.backends.cudnn.allow_tf32
    with arithmetic(tf32=False, deterministic=False):
        assert state() == ("highest", False) and not torch.backends.cudnn.allow_tf32
    assert state() == before


class Seen(Exception):
    """What a job computes in when it begins."""


def see(*_: object, **__: object) -> None:
    raise Seen(torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)


JOBS: dict[str, tuple[str, Callable[[bool], object]]] = {
    "evaluate": (
        "avseg_cli.scoring.evaluate._scored",
        lambda tf32: score_part(EvaluateOptions(data="", checkpoint="default", tf32=tf32), Sharing()),
    ),
    "clips": (
        "avseg_cli.scoring.footage.read_footage", lambda tf32: evaluate_footage(FootageOptions(data="", tf32=tf32))
    ),
    "bench": ("avseg_cli.bench.run.choose_device", lambda tf32: run_bench(BenchOptions(tf32=tf32))),
}  # fmt: skip


@pytest.mark.parametrize("job", JOBS)
def test_convolutions_round_where_that_is_asked_for_alone(job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, run = JOBS[job]
    monkeypatch.setattr(where, see)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # as torch begins
    for tf32, inside in ((False, ("highest", False)), (True, ("high", True))):
        with pytest.raises(Seen) as seen:
            run(tf32)
        assert seen.value.args == inside
    assert torch.backends.cudnn.allow_tf32
