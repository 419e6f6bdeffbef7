"""Values and frames at another size."""

from __future__ import annotations

import threading

import av
import numpy as np
import pytest

from avseg_cli.base.grids import MOST, resized, resized_at
from avseg_cli.media.scale import scaled


@pytest.mark.parametrize("size", [(54, 96), (31, 45), (400, 300)])
def test_values_at_some_places_are_those_of_the_whole_grid(size: tuple[int, int]) -> None:
    values = np.random.default_rng(3).normal(size=(20, 30)).astype(np.float32)
    rows, columns = (place.ravel() for place in np.indices(size))
    assert size != (400, 300) or len(rows) > MOST, "one of them takes more than one look"
    some = np.abs(resized_at(values, size, rows, columns).reshape(size) - resized(values, size))
    steepest = max(np.abs(np.diff(values, axis=axis)).max() for axis in (0, 1))
    assert some.max() < steepest / 16, "places are told apart to 1/32 of a cell, down and along"
    assert resized_at(values, size, rows[:0], columns[:0]).shape == (0,)


def test_a_thread_keeps_its_scalers_and_gives_what_pyav_gives() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (48, 64, 3), np.uint8)

    def compare() -> None:
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")  # has a scaler of its own
        for width in (*range(16, 36, 2), 16):  # more changes than are kept, and the first of them again
            own = scaled(frame, width, 24, "gray").to_ndarray()
            assert np.array_equal(own, frame.reformat(width, 24, "gray").to_ndarray())
            done.append(width)

    done: list[int] = []
    threads = [threading.Thread(target=compare) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 22
