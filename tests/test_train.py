"""avseg train: what trains, the loop's promises (resume, several processes, accumulation), and that it learns."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from miniature import make
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from avseg_cli.base.errors import AvsegError, DataError, DeviceError, InputError, OutputError
from avseg_cli.base.sharing import Sharing
from avseg_cli.base.signals import heard
from avseg_cli.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from avseg_cli.cli import app
from avseg_cli.data.clips import read_clips
from avseg_cli.data.files import read_frames
from avseg_cli.data.subsets import SUBSETS, find_subset
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import BACKBONES, preset
from avseg_cli.training import loop
from avseg_cli.training.distributed import local_device
from avseg_cli.training.loop import asked_to_stop, learning_rate, step_seed
from avseg_cli.training.losses import LOSSES, bce, bce_iou, bce_iou_sama
from avseg_cli.training.parameters import set_trainable, start_adapters, trained_parts, transfer
from avseg_cli.training.recipe import Recipe, default_recipe
from avseg_cli.training.run_folder import StageFolder, unfinished
from avseg_cli.training.stages import STAGES
from avseg_cli.training.train import initial_model, plan, plan_resume, resume, train, whole_recipe
from avseg_cli.training.train_options import TrainOptions

TWO_GPUS = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices on this machine")
SMALL = ["--backbone", "tiny", "--image-size", "64", "--depth", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data"), "ms3")


def options(data: Path, out: Path, *stages: str, **changes) -> TrainOptions:
    base = TrainOptions(
        data=str(data),
        subset="ms3",
        out=str(out),
        stages=stages,
        backbone="tiny",
        image_size=64,
        depth=1,
        device="cpu",
    )
    return replace(base, **changes)


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "avseg_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=240)


def same_weights(one: Path, other: Path) -> bool:
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# --- what trains


def test_each_stage_trains_its_named_parts_and_nothing_else() -> None:
    model = AvsegModel(preset("tiny"))
    for stage, names in ((stage, STAGES[stage].trains) for stage in STAGES):
        trained = set(set_trainable(model, stage))
        assert trained and all(name.startswith(tuple(f"{part}." for part in names)) for name in trained)
        for part in trained_parts(model, stage):  # those that this model has: only SAMA-AVS has a no_mask_embed
            assert any(name.startswith(f"{part}.") for name in trained), (stage, part)
        assert len(trained_parts(model, stage)) >= len(names) - 1
        assert not any("iou_prediction_head" in name for name in trained)
    assert not any(name.startswith("vggish") for name in set_trainable(model, "2"))


def test_pretraining_the_encoder_leaves_its_adapters_out_and_runs_its_batch_norm() -> None:
    model = AvsegModel(preset("tiny"))
    assert not any("adapters" in name for name in set_trainable(model, "pretrain-image"))
    assert model.image_encoder.patch_embed.training
    set_trainable(model, "2")
    assert not model.image_encoder.patch_embed.training and model.fusion.training


def test_unfreezing_adds_a_part_to_stage_two() -> None:
    model = AvsegModel(preset("tiny"))
    assert "image_encoder" in trained_parts(model, "2", ("image",))
    assert "image_encoder" not in trained_parts(model, "1a", ("image",))


@pytest.mark.parametrize("subset", SUBSETS.values(), ids=SUBSETS)
def test_less_than_four_percent_of_sam_trains(subset) -> None:
    with torch.device("meta"):
        model = AvsegModel(preset("vit_h", fusion_depth=subset.fusion_depth))
    count = sum(p.numel() for p in set_trainable(model, "2").values())
    assert 0.01 < count / BACKBONES["vit_h"].parameters < 0.04


def test_the_papers_recipe_is_the_default_for_sam() -> None:
    recipes = [default_recipe("vit_h", stage) for stage in ("1a", "1b", "2")]
    assert [recipe.epochs for recipe in recipes] == [250, 250, 15]
    for r in recipes:
        assert (r.optimizer, r.learning_rate, r.weight_decay, r.schedule, r.loss, r.augment) == (
            "adam", 1e-4, 0.0, "constant", "bce", False,
        )  # fmt: skip
    assert (SUBSETS["s4"].fusion_depth, SUBSETS["ms3"].fusion_depth) == (5, 7)


def test_the_released_recipes_are_those_of_the_published_code() -> None:
    sama, joined = (default_recipe("vit_h", stage, "released") for stage in ("1b", "2"))
    assert (sama.optimizer, sama.learning_rate, sama.weight_decay, sama.schedule, sama.epochs, sama.batch_size) == (
        "adamw", 2e-4, 0.01, "cosine", 80, 2,
    )  # fmt: skip
    assert (sama.loss, sama.adapter_start) == ("bce+iou-sama", "normal")
    assert learning_rate(sama, 80, 80) == pytest.approx(1e-7)
    assert (joined.epochs, joined.optimizer, joined.learning_rate, joined.loss) == (30, "adam", 1e-4, "bce")
    assert default_recipe("vit_h", "1a", "released") == default_recipe("vit_h", "1a")  # none was released for it
    with pytest.raises(InputError, match="no released recipe for tiny"):
        default_recipe("tiny", "2", "released")
    asked = TrainOptions(data="", subset="ms3", out="", recipes="released", epochs=3)
    assert asked.recipe("1b") == replace(sama, epochs=3)


def test_what_the_released_stage_two_keeps_still_is_in_training_and_does_not_learn() -> None:
    model = AvsegModel(preset("tiny"))
    trained = set_trainable(model, "2", still=default_recipe("vit_h", "2", "released").still)
    assert {name.split(".")[0] for name in trained} == {"image_encoder", "mask_decoder"}
    assert model.fusion.training and not any(p.requires_grad for p in model.fusion.parameters())


def test_adapters_start_without_effect_or_as_those_of_sama_avs() -> None:
    model = AvsegModel(preset("tiny"))
    adapters, sound = model.image_encoder.adapters, torch.randn(2, 128)
    start_adapters(model, "zero")
    assert not adapters(sound).any()
    start_adapters(model, "normal")
    for layer in (adapters.shared, *adapters.own):
        assert 0.015 < float(layer.weight.detach().std()) < 0.025 and not layer.bias.any()
    assert adapters(sound).any()


def test_the_whole_recipe_of_each_kind_of_backbone() -> None:
    def stages(**values: object) -> tuple[str, ...]:
        return whole_recipe(TrainOptions(data="", subset="ms3", out="", **values))

    assert stages() == ("1a", "1b", "2") and stages(adapters=False) == ("1a",)
    assert stages(backbone="tiny") == ("pretrain-sound", "pretrain-image", "1a", "2")
    assert stages(backbone="tiny", pretrained="run") == ("1a", "2")


def test_only_an_encoder_made_here_trains_in_stage_two_unasked() -> None:
    def unfrozen(**values: object) -> tuple[str, ...] | None:
        return TrainOptions(data="", subset="ms3", out="", **values).unfreeze

    assert unfrozen() == () and unfrozen(backbone="tiny") == ("image", "sound")
    assert unfrozen(backbone="tiny", unfreeze=()) == ()


def test_a_deeper_model_takes_what_a_shallower_one_has() -> None:
    shallow, deep = (AvsegModel(preset("tiny", fusion_depth=depth)) for depth in (1, 2))
    fresh = transfer(deep, shallow.state_dict())
    assert fresh and all(name.startswith("fusion.blocks.1.") for name in fresh)
    assert torch.equal(deep.fusion.blocks[0].audio_mlp.lin1.weight, shallow.fusion.blocks[0].audio_mlp.lin1.weight)
    with pytest.raises(InputError, match="this model needs"):
        transfer(deep, AvsegModel(preset("tiny", image_size=96)).state_dict())


@pytest.mark.parametrize(
    ("backbone", "pretrained", "kept"),
    [
        (
            "tiny", ("image_encoder.blocks.0.", "image_encoder.patch_embed.", "vggish."),
            ("image_encoder.adapters.", "mask_decoder.", "positions.", "fusion.", "audio_embed."),
        ),
        (
            "small", ("image_encoder.neck.", "vggish.heard."),
            ("image_encoder.adapters.", "image_encoder.fine4.", "mask_decoder.", "positions.", "fusion."),
        ),
    ],
    ids=["tiny", "small"],
)  # fmt: skip
def test_pretrained_encoders_leave_a_checkpoint_its_decoder_and_adapters(
    backbone: str, pretrained: tuple[str, ...], kept: tuple[str, ...], tmp_path: Path
) -> None:
    config, told = preset(backbone, image_size=64, fusion_depth=1), {"backbone": backbone, "image_size": 64, "depth": 1}
    one, other = AvsegModel(config), AvsegModel(config)
    for model in (one, other):
        for tensor in model.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) if tensor.is_floating_point() else tensor)
    save_checkpoint(tmp_path / "init.safetensors", one)
    for stage in ("pretrain-sound", "pretrain-image"):
        (tmp_path / "run" / stage).mkdir(parents=True)
        save_checkpoint(tmp_path / "run" / stage / "best.safetensors", other)
    told |= {"init": str(tmp_path / "init.safetensors"), "pretrained": str(tmp_path / "run")}
    asked = TrainOptions(data="", subset="ms3", out=str(tmp_path), **told)
    made, theirs = initial_model("2", asked)[0].state_dict(), {**one.state_dict()}
    theirs |= {name: tensor for name, tensor in other.state_dict().items() if name.startswith(pretrained)}
    for name in (name for name in made if name.startswith((*pretrained, *kept))):
        assert torch.equal(made[name], theirs[name]), name


# --- losses and schedule


def test_losses_by_hand() -> None:
    logits = torch.tensor([[[2.0, -1.0], [0.0, -3.0]]])
    truth = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    p = logits.sigmoid()
    expected = -(truth * p.log() + (1 - truth) * (1 - p).log()).mean()
    torch.testing.assert_close(bce(logits, truth), expected[None])
    both = (p * truth).sum()
    iou = (both + 1) / (p.sum() + truth.sum() - both + 1)
    torch.testing.assert_close(bce_iou(logits, truth), (expected + 1 - iou)[None])


def test_an_empty_truth_still_rewards_an_empty_mask() -> None:
    truth = torch.zeros(1, 8, 8)
    assert bce_iou(torch.full((1, 8, 8), -9.0), truth) < 0.1 < 1 < bce_iou(torch.full((1, 8, 8), 3.0), truth)


def test_the_loss_of_sama_avs_adds_nothing_to_the_areas() -> None:
    logits, truth = torch.randn(2, 8, 8, requires_grad=True), (torch.rand(2, 8, 8) > 0.5).float()
    truth[1] = 0
    probability = logits.sigmoid()
    both, either = (probability * truth).sum((1, 2)), torch.maximum(probability, truth).sum((1, 2))
    either = torch.where(truth.any(-1).any(-1), (probability + truth - probability * truth).sum((1, 2)), either)
    torch.testing.assert_close(bce_iou_sama(logits, truth), bce(logits, truth) + 1 - both / either)
    (gradient,) = torch.autograd.grad((bce_iou_sama(logits, truth) - bce(logits, truth))[1], logits)
    assert gradient.abs().max() < 1e-8, "an empty truth pulls by cross-entropy alone"


def test_learning_rate_rises_then_falls() -> None:
    recipe = Recipe(10, learning_rate=1.0, schedule="cosine", warmup=0.1)
    rates = [learning_rate(recipe, step, 100) for step in range(101)]
    assert rates[0] < 0.1 and max(rates) == pytest.approx(1.0, abs=0.01) and rates[-1] == pytest.approx(0.01)
    assert rates.index(max(rates)) == 10
    assert learning_rate(Recipe(1, learning_rate=0.5), 77, 100) == 0.5


# --- learning


@pytest.mark.parametrize(
    ("stage", "epochs", "rate", "side", "unfreeze"),
    [("1a", 70, 2e-3, 96, ()), ("2", 28, 3e-3, 64, ("image",))],
    ids=["1a", "2"],
)
def test_eight_clips_are_learnt_by_heart(
    stage: str, epochs: int, rate: float, side: int, unfreeze: tuple[str, ...], tmp_path: Path
) -> None:
    """Scored on the training clips themselves: the pictures of val are those of train.

    Stage 2 trains the encoder too: its weights are random here, and what adapters add to them is noise.
    """
    root = make(tmp_path / "data", "ms3", {"train": 8})
    table = root / "Multi-sources" / "ms3_meta_data.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join([*rows, *(row.replace(",train", ",val") for row in rows[1:])]) + "\n")
    files = root / "Multi-sources" / "ms3_data"
    for kind in ("gt_masks", "audio_wav"):
        (files / kind / "val").symlink_to(files / kind / "train")
    started = time.process_time()
    best = train(
        options(
            root, tmp_path / "run", stage, epochs=epochs, unfreeze=unfreeze, batch_size=2, learning_rate=rate,
            augment=False, dropout=0.0, validate_every=14, image_size=side,
        )
    )  # fmt: skip
    _, info = load_checkpoint(best)
    assert info.metrics["val"]["val_miou"] > 0.9, info.metrics
    assert time.process_time() - started < 2 * 120  # two minutes on two cores


def test_the_whole_recipe_runs_from_one_command_to_a_table(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["train", "--data", data, "--out", out, *SMALL, "--epochs", 1, "--limit-clips", 2]
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for stage in ("pretrain-sound", "pretrain-image", "1a", "2"):
        folder = out / stage
        names = {path.name for path in folder.iterdir()}
        assert names == {
            "best.safetensors", "last.safetensors", "command.txt", "config.json", "curves.png", "done.json",
            "metrics.jsonl", "tensorboard", "versions.json",
        }  # fmt: skip
        record = json.loads((folder / "metrics.jsonl").read_text())
        assert record["epoch"] == 1 and record["loss"] > 0
        assert list((folder / "tensorboard").iterdir())
    final, info = load_checkpoint(out / "2" / "best.safetensors")
    assert final.config.fusion == "stbava" and final.config.adapters and info.training["stage"] == "2"
    fusion_only = load_file(out / "1a" / "best.safetensors")
    assert not any("adapters" in name for name in fusion_only)
    scored = CliRunner().invoke(
        app, ["evaluate", "--data", str(data), "--checkpoint", str(out / "2/best.safetensors"), "--json"]
    )
    assert scored.exit_code == 0 and 0 <= json.loads(scored.stdout)["miou"] <= 1


def test_stage_two_starts_from_the_stages_before(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(options(data, out, "1a", "1b", epochs=1, limit_clips=2))
    train(options(data, out, "2", epochs=1, limit_clips=2, learning_rate=1e-12))
    one_a, one_b, two = (load_file(out / stage / "last.safetensors") for stage in ("1a", "1b", "2"))
    close = {"rtol": 0, "atol": 1e-6}
    torch.testing.assert_close(
        two["fusion.blocks.0.audio_mlp.lin1.weight"], one_a["fusion.blocks.0.audio_mlp.lin1.weight"], **close
    )
    torch.testing.assert_close(
        two["mask_decoder.mask_tokens.weight"], one_a["mask_decoder.mask_tokens.weight"], **close
    )
    torch.testing.assert_close(
        two["image_encoder.adapters.shared.weight"], one_b["image_encoder.adapters.shared.weight"], **close
    )


@pytest.mark.parametrize(
    "change",
    [{}, {"temporal": False}, {"bidirectional": False}, {"depth": 2}, {"loss": "bce"}, {"optimizer": "adam"},
     {"fusion": "tpavi"}, {"fusion": "han"}, {"fusion": "cmran"}, {"fusion": "jca"}, {"fusion": "none"}],
    ids=str,
)  # fmt: skip
def test_every_option_trains_and_changes_the_outcome(change: dict, data: Path, tmp_path: Path, outcomes: dict) -> None:
    train(options(data, tmp_path, "1a", epochs=1, limit_clips=2, cache=str(outcomes["cache"]), **change))
    record = json.loads((tmp_path / "1a" / "metrics.jsonl").read_text())
    last = load_file(tmp_path / "1a" / "last.safetensors")
    figure = (record["loss"], float(sum(v.double().abs().sum() for v in last.values())))
    assert figure not in outcomes["seen"]
    outcomes["seen"].append(figure)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return {"cache": tmp_path_factory.mktemp("cache"), "seen": []}


# --- the loop's promises


def test_the_encoder_sees_a_frame_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage 1a's embeddings are read back on the second run, and made again when a frame's file changes."""
    seen = []
    original = AvsegModel.embed_frames

    def counting(self, frames, sound):
        seen.append(len(frames))
        return original(self, frames, sound)

    monkeypatch.setattr(AvsegModel, "embed_frames", counting)
    root = make(tmp_path / "data", "ms3", {"train": 2, "val": 1})
    for number in range(2):
        train(options(root, tmp_path / f"run{number}", "1a", epochs=3, cache=str(tmp_path / "cache")))
        assert sum(seen) == 3 * 5
    frame = read_clips(root, find_subset("ms3"), "train")[0].frames[0]
    os.utime(frame, (1, 1))
    train(options(root, tmp_path / "run2", "1a", epochs=1, cache=str(tmp_path / "cache")))
    assert sum(seen) == 5 * 5  # the train split again, the val split not


def test_a_killed_run_continues_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of an epoch; the resumed run equals the uninterrupted one bit for bit."""
    arguments = [
        "train", "--data", data, *SMALL, "--stage", "2", "--epochs", 3, "--batch-size", 2, "--save-minutes", 0,
        "--augment", "--limit-clips", 6,
    ]  # fmt: skip
    environment = {"OMP_NUM_THREADS": "1"}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(*arguments, "--out", whole, **environment).returncode == 0
    command = [sys.executable, "-m", "avseg_cli", *map(str, arguments), "--out", str(broken)]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    state = broken / "2" / "resume.safetensors"
    _wait_for(lambda: state.is_file() and _step(state) >= 4, process)  # past the first epoch, inside the second
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (broken / "2" / "done.json").exists()
    resumed = run("train", "--resume", broken, **environment)
    assert resumed.returncode == 0, resumed.stderr
    for name in ("last.safetensors", "best.safetensors"):
        assert same_weights(whole / "2" / name, broken / "2" / name)
    records = [
        [json.loads(line) for line in (out / "2/metrics.jsonl").read_text().splitlines()] for out in (whole, broken)
    ]
    for one, other in zip(*records, strict=True):
        assert {**one, "time": 0} == {**other, "time": 0}


def _step(state: Path) -> int:
    """How far a run was when it wrote the file, which it may replace at any moment: read through one opening."""
    with open(state, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return json.loads(header["__metadata__"]["state"])["position"]["step"]


def _wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.01)


@pytest.mark.parametrize("number", heard("SIGINT", "SIGTERM", "SIGHUP"))
def test_asked_to_stop_it_saves_first_and_exits_130(number: signal.Signals, data: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "avseg_cli", "train", "--data", str(data), *SMALL, "--stage", "1a", "--epochs", "500",
        "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    _wait_for(lambda: (tmp_path / "run/1a/metrics.jsonl").is_file(), process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "the state is saved" in errors, errors
    assert _step(tmp_path / "run/1a/resume.safetensors") > 0


def test_asked_to_stop_while_a_stage_is_judged_the_next_does_not_start(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = loop._validate

    def asked_meanwhile(trainer: loop.Trainer) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return validate(trainer)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="the state is saved"):
        patch.setattr(loop, "_validate", asked_meanwhile)
        train(options(data, tmp_path, "1a", "2", epochs=1, limit_clips=1))
    assert (tmp_path / "1a/best.safetensors").is_file() and not (tmp_path / "2").exists()
    assert resume(tmp_path) == [tmp_path / "2/best.safetensors"]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminal hangs up here")
@pytest.mark.parametrize("ignored", [False, True])
def test_under_nohup_training_goes_on(ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with asked_to_stop() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert asked() is not ignored
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, TWO_GPUS])])
def test_two_processes_are_one_with_the_doubled_batch(device: str, data: Path, tmp_path: Path) -> None:
    arguments = [
        "train", "--data", data, *SMALL, "--device", device,
        "--stage", "1a,2", "--epochs", 2, "--dropout", 0, "--limit-clips", 4,
        "--no-augment", "--optimizer", "adam", "--lr", "1e-4", "--precision", "fp32", "--deterministic",
        "--unfreeze", "none",  # batch norm sees half a batch
    ]  # fmt: skip
    assert run(*arguments, "--batch-size", 2, "--out", tmp_path / "one", OMP_NUM_THREADS="1").returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    torchrun = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        f"--master-port={port}",
        "-m",
        "avseg_cli",
    ]
    command = [
        sys.executable,
        *torchrun,
        *map(str, arguments),
        "--batch-size",
        "1",
        "--out",
        str(tmp_path / "two"),
    ]
    both = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=240
    )
    assert both.returncode == 0, both.stderr
    for stage in ("1a", "2"):
        one, two = (load_file(tmp_path / out / stage / "last.safetensors") for out in ("one", "two"))
        for name in one:
            wanted, got = one[name], two[name]
            if name.endswith("in_proj_bias"):  # the keys' third cancels in the softmax: Adam steps on rounding there
                wanted, got = (torch.cat([x.chunk(3)[0], x.chunk(3)[2]]) for x in (wanted, got))
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=2e-6, msg=f"{stage} {name}")


def test_each_process_opens_its_own_gpu_and_no_other(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    class Stop(Exception):
        pass

    def first_tensor(*size: int, device: torch.device) -> None:
        opened.append(f"tensor on {device}")
        raise Stop

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: opened.append(f"set to {number}"))
    monkeypatch.setattr(torch, "empty", first_tensor)
    for name, rank, wanted in (
        ("auto", "1", ["set to 1", "tensor on cuda"]), ("cuda:0", "1", ["tensor on cuda:0"]), ("cpu", "1", []),
    ):  # fmt: skip
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(Stop):
            train(options(data, tmp_path, "1a", device=name))
        assert [line for line in opened if "cpu" not in line] == wanted
        opened.clear()
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(DeviceError, match="process 3 of this machine finds 2 GPUs: start as many"):
        train(options(data, tmp_path, "1a", device="auto"))
    assert [str(local_device(torch.device(name))) for name in ("cuda", "cuda:1", "cpu")] == ["cuda:2", "cuda:1", "cpu"]


def test_accumulated_batches_are_one_large_batch(data: Path, tmp_path: Path) -> None:
    common = {
        "epochs": 1,
        "limit_clips": 4,
        "dropout": 0.0,
        "cache": str(tmp_path / "cache"),
        "optimizer": "adam",
        "precision": "fp32",
    }
    train(options(data, tmp_path / "large", "1a", batch_size=4, **common))
    train(options(data, tmp_path / "parts", "1a", batch_size=1, accumulate=4, **common))
    large, parts = (load_file(tmp_path / out / "1a/last.safetensors") for out in ("large", "parts"))
    for name in large:
        torch.testing.assert_close(large[name], parts[name], rtol=1e-3, atol=2e-5, msg=name)


def test_patience_stops_a_run_that_no_longer_improves(data: Path, tmp_path: Path) -> None:
    train(options(data, tmp_path, "1a", epochs=50, patience=2, learning_rate=1e-30, limit_clips=2))
    records = (tmp_path / "1a/metrics.jsonl").read_text().splitlines()
    assert len(records) == 3


def test_a_loss_that_is_not_finite_stops_with_the_clips_name(data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(LOSSES, "bce+iou", lambda logits, truth: logits.sum((1, 2)) * float("nan"))
    with pytest.raises(AvsegError, match="not finite on train"):
        train(options(data, tmp_path / "run", "1a", epochs=1, limit_clips=2))
    assert not (tmp_path / "run/1a/done.json").exists()


def test_a_run_is_not_started_over(data: Path, tmp_path: Path) -> None:
    train(options(data, tmp_path, "1a", epochs=1, limit_clips=1))
    with pytest.raises(OutputError, match=r"already started; continue it with `avseg train --resume"):
        train(options(data, tmp_path, "1a", epochs=1, limit_clips=1))


def test_a_run_stopped_before_its_first_step_goes_on(data: Path, tmp_path: Path) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(AvsegModel, "embed_frames", stopped)
        train(options(data, tmp_path / "run", "1a", epochs=1, limit_clips=1, cache=str(tmp_path / "cache")))
    assert resume(tmp_path / "run") == [tmp_path / "run/1a/best.safetensors"]


def test_a_stage_started_anew_logs_its_own_epochs_alone(data: Path, tmp_path: Path) -> None:
    train(options(data, tmp_path, "1a", epochs=2, limit_clips=1))
    (tmp_path / "1a/done.json").unlink()  # its resume state is gone with it
    resume(tmp_path)
    records = StageFolder(tmp_path / "1a").records()
    assert [record["epoch"] for record in records] == [1, 2]


def test_a_stage_goes_on_with_the_command_that_started_it(data: Path, tmp_path: Path) -> None:
    """Not with one before it that listed it too: its folder was removed, and it was started anew otherwise."""
    whole = options(data, tmp_path, "1a", "2", epochs=1, limit_clips=1)
    train(whole)
    shutil.rmtree(tmp_path / "2")
    begin(replace(whole, stages=("2",), epochs=2))
    resume(tmp_path)
    assert len(StageFolder(tmp_path / "2").records()) == 2


def begin(options: TrainOptions) -> None:
    """Its first stage begins, and is stopped before the first step."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("avseg_cli.training.train.fit", stopped)
        train(options)


def test_a_run_goes_on_by_the_recipe_it_began_with(data: Path, tmp_path: Path, monkeypatch) -> None:
    """Also the stages that had not begun, whatever the defaults of the avseg that goes on."""
    begin(options(data, tmp_path, "1a", "2", limit_clips=1, cache=str(tmp_path / "cache")))
    began = {stage: default_recipe("tiny", stage) for stage in ("1a", "2")}
    other = replace(began["1a"], epochs=77, learning_rate=0.7)
    monkeypatch.setattr("avseg_cli.training.train_options.default_recipe", lambda *_: other)
    (left,) = unfinished(tmp_path)
    assert {stage: left.recipe(stage) for stage in left.stages} == began
    config = tmp_path / "1a/config.json"
    older = {name: value for name, value in json.loads(config.read_text()).items() if name != "recipes"}
    config.write_text(json.dumps(older))
    (left,) = unfinished(tmp_path)
    assert left.recipe("1a") == began["1a"], "an older run says that of the stage alone"
    config.write_text(json.dumps({**older, "recipe": {**older["recipe"], "epochs": "many"}}))
    with pytest.raises(DataError, match=r"config\.json: damaged or edited \(epochs is 'many'"):
        unfinished(tmp_path)


def test_a_dry_run_finds_parts_that_do_not_fit_and_a_run_that_is_busy(data: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "wide.safetensors", AvsegModel(preset("tiny", image_size=64, adapter_dim=8)))
    asked = options(data, tmp_path / "run", "1a", "2", limit_clips=1)
    joined = replace(asked, init_adapters=str(tmp_path / "wide.safetensors"))
    for begin_by in (plan, train):
        with pytest.raises(InputError, match="image_encoder.adapters.* this model needs"):
            begin_by(joined)
    begin(asked)
    (tmp_path / "run/1a/resume.safetensors").write_bytes(b"nothing")
    for go_on in (plan_resume, resume):
        with pytest.raises(DataError, match=r"resume\.safetensors: damaged"):
            go_on(tmp_path / "run")
    (tmp_path / "run/1a/resume.safetensors").unlink()
    with StageFolder(tmp_path / "run/1a").alone(Sharing()), pytest.raises(OutputError, match="another process is"):
        plan_resume(tmp_path / "run")


def test_what_was_pretrained_here_comes_before_another_runs(data: Path, tmp_path: Path) -> None:
    for run, stage in (("other", "pretrain-sound"), ("other", "pretrain-image"), ("run", "pretrain-image")):
        (tmp_path / run / stage).mkdir(parents=True)
        model = AvsegModel(preset("tiny", image_size=64, fusion_depth=1))
        save_checkpoint(tmp_path / run / stage / "best.safetensors", model)
    (tmp_path / "run/pretrain-image/config.json").write_text("{}")
    asked = options(data, tmp_path / "run", "2", pretrained=str(tmp_path / "other"))
    _, origin = initial_model("2", asked)
    assert origin["pretrain-sound"] == str(tmp_path / "other/pretrain-sound/best.safetensors")
    assert origin["pretrain-image"] == str(tmp_path / "run/pretrain-image/best.safetensors")


@pytest.mark.parametrize("between", ["1b", "pretrain-image"])
def test_what_a_stage_joins_is_ended_before_it_whoever_began_it(between: str, data: Path, tmp_path: Path) -> None:
    first = "1a" if between == "1b" else "pretrain-sound"
    begin(options(data, tmp_path, "2", first, limit_clips=1))
    begin(options(data, tmp_path, between, limit_clips=1, epochs=3))
    assert [left.stages for left in unfinished(tmp_path)] == [(first,), (between,), ("2",)]


def test_s4_learns_from_first_frames(tmp_path: Path) -> None:
    root = make(tmp_path / "data", "s4", {"train": 2, "val": 1})
    train(options(root, tmp_path / "run", "1a", subset="s4", epochs=1))
    assert (tmp_path / "run/1a/done.json").is_file()
    assert read_frames(read_clips(root, find_subset("s4"), "train")[0]).shape[0] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "3"], "no stage named '3'"),
        (["--unfreeze", "all"], "knows image and sound, not all"),
        (["--lr", "-1"], "learning_rate -1 is out of range; give a value between 0"),
        (["--optimizer", "sgd"], "optimizer 'sgd' must be one of"),
        (["--subset", "ms4"], "no subset named 'ms4'"),
        (["--init", "nowhere.safetensors"], "nowhere.safetensors: no such checkpoint file"),
    ],
    ids=str,
)
def test_wrong_options_are_explained(arguments: list[str], message: str, data: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "--data", str(data), "--out", str(tmp_path / "x"), *SMALL, *arguments])
    assert isinstance(result.exception, AvsegError) and message in str(result.exception)


def test_resume_needs_a_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "--resume", str(tmp_path)])
    assert isinstance(result.exception, OutputError) and "not the folder of a training run" in str(result.exception)


def test_each_process_draws_its_own_dropout_and_the_same_again_after_a_resume() -> None:
    drawn = {step_seed(seed, rank, step) for seed in (0, 1) for rank in range(8) for step in range(100)}
    assert len(drawn) == 2 * 8 * 100 and step_seed(3, 1, 7) == step_seed(3, 1, 7)
    assert 0 <= step_seed(2**32 - 1, 1023, 10**9) < 2**63


def test_positions_and_sound_stay_in_float32_when_the_rest_is_bf16() -> None:
    model = AvsegModel(preset("tiny")).eval()
    log_mel = torch.randn(2, 1, 96, 64)
    embeddings = torch.randn(1, 2, model.config.out_chans, model.config.grid, model.config.grid)
    with torch.no_grad():
        plain = (
            model.embed_sound(log_mel),
            model.positions(8),
            model.fusion_inputs(embeddings, torch.rand(1, 2, 128))[1],
        )
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model.embed_sound(log_mel), model.positions(8), model.audio_embed(log_mel.flatten()[:128])
    assert mixed[2].dtype == torch.bfloat16, "autocast is at work"
    assert all(torch.equal(one, other) for one, other in zip(plain[:2], mixed[:2], strict=True))


def test_a_terminal_that_is_gone_keeps_no_state_from_being_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(line: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(loop, "say", gone)
    loop._tell({"epoch": 1, "loss": 0.5}, 2, True)


class Listening:
    """A task of one weight that notes what each step's dropout would be drawn from."""

    skips_parameters = False

    def __init__(self) -> None:
        self.module, self.heard = nn.Linear(1, 1), []

    def batch_count(self) -> int:
        return 9

    def loss(self, module: nn.Module, samples: list) -> torch.Tensor:
        self.heard.append(torch.initial_seed())
        return module(torch.ones(1, 1))[0]


def test_a_process_resumes_with_its_own_dropout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state on disk is the first process's, its random state included; the second takes it up all the same."""
    monkeypatch.setattr(loop, "DistributedDataParallel", lambda module, **_: module)

    def trainer(rank: int) -> loop.Trainer:
        task, setup = Listening(), loop.Setup(Recipe(epochs=1), seed=3, sharing=Sharing(rank, 2))
        return loop.Trainer(task, dict(task.module.named_parameters()), setup, StageFolder(tmp_path))

    first, second, resumed = trainer(0), trainer(1), trainer(1)
    for one in (first, second):
        one.step([[]])
    resumed.restore(*first.state())
    for one in (first, second, resumed):
        one.step([[]])
    assert resumed.task.heard == second.task.heard[1:]
    assert len({*first.task.heard, *second.task.heard}) == 4
