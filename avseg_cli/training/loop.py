"""The training loop: one stage from its first or last saved step to its end."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from avseg_cli.base.arithmetic import ordered
from avseg_cli.base.device_copies import Arriving
from avseg_cli.base.errors import AvsegError, DataError, named
from avseg_cli.base.json_types import misfits
from avseg_cli.base.progress import progress_bar
from avseg_cli.base.say import say
from avseg_cli.base.sharing import Sharing
from avseg_cli.base.signals import heard
from avseg_cli.data.dataset import Sample
from avseg_cli.model.modes import in_eval
from avseg_cli.training.distributed import from_first, mean_figures, mean_over_processes
from avseg_cli.training.estimate import Pace
from avseg_cli.training.feed import fed
from avseg_cli.training.recipe import Recipe
from avseg_cli.training.run_folder import RESUME, StageFolder
from avseg_cli.training.tasks import Task

LOG_EVERY = 30.0  # seconds between lines in a log that is not a terminal


class NonFiniteLoss(AvsegError):
    """The loss of some clip is not a number: training stops rather than spoil the weights."""


@dataclass
class Setup:
    """How and where a stage runs."""

    recipe: Recipe
    seed: int = 0
    workers: int = 0
    sharing: Sharing = field(default_factory=Sharing)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    accumulate: int = 1
    validate_every: int = 1
    save_minutes: float = 5.0

    def autocast(self) -> torch.autocast | nullcontext[None]:
        """Compute in ``dtype``, keep the weights in float32."""
        return torch.autocast(self.device.type, self.dtype) if self.dtype != torch.float32 else nullcontext()

    def track(self, items: Sequence[int], description: str) -> Iterator[int]:
        """The items, with a progress bar in the first process."""
        with progress_bar(self.sharing) as progress:
            yield from progress.track(items, description=description)


@dataclass
class Position:
    """How far a stage has come; saved with the weights."""

    epoch: int = 0
    batch: int = 0  # batches of this epoch that are done
    step: int = 0  # optimizer steps since the start
    loss_sum: float = 0.0  # over this epoch's batches
    best: float = -math.inf
    best_epoch: int = 0


class Trainer:
    """Everything that changes while a stage trains, and how to save and restore it."""

    def __init__(self, task: Task, parameters: dict[str, nn.Parameter], setup: Setup, folder: StageFolder) -> None:
        self.task, self.setup, self.folder = task, setup, folder
        self.names = list(parameters)
        self.parameters = list(parameters.values())
        self.optimizer = make_optimizer(self.parameters, setup.recipe)
        # fp16 has no small numbers: losses are scaled up, and steps with an overflow are left out
        self.scaler = torch.amp.GradScaler(setup.device.type, enabled=setup.dtype == torch.float16)
        self.position = Position()
        self.steps_per_epoch = math.ceil(task.batch_count() / setup.accumulate)
        self.module = task.module
        if setup.sharing.world > 1:
            devices = [setup.device] if setup.device.type == "cuda" else None
            self.module = DistributedDataParallel(
                task.module, device_ids=devices, find_unused_parameters=task.skips_parameters
            )

    # --- state

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Trained weights, statistics, optimizer and random states as tensors, and the rest as JSON."""
        tensors = {f"weight.{k}": v for k, v in self._weights().items()}
        scalars: dict[str, Any] = {}
        for i, values in self.optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer.{i}.{name}": torch.as_tensor(value) for name, value in values.items()})
        tensors["random.cpu"] = torch.get_rng_state()
        if self.setup.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.setup.device)
        scalars["position"] = vars(self.position)
        scalars["scaler"] = self.scaler.state_dict()
        return tensors, scalars

    def _weights(self) -> dict[str, Tensor]:
        """What training changes: trained parameters, and the buffers (batch statistics) beside them."""
        trained = {id(p) for p in self.parameters}
        weights = {k: p for k, p in self.task.module.named_parameters() if id(p) in trained}
        return {**weights, **dict(self.task.module.named_buffers())}

    def go_on(self) -> None:
        """Take up the state that the folder has, if any. Raises ``DataError`` when it is damaged or another run's."""
        saved = self.folder.load_state()
        if saved is None:
            return
        try:
            self.restore(*saved)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise DataError(
                f"{self.folder.path / RESUME}: damaged, or of another run ({type(error).__name__}: "
                f"{reason}); delete it to start the stage anew"
            ) from error

    def restore(self, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
        """Inverse of ``state``."""
        with torch.no_grad():
            for name, tensor in self._weights().items():
                tensor.copy_(tensors[f"weight.{name}"])
        state: dict[int, dict[str, Tensor]] = {}
        numbered = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".", 2)
                if value.dim() and value.shape != numbered[int(index)].shape:
                    raise ValueError(f"{key} is {tuple(value.shape)}")
                state.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and self.setup.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.setup.device)
        if scalars.get("scaler"):
            self.scaler.load_state_dict(scalars["scaler"])
        self.position = Position(**scalars["position"])
        for name in misfits(vars(self.position), Position):
            raise ValueError(f"{name} is {getattr(self.position, name)!r}")

    def save(self) -> None:
        """Write the resume state (first process only)."""
        if self.setup.sharing.rank == 0:
            self.folder.save_state(*self.state())

    # --- steps

    def set_learning_rate(self) -> float:
        """The schedule is a function of the step alone, so that a resumed run needs no state for it."""
        rate = learning_rate(self.setup.recipe, self.position.step, self.steps_per_epoch * self.setup.recipe.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def step(self, batches: list[list[Sample]]) -> float:
        """One optimizer step over one or, accumulating, several batches; returns the mean loss.

        Losses are read, and weights left as they are if one is not finite, while the device is at the gradients.
        """
        self.set_learning_rate()
        if self.setup.sharing.world > 1:
            torch.manual_seed(step_seed(self.setup.seed, self.setup.sharing.rank, self.position.step))
        self.optimizer.zero_grad(set_to_none=True)
        arriving = []
        for number, samples in enumerate(batches, start=1):
            last = number == len(batches)
            wait = nullcontext() if last or self.setup.sharing.world == 1 else self.module.no_sync()
            with wait:
                with self.setup.autocast():
                    losses = self.task.loss(self.module, samples)
                arriving.append(Arriving(losses))
                with ordered():
                    self.scaler.scale(losses.mean() / len(batches)).backward()
        told = [losses.read() for losses in arriving]
        for losses, samples in zip(told, batches, strict=True):
            check_finite(losses, samples)
        total = sum(float(losses.mean()) for losses in told)
        clip = self.setup.recipe.clip_gradient
        if clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.position.step += 1
        self.position.batch += len(batches)
        self.position.loss_sum += total
        return total / len(batches)


def make_optimizer(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Adam or AdamW; vectors (norms, biases) are not decayed by AdamW. On CUDA, one kernel for all of a step."""
    fused = True if parameters[0].is_cuda else None
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=fused)
    matrices = [p for p in parameters if p.dim() > 1]
    vectors = [p for p in parameters if p.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=recipe.learning_rate, fused=fused)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Linear warm-up, then constant or a cosine down to the recipe's floor."""
    warm = recipe.warmup * steps
    if step < warm:
        return recipe.learning_rate * (step + 1) / (warm + 1)
    if recipe.schedule == "constant":
        return recipe.learning_rate
    done = min(1.0, (step - warm) / max(1.0, steps - warm))  # past the end when processes were added on the way
    return recipe.learning_rate * (recipe.floor + (1 - recipe.floor) * 0.5 * (1 + math.cos(math.pi * done)))


def step_seed(seed: int, rank: int, step: int) -> int:
    """Of each process's dropout in each step: another one for each, and the same again in a run that was resumed."""
    return ((seed * 1_000_003 + rank) * 1_000_003 + step) % 2**62


def check_finite(losses: Tensor, samples: list[Sample]) -> None:
    """Raises ``NonFiniteLoss`` with the names of the clips at fault."""
    if torch.isfinite(losses).all():
        return
    names = [s.name for s, loss in zip(samples, losses.tolist(), strict=True) if not math.isfinite(loss)]
    raise NonFiniteLoss(
        f"the loss is not finite on {', '.join(names)}; check that clip's files, "
        f"lower {named('learning_rate')}, or use {named('precision')} fp32"
    )


def fit(
    task: Task, parameters: dict[str, nn.Parameter], setup: Setup, folder: StageFolder,
    save: Callable[[str, dict[str, Any]], None],
) -> dict[str, Any]:  # fmt: skip
    """Train to the last epoch or until patience ends; returns the best validation figures.

    ``save("last" | "best", figures)`` writes a checkpoint. Continues from the folder's resume state if it
    has one. Ctrl-C, SIGTERM and SIGHUP save the state after the running step, or validation, and then raise
    ``KeyboardInterrupt``.
    """
    trainer = Trainer(task, parameters, setup, folder)
    trainer.go_on()
    if setup.sharing.rank == 0:
        folder.rewind(trainer.position.step)
    setup.sharing.wait()
    figures: dict[str, Any] = {}
    pace, position = Pace(_say if setup.sharing.rank == 0 else lambda line: None), trainer.position
    with asked_to_stop() as stop:
        while position.epoch < setup.recipe.epochs and not _out_of_patience(trainer):
            if position.batch == 0:
                pace.epoch_begins()
            _run_epoch(trainer, stop, pace)
            figures = _end_epoch(trainer, save) or figures
            _heed(stop, trainer)  # asked for while it was judged: the next stage would not know of it
            pace.epoch_ended(setup.recipe.epochs - position.epoch)
    return {"best_score": trainer.position.best, "best_epoch": trainer.position.best_epoch, **figures}


def _out_of_patience(trainer: Trainer) -> bool:
    patience, position = trainer.setup.recipe.patience, trainer.position
    return patience is not None and position.epoch - position.best_epoch >= patience * trainer.setup.validate_every


def _run_epoch(trainer: Trainer, stop: Callable[[], bool], pace: Pace) -> None:
    setup, position = trainer.setup, trainer.position
    batches = fed(trainer.task.batches(position.epoch, position.batch), setup.device)
    total = trainer.task.batch_count()
    saved = told = time.monotonic()
    first, started = position.batch, saved
    with closing(batches), progress_bar(setup.sharing) as progress:
        bar = progress.add_task(f"epoch {position.epoch + 1}/{setup.recipe.epochs}", total=total, completed=first)
        for group in _groups(batches, setup.accumulate):
            loss = trainer.step(group)
            pace.stepped(trainer.steps_per_epoch * setup.recipe.epochs - position.step)
            now = time.monotonic()
            description = f"epoch {position.epoch + 1}/{setup.recipe.epochs} loss {loss:.4f}"
            progress.update(bar, completed=position.batch, description=description)
            if progress.disable and setup.sharing.rank == 0 and now - told > LOG_EVERY:
                rate = (position.batch - first) * setup.recipe.batch_size / (now - started)
                mean = position.loss_sum / position.batch
                line = f"{description} mean {mean:.4f}, batch {position.batch}/{total}, {rate:.1f} clips/s"
                _say(line)
                told = now
            _heed(stop, trainer)
            if now - saved > setup.save_minutes * 60:
                trainer.save()
                saved = now


def _heed(stop: Callable[[], bool], trainer: Trainer) -> None:
    """Save the state and raise ``KeyboardInterrupt`` where a stop was asked for."""
    if from_first(stop(), trainer.setup.sharing):
        trainer.save()
        run = trainer.folder.path.parent
        raise KeyboardInterrupt(f"stopped; the state is saved, go on with `avseg train --resume {run}`")


def _groups(batches: Iterator[list[Sample]], size: int) -> Iterator[list[list[Sample]]]:
    group: list[list[Sample]] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _end_epoch(trainer: Trainer, save: Callable[[str, dict[str, Any]], None]) -> dict[str, Any] | None:
    """Validate when it is time, log, save; returns the figures when they are the best so far."""
    setup, position = trainer.setup, trainer.position
    count = position.batch
    loss = mean_over_processes([position.loss_sum / max(1, count)], [1.0], setup.sharing)[0]
    position.epoch, position.batch, position.loss_sum = position.epoch + 1, 0, 0.0
    record: dict[str, Any] = {
        "epoch": position.epoch, "step": position.step, "loss": loss, "learning_rate": trainer.set_learning_rate(),
        "time": time.time(),
    }  # fmt: skip
    better = False
    last_epoch = position.epoch == setup.recipe.epochs
    if position.epoch % setup.validate_every == 0 or last_epoch:
        figures = _validate(trainer)
        record.update(figures)
        better = figures["score"] > position.best
        if better:
            position.best, position.best_epoch = figures["score"], position.epoch
        if setup.sharing.rank == 0:
            save("last", record)
            if better:
                save("best", record)
    if setup.sharing.rank == 0:
        trainer.folder.log(record)
        _tell(record, setup.recipe.epochs, better)
    trainer.save()
    setup.sharing.wait()
    if setup.sharing.rank == 0:
        trainer.folder.plot(final=last_epoch)
    return record if better else None


def _validate(trainer: Trainer) -> dict[str, float]:
    """Means over the whole val split, and over all processes."""
    task, setup = trainer.task, trainer.setup
    with in_eval(task.module):
        parts = task.validate(setup.sharing)
    return mean_figures(parts, setup.sharing)


def _tell(record: dict[str, Any], epochs: int, better: bool) -> None:
    figures = "  ".join(
        f"{k} {v:.4g}" for k, v in record.items() if isinstance(v, float) and k not in ("time", "score")
    )
    line = f"epoch {record['epoch']}/{epochs}  {figures}{'  (best)' if better else ''}"
    _say(line)


def _say(line: str) -> None:
    with suppress(OSError):  # the terminal may be gone; what was learnt is to be saved all the same
        say(line)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C, SIGTERM, or SIGHUP of a terminal that closes came; a second Ctrl-C stops at once."""
    asked = False

    def note(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        numbers = (signal.SIGINT, signal.SIGTERM, *heard("SIGHUP"))
        previous = {number: signal.signal(number, note) for number in numbers}
    except ValueError:  # not the main thread: the caller owns the signals
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
