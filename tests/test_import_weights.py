"""Checkpoints of other code: imported through the command line, they give the other code's logits."""

from __future__ import annotations

import json
import shutil
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import Ran
from published import published_model, relative_error, shake
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torchvggish import torchvggish as their_vggish
from typer.testing import CliRunner
from weights_helpers import manifest_entry, run_weights, sha256, use_weights

from avseg_cli.base.errors import CheckpointError
from avseg_cli.bench.reference import ReferenceModel
from avseg_cli.checkpoints.checkpoint import load_checkpoint
from avseg_cli.checkpoints.import_weights import infer_config
from avseg_cli.checkpoints.names import rename
from avseg_cli.checkpoints.public_weights import load_public_weights, public_files, starting_weights
from avseg_cli.cli import app
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import BACKBONES, preset
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.empty import empty_model
from avseg_cli.model.transforms import upsample_logits

SMALL = ModelConfig(
    backbone="custom", image_size=96, embed_dim=48, depth=4, num_heads=4, window_size=3,
    global_blocks=(1, 3), out_chans=64, decoder_mlp_dim=96, adapter_dim=40, fusion_depth=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def sound_encoder() -> nn.Module:
    """VGGish as published, with weights whose output differs from sound to sound."""
    torch.manual_seed(3)
    vggish = their_vggish.VGG(their_vggish.make_layers(), postprocess=False).eval()
    with torch.no_grad():
        for name, parameter in vggish.named_parameters():
            parameter.mul_(2.5 if name.endswith("weight") else 0.1)
    return vggish


@pytest.fixture(scope="module")
def vggish_cache(sound_encoder: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder with a VGGish file in PyTorch's old format, as the published one is."""
    folder = tmp_path_factory.mktemp("cache")
    torch.save(sound_encoder.state_dict(), folder / "vggish.pth", _use_new_zipfile_serialization=False)
    yield folder
    shutil.rmtree(folder)  # 290 MB


@pytest.fixture(scope="module")
def vggish_entry(vggish_cache: Path) -> dict:
    return manifest_entry("vggish", vggish_cache / "vggish.pth")


@pytest.fixture
def cache(vggish_cache: Path, vggish_entry: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_weights(monkeypatch, tmp_path, [vggish_entry], vggish_cache)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No public file in the cache."""
    return use_weights(monkeypatch, tmp_path, [manifest_entry("vggish", b"absent")])


@pytest.fixture
def importing(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    def run(*args: object) -> Ran:
        return run_weights(capsys, monkeypatch, "import", *args)

    return run


def reference(config: ModelConfig = SMALL) -> ReferenceModel:
    torch.manual_seed(1)
    return published_model(config)


def sam_part(model: nn.Module) -> dict[str, torch.Tensor]:
    """What SAM's own file would hold of the model."""
    parts = ("image_encoder.", "mask_decoder.", "pe_layer.")
    return {
        name.replace("pe_layer", "prompt_encoder.pe_layer"): tensor
        for name, tensor in model.state_dict().items()
        if name.startswith(parts) and "prompt_generator" not in name
    }


def save(model: nn.Module, path: Path) -> Path:
    torch.save(model.state_dict(), path)
    return path


def assert_same_model(got: ModelConfig, wanted: ModelConfig) -> None:
    """Equal but for what describes parts that are not there."""
    if wanted.fusion == "none":
        wanted = replace(wanted, fusion_depth=got.fusion_depth)
    if not wanted.adapters:
        wanted = replace(wanted, adapter_dim=got.adapter_dim)
    assert got == wanted


# --- the imported model is the other code's model ----------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{}, {"fusion": "none"}, {"adapters": False}, {"fusion_depth": 5, "window_size": 4, "num_heads": 6}],
    ids=["SAM_STBAVA", "without fusion", "no adapters", "other dimensions"],
)
@torch.no_grad()
def test_imported_logits_equal_the_original(
    changes: dict, cache: Path, sound_encoder: nn.Module, importing, tmp_path: Path
) -> None:
    theirs = reference(replace(SMALL, **changes))
    file = save(theirs, tmp_path / "theirs.pth")
    ran = importing(file, "-o", tmp_path / "ours.safetensors")
    assert ran.code == 0 and ran.out == ""
    ours, info = load_checkpoint(tmp_path / "ours.safetensors")
    assert_same_model(ours.config, replace(SMALL, **changes))
    frames, log_mel = torch.randn(3, 3, 96, 96), torch.randn(3, 1, 96, 64) * 2 - 2
    sound = sound_encoder(log_mel)
    expected = theirs(frames, sound, (70, 90))
    assert relative_error(theirs(frames, sound.roll(1, 0), (70, 90)), expected) > 1e-2  # it listens
    got = upsample_logits(ours(frames, log_mel), 96, (70, 90))
    error = relative_error(got, expected)
    print(f"relative error of the imported model's logits: {error:.1e}")
    assert error < 1e-4
    source = {"code": "SAM_STBAVA", "file": "theirs.pth", "sha256": sha256(file.read_bytes())}
    assert info.training["imported"] == source


@torch.no_grad()
def test_a_checkpoint_is_imported_for_smaller_inputs(cache: Path, sound_encoder, importing, tmp_path: Path) -> None:
    """Its configuration carries the size; the encoder interpolates its positions as segment_anything would."""
    theirs = reference()
    assert importing(save(theirs, tmp_path / "a.pth"), "--image-size", 64).code == 0
    ours, info = load_checkpoint(tmp_path / "a.safetensors")
    assert (info.config.image_size, info.config.backbone) == (64, "custom")
    positions = theirs.image_encoder.pos_embed
    small = F.interpolate(positions.permute(0, 3, 1, 2), (4, 4), mode="bilinear").permute(0, 2, 3, 1)
    assert torch.equal(ours.image_encoder.pos_embed, small)
    assert (
        len(ours.image_encoder.blocks[1].attn.rel_pos_h) == 7 and len(ours.image_encoder.blocks[0].attn.rel_pos_h) == 5
    )
    assert ours(torch.randn(2, 3, 64, 64), torch.randn(2, 1, 96, 64)).shape == (2, 16, 16)
    refused_size = importing(tmp_path / "a.pth", "--image-size", 50, "--overwrite")
    assert refused_size.code != 0 and "image_size 50 is not a multiple of patch_size 16" in refused_size.err


class Sama(nn.Module):
    """SAMA-AVS word for word, with the names its published code saves: adapters hear, the decoder is not prompted."""

    def __init__(self, config: ModelConfig, sound_encoder: nn.Module) -> None:
        super().__init__()
        whole = published_model(replace(config, fusion="none"))
        self.config, self.encode = config, whole.encode
        self.image_encoder, self.mask_decoder, self.pe_layer = whole.image_encoder, whole.mask_decoder, whole.pe_layer
        self.no_mask_embed = nn.Embedding(1, config.out_chans)
        self.audio_encoder = nn.Module()
        self.audio_encoder.audio_backbone = sound_encoder

    def forward(self, frames: torch.Tensor, log_mel: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        sound = self.audio_encoder.audio_backbone(log_mel)
        side, grid = self.config.image_size, self.config.grid
        masks = []
        for frame, heard in zip(frames.split(1), sound.split(1), strict=True):
            low, _ = self.mask_decoder(
                image_embeddings=self.encode(frame, heard),
                image_pe=self.pe_layer((grid, grid))[None],
                sparse_prompt_embeddings=torch.empty(1, 0, self.config.out_chans),
                dense_prompt_embeddings=self.no_mask_embed.weight.view(1, -1, 1, 1).expand(1, -1, grid, grid),
                multimask_output=False,
            )
            whole = F.interpolate(low, (side, side), mode="bilinear", align_corners=False)
            masks.append(F.interpolate(whole, size, mode="bilinear", align_corners=False)[:, 0])
        return torch.cat(masks)


@pytest.mark.parametrize("at_hand", [True, False], ids=["VGGish at hand", "VGGish not at hand"])
@torch.no_grad()
def test_sama_avs_is_imported_as_it_is(
    at_hand: bool, vggish_cache: Path, vggish_entry: dict, sound_encoder: nn.Module, importing, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    use_weights(monkeypatch, tmp_path, [vggish_entry], vggish_cache if at_hand else None)
    torch.manual_seed(1)
    theirs = Sama(SMALL, sound_encoder).eval()
    shake(theirs.mask_decoder)
    state = theirs.state_dict()
    assert {name.split(".")[0] for name in state} == {
        "image_encoder", "mask_decoder", "pe_layer", "no_mask_embed", "audio_encoder",
    }  # fmt: skip
    ran = importing(save(theirs, tmp_path / "theirs.pth"), "-o", tmp_path / "ours.safetensors", "--json")
    about = json.loads(ran.out)
    assert about["code"] == "SAMA-AVS" and about["config"]["fusion"] == "sama"
    assert set(about["base"]) == ({"vggish"} if at_hand else set()), "carried where it cannot be compared"
    ours, _ = load_checkpoint(tmp_path / "ours.safetensors")
    frames, log_mel = torch.randn(3, 3, 96, 96), torch.randn(3, 1, 96, 64) * 2 - 2
    expected = theirs(frames, log_mel, (70, 90))
    assert relative_error(theirs(frames, log_mel.roll(1, 0), (70, 90)), expected) > 1e-3  # it listens
    assert relative_error(upsample_logits(ours(frames, log_mel), 96, (70, 90)), expected) < 1e-4
    told = json.loads(run_info(tmp_path / "ours.safetensors"))
    assert told["parameters"]["total"] == sum(parameter.numel() for parameter in ours.parameters())


def run_info(path: Path) -> str:
    result = CliRunner().invoke(app, ["weights", "info", str(path), "--json"], catch_exceptions=False)
    return result.stdout


def test_sama_avs_without_its_adapters_is_refused(bare: Path, sound_encoder: nn.Module, importing, tmp_path) -> None:
    state = {name: t for name, t in Sama(SMALL, sound_encoder).state_dict().items() if "prompt_generator" not in name}
    torch.save(state, tmp_path / "deaf.pth")
    refused(importing, tmp_path / "deaf.pth", "SAM's own weights")


def test_wrapped_and_half_precision_checkpoints(bare: Path, importing, tmp_path: Path) -> None:
    theirs = reference()
    state = theirs.state_dict()
    plain, wrapped, tensors = (tmp_path / name for name in ("plain.pth", "wrapped.pth", "half.safetensors"))
    torch.save(state, plain)
    parallel = OrderedDict((f"module.{name}", tensor) for name, tensor in state.items())
    torch.save({"epoch": 3, "best": 0.5, "optimizer": {"lr": 1e-4}, "state_dict": parallel}, wrapped)
    save_file({name: tensor.half() for name, tensor in state.items()}, tensors)
    for file in (plain, wrapped, tensors):
        assert importing(file, "-o", tmp_path / f"{file.stem}.out").code == 0
    whole = load_file(tmp_path / "plain.out")
    same, half = load_file(tmp_path / "wrapped.out"), load_file(tmp_path / "half.out")
    assert all(torch.equal(whole[name], same[name]) for name in whole)
    assert all(half[name].dtype == torch.float32 for name in half)
    assert all(torch.equal(whole[name].half().float(), half[name]) for name in whole)


def test_an_empty_model_has_the_names_and_shapes_of_a_full_one() -> None:
    narrow = replace(SMALL, vggish_width=0.1)
    for config in (preset("tiny"), narrow, replace(narrow, fusion="none", adapters=False)):
        full, empty = AvsegModel(config).state_dict(), empty_model(config).state_dict()
        assert {name: tensor.shape for name, tensor in full.items()} == {
            name: tensor.shape for name, tensor in empty.items()
        }
        assert all(tensor.is_meta for tensor in empty.values())


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_sam_backbones_are_recognised(name: str) -> None:
    """At full size, on tensors without memory."""
    config = preset(name, fusion_depth=5)
    with torch.device("meta"):
        state = published_model(config).state_dict()
    assert infer_config(rename(state, "meta"), "meta") == config


def test_an_encoder_equal_to_the_public_one_is_left_out(
    importing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a small stand-in for SAM's ViT-B: the imported file names its base instead of carrying it."""
    small = replace(BACKBONES["vit_b"], config=replace(SMALL, backbone="vit_b"))
    monkeypatch.setitem(BACKBONES.declared, "vit_b", small)
    theirs = reference()
    torch.save(sam_part(theirs), tmp_path / "sam_vit_b.pth")
    entries = [manifest_entry("sam_vit_b", tmp_path / "sam_vit_b.pth"), manifest_entry("vggish", b"absent")]
    cache = use_weights(monkeypatch, tmp_path, entries)
    file = save(theirs, tmp_path / "theirs.pth")
    assert importing(file, "-o", tmp_path / "whole.safetensors").code == 0  # no SAM at hand
    cache.mkdir()
    shutil.copy(tmp_path / "sam_vit_b.pth", cache)
    ran = importing(file, "-o", tmp_path / "light.safetensors", "--json")
    assert set(json.loads(ran.out)["base"]) == {"sam_vit_b", "vggish"}
    whole, light = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "light"))
    left_out = {name for name in whole if name.startswith("image_encoder.") and ".adapters." not in name}
    assert left_out and set(whole) - set(light) == left_out
    ran = importing(file, "-o", tmp_path / "small.safetensors", "--json", "--image-size", 64)
    assert set(json.loads(ran.out)["base"]) == {"sam_vit_b", "vggish"}, "SAM's positions, interpolated, are still SAM's"
    with torch.no_grad():
        theirs.image_encoder.pos_embed[0, 0, 0, 0] += 1e-3  # no longer SAM's
    ran = importing(save(theirs, tmp_path / "tuned.pth"), "-o", tmp_path / "tuned.safetensors", "--json")
    assert set(json.loads(ran.out)["base"]) == {"vggish"}


@torch.no_grad()
def test_training_starts_from_the_public_files(
    vggish_cache: Path,
    vggish_entry: dict,
    sound_encoder: nn.Module,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SAM's encoder, decoder and positions, and VGGish: all but adapters, audio linear and fusion."""
    small = replace(BACKBONES["vit_b"], config=replace(SMALL, backbone="vit_b"))
    monkeypatch.setitem(BACKBONES.declared, "vit_b", small)
    theirs = reference()
    torch.save(sam_part(theirs), vggish_cache / "sam_vit_b.pth")
    entries = [manifest_entry("sam_vit_b", vggish_cache / "sam_vit_b.pth"), vggish_entry]
    use_weights(monkeypatch, tmp_path, entries, vggish_cache)
    state = starting_weights(preset("vit_b"))
    model = empty_model(preset("vit_b")).state_dict()
    new = ("image_encoder.adapters.", "audio_embed.", "fusion.")
    assert set(state) == {name for name in model if not name.startswith(new)}
    assert all(state[name].shape == model[name].shape for name in state)
    assert torch.equal(state["vggish.embeddings.4.weight"], sound_encoder.embeddings[4].weight)
    assert torch.equal(state["mask_decoder.mask_tokens.weight"], theirs.mask_decoder.mask_tokens.weight)
    assert torch.equal(
        state["positions.positional_encoding_gaussian_matrix"],
        theirs.pe_layer.positional_encoding_gaussian_matrix,
    )
    for config in (preset("vit_b"), replace(preset("vit_b"), image_size=64)):
        frozen = load_public_weights(config, public_files(config))
        shapes = {name: tensor.shape for name, tensor in empty_model(config).state_dict().items()}
        assert all(tensor.shape == shapes[name] for name, tensor in frozen.items())
    assert torch.equal(frozen["image_encoder.blocks.0.attn.rel_pos_h"], state["image_encoder.blocks.0.attn.rel_pos_h"])


# --- what is refused, in one sentence and without output ---------------------------------------------


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def refused(importing, file: Path, *words: str) -> None:
    out = file.parent / "refused.safetensors"
    before = sorted(file.parent.iterdir())
    ran = importing(file, "-o", out)
    assert ran.code == CheckpointError.exit_code, ran
    assert ran.err.startswith(f"avseg: {file}") and ran.err.count("\n") == 1
    assert all(word in ran.err for word in words), ran.err
    assert sorted(file.parent.iterdir()) == before  # nothing written, nothing left


@pytest.mark.parametrize("old_format", [False, True])
def test_code_in_a_pickle_is_refused_and_not_run(old_format: bool, bare: Path, importing, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    state = {**reference().state_dict(), "extra": Evil(touched)}
    torch.save(state, tmp_path / "evil.pth", _use_new_zipfile_serialization=not old_format)
    refused(importing, tmp_path / "evil.pth", "code")
    assert not touched.exists()


def test_a_compressed_bomb_is_refused(bare: Path, importing, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", b"\0" * (64 << 20))
    refused(importing, tmp_path / "bomb.pth", "compressed")


def test_a_bomb_of_overlapping_entries_is_refused(bare: Path, importing, tmp_path: Path) -> None:
    """Many names in the directory for one stored part: together larger than the file."""
    import zipfile

    file = tmp_path / "overlap.pth"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x/data/0", b"\0" * 100_000)
        first = archive.infolist()[0]
        for k in range(1, 50):
            copy = zipfile.ZipInfo(f"x/data/{k}")
            copy.file_size = copy.compress_size = first.file_size
            copy.CRC, copy.header_offset = first.CRC, first.header_offset
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
        archive._didModify = True
    refused(importing, file, "bomb")


def test_tensors_that_repeat_a_small_storage_are_refused(bare: Path, importing, tmp_path: Path) -> None:
    state = reference().state_dict()
    state["audio_embed_layer.weight"] = torch.zeros(1).expand(1 << 20, 1 << 20)
    torch.save(state, tmp_path / "huge.pth")
    refused(importing, tmp_path / "huge.pth", "more values than the file holds")


def test_an_oversized_safetensors_header_is_refused(bare: Path, importing, tmp_path: Path) -> None:
    file = tmp_path / "header.safetensors"
    file.write_bytes((1 << 40).to_bytes(8, "little") + b"{" + b" " * 100)
    refused(importing, file, "safetensors")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad: float, bare: Path, importing, tmp_path: Path) -> None:
    state = reference().state_dict()
    state["layers.1.norm4.bias"][3] = bad
    torch.save(state, tmp_path / "bad.pth")
    refused(importing, tmp_path / "bad.pth", "fusion.blocks.1.norm_audio_out.bias", "not finite")


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, torch.bool])
def test_wrong_types_are_refused(dtype: torch.dtype, bare: Path, importing, tmp_path: Path) -> None:
    state = reference().state_dict()
    state["layers.0.norm1.weight"] = state["layers.0.norm1.weight"].to(dtype)
    torch.save(state, tmp_path / "bad.pth")
    refused(importing, tmp_path / "bad.pth", "layers.0.norm1.weight", str(dtype))


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_sparse_tensors_are_refused(bare: Path, importing, tmp_path: Path) -> None:
    state = reference().state_dict()
    state["audio_embed_layer.weight"] = torch.eye(64, 128).to_sparse()
    torch.save(state, tmp_path / "sparse.pth")
    refused(importing, tmp_path / "sparse.pth", "audio_embed_layer.weight")


def test_wrong_shapes_missing_and_unexpected_names_are_told(bare: Path, importing, tmp_path: Path) -> None:
    whole = reference().state_dict()

    def saved(state: dict) -> Path:
        torch.save(state, tmp_path / "state.pth")
        return tmp_path / "state.pth"

    misshapen = {**whole, "layers.0.embed_av.lin1.weight": torch.zeros(64, 63)}
    refused(importing, saved(misshapen), "visual_out_mlp.lin1.weight", "(64, 63)", "(64, 64)")
    missing = {k: v for k, v in whole.items() if ".norm4." not in k and ".norm6.bias" not in k}
    words = ("missing fusion.blocks.0.norm_audio_out.bias", "and 6 more; unexpected nothing")
    refused(importing, saved(missing), *words)
    more = {**whole, "layers.0.norm7.weight": torch.zeros(64)}
    refused(importing, saved(more), "unexpected layers.0.norm7")
    gap = {k.replace("layers.1.", "layers.7."): v for k, v in whole.items() if not k.startswith("mask")}
    gap |= {k: v for k, v in whole.items() if k.startswith("mask")}
    refused(importing, saved(gap), "gaps")
    headless = {k: v for k, v in whole.items() if k != "image_encoder.pos_embed"}
    refused(importing, saved(headless), "missing image_encoder.pos_embed")
    flat = {**whole, "image_encoder.pos_embed": torch.zeros(1, 6, 48)}
    refused(importing, saved(flat), "do not describe a model")


def test_files_that_are_not_checkpoints(bare: Path, importing, tmp_path: Path) -> None:
    contents = {"empty": b"", "text": b"hello, I am a text", "zip": b"PK\x03\x04" + b"\0" * 50}
    for name, content in contents.items():
        (tmp_path / f"{name}.pth").write_bytes(content)
        refused(importing, tmp_path / f"{name}.pth")
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    refused(importing, tmp_path / "list.pth", "dictionary")
    torch.save({"weight": 3}, tmp_path / "number.pth")
    refused(importing, tmp_path / "number.pth", "dictionary of tensors")
    refused(importing, tmp_path / "absent.pth", "no such file")


@pytest.mark.parametrize("part", range(1, 10))
def test_truncated_checkpoints_are_refused(part: int, bare: Path, importing, tmp_path: Path) -> None:
    whole = save(reference(), tmp_path / "whole.pth").read_bytes()
    (tmp_path / "whole.pth").write_bytes(whole[: len(whole) * part // 10])
    refused(importing, tmp_path / "whole.pth")


def test_public_bases_are_told_apart(bare: Path, importing, tmp_path: Path, sound_encoder: nn.Module) -> None:
    state = reference().state_dict()
    sam = {k: v for k, v in state.items() if k.split(".")[0].endswith("coder") and "prompt_generator" not in k}
    torch.save(sam, tmp_path / "sam.pth")
    torch.save({"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "vggish.pth")
    refused(importing, tmp_path / "sam.pth", "SAM's own weights", "--from")
    refused(importing, tmp_path / "vggish.pth", "VGGish's weights", "--from")


def test_an_existing_output_is_kept(bare: Path, importing, tmp_path: Path) -> None:
    file = save(reference(), tmp_path / "theirs.pth")
    out = tmp_path / "theirs.safetensors"  # the name it takes by default
    out.write_text("mine")
    ran = importing(file)
    assert ran.code == 5 and "--overwrite" in ran.err and out.read_text() == "mine"
    assert importing(file, "--overwrite").code == 0
    before = out.read_bytes()
    assert importing(out, "--overwrite").code == 5  # itself
    assert out.read_bytes() == before


def test_loading_without_vggish_names_the_command(bare: Path, importing, tmp_path: Path) -> None:
    file = save(reference(), tmp_path / "theirs.pth")
    assert importing(file).code == 0
    with pytest.raises(CheckpointError, match="avseg weights download vggish"):
        load_checkpoint(tmp_path / "theirs.safetensors")
