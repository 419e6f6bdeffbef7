"""Which precision ``auto`` takes: the one this processor is faster in, found out once and kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from avseg_cli.base.errors import DeviceError
from avseg_cli.checkpoints import precision, trials
from avseg_cli.checkpoints.precision import (
    RECORD,
    SWITCH,
    automatic,
    choose_precision,
    training_precision,
    try_products,
)
from avseg_cli.doctor.examine import _precision

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, on a CPU with bf16 arithmetic of which nothing is known yet."""
    monkeypatch.setenv("AVSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    precision._cpu_speedup.cache_clear()
    yield tmp_path / "cache"
    precision._cpu_speedup.cache_clear()


def found_by_trial(speedup: float, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have the trial come out so; the list grows with every trial made."""
    made: list[float] = []
    monkeypatch.setattr(precision, "try_products", lambda: made.append(speedup) or speedup)
    precision._cpu_speedup.cache_clear()
    return made


@pytest.mark.parametrize(
    ("speedup", "dtype"), [(2.1, torch.bfloat16), (0.58, torch.float32), (1.1, torch.float32)], ids=str
)
def test_the_slower_precision_is_never_taken(speedup, dtype, cache, monkeypatch: pytest.MonkeyPatch) -> None:
    found_by_trial(speedup, monkeypatch)
    assert choose_precision("auto", CPU) == dtype
    assert f"take {1 / speedup:.2f} of float32's time" in automatic(CPU).why


def test_the_trial_is_made_once_for_all_processes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_by_trial(2.0, monkeypatch) == [] and automatic(CPU).dtype == torch.bfloat16
    made = found_by_trial(0.5, monkeypatch)  # as a busy machine may have it; a new process begins without memory
    assert automatic(CPU).dtype == torch.bfloat16 and made == []
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == [RECORD]


def test_processes_that_begin_together_make_one_trial(cache: Path) -> None:
    together, made = threading.Barrier(4), []

    def trial() -> float:
        time.sleep(0.2)
        made.append(2.0)
        return 2.0

    def process() -> float:
        together.wait()
        return trials.outcome(RECORD, trial)

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(process) for _ in range(4)]
    assert [one.result() for one in found] == [2.0] * 4 and made == [2.0]


def test_another_machine_tries_for_itself(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found_by_trial(2.0, monkeypatch)
    automatic(CPU)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    made = found_by_trial(0.5, monkeypatch)
    assert automatic(CPU).dtype == torch.float32 and made == [0.5]


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{", b"[" * 5000, b'{"x": true}'], ids=lambda b: b[:6])
def test_a_damaged_record_is_made_anew(content: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    (cache / RECORD).write_bytes(content)
    made = found_by_trial(2.0, monkeypatch)
    assert automatic(CPU).dtype == torch.bfloat16 and made == [2.0]
    assert trials.read(cache / RECORD) == {trials.machine(): 2.0}


def test_where_nothing_can_be_kept_it_still_chooses(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_text("a file where the folder should be")
    found_by_trial(2.0, monkeypatch)
    assert automatic(CPU).dtype == torch.bfloat16


def test_a_processor_without_bf16_is_not_tried(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)
    made = found_by_trial(9.0, monkeypatch)
    assert automatic(CPU).dtype == torch.float32 and made == [] and not cache.exists()
    assert "no bf16 arithmetic" in automatic(CPU).why


@pytest.mark.parametrize(("switch", "dtype"), [("on", torch.bfloat16), ("off", torch.float32)])
def test_the_switch_decides_for_auto_alone(switch, dtype, cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, switch)
    made = found_by_trial(1.0, monkeypatch)
    assert choose_precision("auto", CPU) == dtype and made == []
    assert choose_precision("fp32", CPU) == torch.float32 and choose_precision("bf16", CPU) == torch.bfloat16


def test_wrong_names_are_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="no precision 'fp8'; use auto, fp32, bf16, fp16"):
        choose_precision("fp8", CPU)
    monkeypatch.setenv(SWITCH, "maybe")
    with pytest.raises(DeviceError, match="AVSEG_BF16 is 'maybe'; set it to on or off"):
        choose_precision("auto", CPU)


def test_a_cpu_trains_in_float32_unless_told_otherwise(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found_by_trial(9.0, monkeypatch)
    assert training_precision("auto", CPU) == torch.float32
    assert training_precision("bf16", CPU) == torch.bfloat16


def test_doctor_says_which_and_why(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found_by_trial(0.5, monkeypatch)
    said = _precision("cpu", "auto").text
    assert said.startswith("float32, because matrix products in bf16 take 2.00 of float32's time here (tried once, ")
    assert str(cache / RECORD) in said
    assert _precision("cpu", "bf16").text == "bfloat16, because you asked for it"


@pytest.mark.alone
def test_the_trial_measures_this_processor_in_milliseconds(cache: Path) -> None:
    try_products()
    started = time.perf_counter()
    speedup = try_products()
    assert 0.01 < speedup < 100 and time.perf_counter() - started < 2


def test_a_processor_clock_that_stands_still_is_not_divided_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a timer of the process makes the system count in ticks."""
    monkeypatch.setattr(trials, "CLOCK", lambda: 7.0)
    assert all(seconds > 0 for seconds in trials.fastest([lambda: sum(range(1000))] * 2, 3))
