"""Many machines at one job: Ray Data hands out paths and takes back outcomes; frames never travel.

Each actor loads one model and segments one video after the other, as ``Batch`` does on one machine. Paths and
addresses must mean the same on every machine. Resuming is ``--skip-existing``, looked up by the actor.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avseg_cli.base.errors import DeviceError, InputError, named
from avseg_cli.base.extras import extra
from avseg_cli.segment.addresses import is_url, location

if TYPE_CHECKING:
    from avseg_cli.segment.batch import Batch, Listener, Work
    from avseg_cli.segment.outcome import Outcome

ROWS_A_BLOCK = 8  # videos that travel together; a block's outcomes come back together, and are retried together
MOST_BLOCKS = 100_000
IN_FLIGHT = 2  # blocks at a worker: one at work, one that waits; more would leave others without any
STORE = 100 << 20  # bytes that a Ray of this run's own keeps for what travels: paths and outcomes
PATIENT = {
    "RAY_raylet_start_wait_time_s": "300",  # a busy machine takes minutes to start one
    "RAY_USAGE_STATS_ENABLED": "0",
}  # nothing is sent to anybody


def run_ray(
    batch: Batch, work: list[Work], listener: Listener, address: str, cpus: float, gpus: float | None
) -> Iterator[Outcome]:
    """``batch.run`` by the actors of a Ray cluster; outcomes come as they end.

    address: ``"auto"``, ``"host:port"``, ``"ray://host:port"``, or ``"local"``: a Ray of this machine for this run.
    cpus, gpus: of one actor; ``gpus`` None gives each a whole one where the cluster has any. Raises ``DeviceError``
    when no cluster answers, and ``AvsegError`` without the packages of avseg[cluster].
    """
    if any(source.is_stdin for source, _ in work):
        raise InputError(f"stdin cannot be read by other machines; write it to a file for {named('ray')}")
    ray = _connected(address)
    try:
        gpus = _gpus(ray) if gpus is None else gpus
        actors = _room(ray, cpus, gpus)
        rows = [_row(number, item) for number, item in enumerate(work)]
        blocks = max(actors, min(MOST_BLOCKS, len(rows) // ROWS_A_BLOCK))
        outcomes = ray.data.from_items(rows, override_num_blocks=min(len(rows), blocks)).map(
            _Segmenter,
            fn_constructor_args=(batch,),
            num_cpus=cpus,
            num_gpus=gpus or None,
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(rows)), max_tasks_in_flight_per_actor=IN_FLIGHT),
        )
        yield from _received(outcomes.iter_rows(), work, listener)
    finally:
        ray.shutdown()


def _connected(address: str) -> Any:
    for name, value in PATIENT.items():
        os.environ.setdefault(name, value)  # Ray looks at them when it is loaded
    with extra("cluster", "a Ray cluster"):
        import ray  # pyright: ignore[reportMissingImports]  of an extra
        import ray.data  # pyright: ignore[reportMissingImports]
    own = {"include_dashboard": False, "object_store_memory": STORE} if address == "local" else {}
    try:
        ray.init(
            address,
            log_to_driver=False,
            logging_level="error",
            ignore_reinit_error=True,
            runtime_env={"env_vars": _own_code()},
            **own,
        )
    except Exception as error:  # connection errors of several kinds, by version
        said = " ".join(str(error).split())[:200]
        raise DeviceError(
            f"{named('ray')} {address}: no cluster answers ({said}); start one with `ray start --head`, "
            f"or use {named('ray')} local"
        ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # an actor that dies costs its videos, not the run
    return ray


def _own_code() -> dict[str, str]:
    """Where avseg lies, for actors on this machine that run it from a checkout."""
    here = str(Path(__file__).resolve().parents[2])
    return {"PYTHONPATH": os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])}


def _gpus(ray: Any) -> float:
    return 1.0 if ray.cluster_resources().get("GPU", 0) >= 1 else 0.0


def _room(ray: Any, cpus: float, gpus: float) -> int:
    """How many actors the cluster has room for. Raises ``DeviceError`` if none."""
    there = ray.cluster_resources()
    room = min(int(there.get(name, 0) / need) for name, need in (("CPU", cpus), ("GPU", gpus)) if need)
    if room < 1:
        has = f"{there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs"
        raise DeviceError(
            f"the cluster has {has}, too few for one worker of {cpus:g} and {gpus:g}; "
            f"lower {named('ray_cpus')} or {named('ray_gpus')}"
        )
    return room


def _row(number: int, item: Work) -> dict[str, Any]:
    source, outputs = item
    places = {name: everywhere(path) for name, path in outputs.items()}
    return {"number": number, "input": everywhere(source.path), "outputs": json.dumps(places)}


def everywhere(path: str | Path) -> str:
    """A name that does not depend on the folder a process was started in."""
    return str(path) if is_url(path) else os.path.abspath(path)


class _Segmenter:
    """An actor: its model, and one video after the other."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.load, self.model = batch, batch.load, None
        batch.load = self._model
        if threads := int(os.environ.get("OMP_NUM_THREADS", "0")):  # Ray sets it to the actor's cores
            from avseg_cli.base.threads import take_share

            take_share(threads)

    def _model(self) -> Any:
        self.model = self.model or self.load()
        return self.model

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        from avseg_cli.segment.inputs import InputVideo

        path = location(row["input"])
        outputs = {name: location(place) for name, place in json.loads(row["outputs"]).items()}
        (outcome,) = self.batch.run([(InputVideo(path, Path(path.name)), outputs)], _Silent())
        outcome.worker = f"{socket.gethostname()}:{os.getpid()}"
        return {
            "number": row["number"],
            "input": row["input"],
            "status": outcome.status,
            "error": str(outcome.error or ""),
            "outcome": pickle.dumps(outcome),
        }


class _Silent:
    """Nobody watches an actor."""

    def started(self, source: Path, video: object) -> Any:
        return lambda seconds: None

    def ended(self, outcome: object) -> None:
        """Nothing to say."""


def _received(rows: Any, work: list[Work], listener: Listener) -> Iterator[Outcome]:
    """The outcomes under the names the user gave; videos whose actor died failed."""
    from avseg_cli.segment.outcome import Outcome

    left = dict(enumerate(work))
    for row in rows:
        outcome: Outcome = pickle.loads(row["outcome"])
        source, outputs = left.pop(row["number"])
        outcome.source = source.path
        outcome.outputs = {name: outputs[name] for name in outcome.outputs}
        listener.ended(outcome)
        yield outcome
    for source, outputs in left.values():
        error = DeviceError(
            f"{source.path}: the worker that had it ended before it was done, perhaps for lack of "
            f"memory; run again with {named('skip_existing')}"
        )
        outcome = Outcome(source.path, "failed", outputs, error=error)
        listener.ended(outcome)
        yield outcome
