"""Running ahead in a thread: order, errors, and stopping at any moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from avseg_cli.base.prefetch import Prefetch


def counting(closed: list[str]) -> Iterator[int]:
    try:
        for number in range(1000):
            yield number
            time.sleep(0.001)
    finally:
        closed.append(threading.current_thread().name)


def test_items_come_in_order_and_errors_after_them() -> None:
    def failing() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("broken")

    ahead = Prefetch(failing(), 4)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(ahead)
    assert list(Prefetch(range(50), 2)) == list(range(50))


def test_close_waits_until_the_thread_has_closed_its_source() -> None:
    closed: list[str] = []
    ahead = Prefetch(counting(closed), 2)
    assert next(ahead) == 0
    ahead.close()
    assert closed and closed[0] != threading.current_thread().name
    assert list(ahead) == []


@pytest.mark.parametrize("late", [True, False])
def test_ctrl_c_while_the_thread_starts(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """Before the thread exists or just after: once closed, nothing runs the source any more."""
    closed: list[str] = []
    source = counting(closed)
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if late:
            start(thread)
        raise KeyboardInterrupt

    ahead = Prefetch(source, 2)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(ahead)
    ahead.close()
    source.close()  # a generator that still runs in the thread would refuse
    assert closed == [] or late


@pytest.mark.alone
def test_it_knows_who_kept_whom_waiting() -> None:
    def slow() -> Iterator[int]:
        for number in range(4):
            time.sleep(0.05)
            yield number

    ahead = Prefetch(slow(), 1)
    assert list(ahead) == [0, 1, 2, 3]
    assert ahead.made >= 0.2 and ahead.waited > 0.1
    quick = Prefetch(range(4), 4)
    for _ in quick:
        time.sleep(0.05)
    assert quick.made < 0.05 and quick.waited < 0.15
