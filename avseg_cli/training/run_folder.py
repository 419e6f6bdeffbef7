"""The folder of one stage of a run: what it was told, what happened, and what it takes to go on."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from avseg_cli.base.errors import AvsegError, DataError, OutputError, named
from avseg_cli.base.json_text import parse_json
from avseg_cli.base.json_types import fits
from avseg_cli.base.sharing import Sharing
from avseg_cli.base.whole_files import write_json, write_whole
from avseg_cli.training.recipe import Recipe
from avseg_cli.training.stages import in_order
from avseg_cli.training.train_options import TrainOptions

RESUME = "resume.safetensors"
EPOCH = ("epoch", "step", "loss", "time")  # numbers that the record of every epoch has
PLOT_EVERY = 60.0  # seconds between pictures of the curves


def versions() -> dict[str, str]:
    """What the run was made with."""
    from avseg_cli.base.version import __version__

    return {
        "avseg": __version__, "torch": torch.__version__, "python": platform.python_version(),
        "platform": platform.platform(), "cuda": torch.version.cuda or "none",
    }  # fmt: skip


class StageFolder:
    """``run/<stage>``: config.json, command.txt, metrics.jsonl, tensorboard/, curves.png, checkpoints, resume state."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: Any = None
        self._plotted = 0.0

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        return self.path / "last.safetensors"

    @property
    def done(self) -> bool:
        return (self.path / "done.json").is_file()

    @property
    def started(self) -> bool:
        return (self.path / "config.json").is_file()

    @property
    def has_state(self) -> bool:
        """Whether there is something to go on from."""
        return (self.path / RESUME).is_file()

    @property
    def _lock(self) -> Path:
        return self.path.with_name(f".{self.path.name}.lock")

    def refuse_busy(self) -> None:
        """Raise ``OutputError`` when another process is in this folder; nothing is written."""
        if self._lock.is_file():
            with self.alone(Sharing()):
                pass

    @contextmanager
    def alone(self, sharing: Sharing) -> Iterator[None]:
        """Keep other runs out of this folder; raises ``OutputError`` when one is in it already."""
        if sharing.rank > 0:
            yield
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise OutputError(
                f"{self.path}: another process is training this stage; wait for it, or stop it"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def start(self, options: TrainOptions, facts: dict[str, Any]) -> None:
        """Make the folder and write what the run was told."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "command.txt").write_text(options.command + "\n")
        write_json(self.path / "versions.json", versions())
        recipes = {stage: vars(recipe) for stage, recipe in options.begun.items()}
        write_json(self.path / "config.json", {"options": options.to_dict(), "recipes": recipes, **facts})

    def log(self, record: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl, and its numbers to TensorBoard."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        writer = self._tensorboard()
        for name, value in record.items():
            if isinstance(value, float):
                writer.add_scalar(name, value, record["step"])
        writer.flush()

    def _tensorboard(self) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            steps = [record["step"] for record in self.records()]
            self._writer = SummaryWriter(str(self.path / "tensorboard"), purge_step=max(steps, default=0) + 1)
        return self._writer

    @property
    def options(self) -> TrainOptions:
        """What the stage was told; it must have been started. Raises ``DataError`` when that is damaged."""
        return _options(self.path / "config.json")

    def records(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, up to one that is no record of an epoch: a kill may cut the last one short."""
        path = self.path / "metrics.jsonl"
        records: list[dict[str, Any]] = []
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []:
            try:
                record = parse_json(line)
            except ValueError:
                break
            if not isinstance(record, dict) or not all(fits(record.get(name), float) for name in EPOCH):
                break
            records.append(record)
        return records

    def rewind(self, step: int) -> None:
        """Drop what was logged after ``step``: a run that goes on, or starts anew, logs it again."""
        if not (self.path / "metrics.jsonl").is_file():
            return
        kept = [record for record in self.records() if record["step"] <= step]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        write_whole(self.path / "metrics.jsonl", lambda partial: partial.write_text(text))

    def save_state(self, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        """Everything a killed run needs to go on, in one file."""
        clones = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        write_whole(
            self.path / RESUME,
            lambda partial: save_file(clones, partial, metadata={"state": json.dumps(about)}),
        )

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What ``save_state`` wrote last, or None. Raises ``DataError`` when the file is damaged."""
        path = self.path / RESUME
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
                return tensors, parse_json(file.metadata()["state"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: damaged ({error}); delete it to start the stage anew") from error

    def plot(self, final: bool = False) -> None:
        """curves.png: the loss and the validation score over the epochs; at most once a minute."""
        records = self.records()
        if not records or (not final and time.monotonic() - self._plotted < PLOT_EVERY):
            return
        self._plotted = time.monotonic()
        write_whole(self.path / "curves.png", lambda partial: _draw(records, partial))

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the stage as done; its resume state has served."""
        self.plot(final=True)
        if self._writer is not None:
            self._writer.close()
        write_json(self.path / "done.json", summary)
        (self.path / RESUME).unlink(missing_ok=True)


def _draw(records: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    from avseg_cli.pages.plots import whole

    figure = Figure(figsize=(9, 4), layout="constrained")
    loss, score = figure.subplots(1, 2)
    for axis, name, title in ((loss, "loss", "training loss"), (score, "score", "validation score")):
        points = [(record["epoch"], record[name]) for record in records if name in record]
        if points:
            axis.plot(*zip(*points, strict=True), marker="." if len(points) < 50 else None)
        axis.set(title=title, xlabel="epoch")
        whole(axis.xaxis)
        axis.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=100)


def _options(config: Path) -> TrainOptions:
    try:
        content = parse_json(config.read_text(encoding="utf-8"))
        told = {config.parent.name: content["recipe"]} if "recipe" in content else {}  # all that older runs say
        begun = {stage: Recipe.from_dict(values) for stage, values in content.get("recipes", told).items()}
        options = replace(TrainOptions.from_dict(content["options"]), begun=begun)
        for stage in options.stages:
            options.recipe(stage)  # raises for figures that no recipe can have
        return options
    except (AvsegError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{config}: damaged or edited ({error}); start the run anew with {named('out')} elsewhere"
        ) from error


def unfinished(run: Path) -> list[TrainOptions]:
    """The commands of a run that have stages left, with those alone, in the order of the stages: one that is to be
    joined is ended first, whoever began it. A stage that was started is left to the command that started it.

    Raises ``OutputError`` if there is no run.
    """
    started = {stage: StageFolder(run / stage) for stage in in_order() if StageFolder(run / stage).started}
    if not started:
        raise OutputError(f"{run}: not the folder of a training run; {named('resume')} takes the {named('out')} of one")
    owners = {stage: folder.options for stage, folder in started.items()}
    for options in list(owners.values()):
        owners = dict.fromkeys(options.stages, options) | owners
    found: list[TrainOptions] = []
    for stage in (stage for stage in in_order() if stage in owners and not StageFolder(run / stage).done):
        options = replace(owners[stage], stages=(stage,))
        if found and replace(found[-1], stages=(stage,)) == options:
            last = found.pop()
            options = replace(options, stages=(*last.stages, stage), begun={**last.begun, **options.begun})
        found.append(options)
    return found
