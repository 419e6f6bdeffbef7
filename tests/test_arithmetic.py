"""How a GPU computes in fp32, in every job whose figures are compared: exactly, unless asked otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from avseg_cli.base.arithmetic import arithmetic, ordered
from avseg_cli.base.errors import DeviceError
from avseg_cli.base.sharing import Sharing
from avseg_cli.bench.bench_options import BenchOptions
from avseg_cli.bench.run import run_bench
from avseg_cli.data.dataset import Sample
from avseg_cli.scoring.evaluate import score_part
from avseg_cli.scoring.evaluate_options import EvaluateOptions, FootageOptions
from avseg_cli.scoring.footage import evaluate_footage
from avseg_cli.training.loop import Setup, Trainer
from avseg_cli.training.recipe import Recipe
from avseg_cli.training.run_folder import StageFolder
from avseg_cli.training.trial import OneBatch


def test_arithmetic_is_as_asked_and_afterwards_as_before() -> None:
    def state() -> tuple:
        return torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()

    before = state()
    with arithmetic(tf32=True, deterministic=True):
        assert state() == ("high", True) and torch.backends.cudnn.allow_tf32
    with arithmetic(tf32=False, deterministic=False):
        assert state() == ("highest", False) and not torch.backends.cudnn.allow_tf32
    assert state() == before


def test_gradients_are_made_in_one_order_or_not_at_all() -> None:
    """Torch's attention on a GPU keeps an order only where more than a warning is asked for."""

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, values: torch.Tensor) -> torch.Tensor:
            return 2 * values

        @staticmethod
        def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
            strict.append(not torch.is_deterministic_algorithms_warn_only_enabled())
            return 2 * gradient

    class OneOperation(torch.nn.Module):
        def forward(self, samples: list) -> torch.Tensor:
            return Doubled.apply(weight).expand(len(samples)) + 0

    strict: list[bool] = []
    weight = torch.nn.Parameter(torch.ones(1))
    run = Trainer(OneBatch(OneOperation()), {"weight": weight}, Setup(Recipe(1)), StageFolder(Path()))
    for deterministic in (True, False):
        with arithmetic(tf32=False, deterministic=deterministic):
            run.step([[Sample(0, "clip")]])
            assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert strict == [True, False] and weight.item() < 1
    with arithmetic(tf32=False, deterministic=True):
        refused = pytest.raises(DeviceError, match="deterministic: put_ does not have a deterministic .*; leave it out")
        with refused, ordered():
            weight.detach().put_(torch.tensor([0]), torch.ones(1))  # without accumulate, in any order
        with pytest.raises(RuntimeError, match="size"), ordered():
            torch.ones(2) + torch.ones(3)
        assert torch.is_deterministic_algorithms_warn_only_enabled()


class Seen(Exception):
    """What a job computes in when it begins."""


def see(*_: object, **__: object) -> None:
    raise Seen(torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)


JOBS: dict[str, tuple[str, Callable[[bool], object]]] = {
    "evaluate": (
        "avseg_cli.scoring.evaluate._predictor",
        lambda tf32: score_part(
            EvaluateOptions(data="", checkpoint="default", tf32=tf32), Sharing(), SimpleNamespace(clips=[])
        ),
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
