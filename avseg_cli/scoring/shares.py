"""An evaluation shared by several processes, on GPUs one each: every clip is scored as it is by one alone."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from avseg_cli.base.errors import DeviceError, named
from avseg_cli.base.sharing import Sharing
from avseg_cli.base.threads import cores, take_share
from avseg_cli.checkpoints.checkpoint import choose_device
from avseg_cli.scoring.evaluate_options import EvaluateOptions

Part = TypeVar("Part")
Work = Callable[[EvaluateOptions, Sharing], Part]


def in_processes(work: Work[Part], options: EvaluateOptions, jobs: int) -> list[Part]:
    """What ``work`` gives for each of ``jobs`` shares, in their order; this process does the first.

    The processes divide the cores. Raises what any of them raises, and ends the others; ``DeviceError`` when one is
    gone without a word.
    """
    if jobs == 1:
        return [work(options, Sharing())]
    threads, before = max(1, cores() // jobs), torch.get_num_threads()
    context = multiprocessing.get_context("spawn")  # forks of a process with threads can hang
    others = []
    try:
        for rank in range(1, jobs):
            receiving, sending = context.Pipe(duplex=False)
            told = (sending, work, on_own_device(options, rank), Sharing(rank, jobs), threads)
            process = context.Process(target=_run, args=told)
            process.start()
            sending.close()
            others.append((process, receiving))
        torch.set_num_threads(threads)
        first = work(on_own_device(options, 0), Sharing(0, jobs))
        return [first, *(_received(receiving) for _, receiving in others)]
    finally:
        torch.set_num_threads(before)
        for process, _ in others:
            process.terminate()
            process.join()


def on_own_device(options: EvaluateOptions, rank: int) -> EvaluateOptions:
    """The options of one process: where there are several GPUs and none is named, each takes the next."""
    device = choose_device(options.device)
    if device.type != "cuda" or device.index is not None:
        return options
    return replace(options, device=f"cuda:{rank % torch.cuda.device_count()}")


def _run(sending: Connection, work: Work[Part], options: EvaluateOptions, sharing: Sharing, threads: int) -> None:
    """A process of its own: its part, or what went wrong, to the first one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the first, which ends the others
    take_share(threads)
    try:
        answer: Part | Exception = work(options, sharing)
    except Exception as error:
        answer = error
    sending.send_bytes(pickle.dumps(answer))  # plain bytes: tensors would be shared, a file for each


def _received(receiving: Connection) -> Any:
    try:
        answer = pickle.loads(receiving.recv_bytes())
    except EOFError as error:
        raise DeviceError(
            f"a process of the evaluation is gone, perhaps for lack of memory; give fewer {named('jobs')}"
        ) from error
    if isinstance(answer, Exception):
        raise answer
    return answer
