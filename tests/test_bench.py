"""avseg bench: the figures it prints are of what it says, and the two sides agree."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from command_line import run_avseg
from typer.testing import CliRunner

from avseg_cli.base.errors import AvsegError
from avseg_cli.base.operations import count_flops
from avseg_cli.bench import measure
from avseg_cli.bench.parts import build_model
from avseg_cli.bench.printing import HEADINGS
from avseg_cli.bench.reference import Reference
from avseg_cli.bench.run import BenchOptions, check_ready, mask_iou, run_bench
from avseg_cli.checkpoints.checkpoint import save_checkpoint
from avseg_cli.cli import app
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset

FEW = ("--backbone", "tiny", "--repeats", "1", "--threads", "1", "--device", "cpu", "--precision", "fp32")
CPU = torch.device("cpu")
EMBEDDED = str(Path(__file__).parents[1] / "weights/avseg-small.safetensors")  # the default model itself


@pytest.fixture(scope="module")
def report() -> dict:
    arguments = ["bench", *FEW, "--parts", "vggish,encoder,fusion,decoder,clip,masks", "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_the_two_sides_agree(report: dict) -> None:
    assert [row["part"] for row in report["rows"]] == ["vggish", "encoder", "fusion", "decoder", "clip", "masks"]
    for row in report["rows"]:
        assert row["relative_error"] < 1e-4, row["part"]
        assert row["mask_iou"] is None or row["mask_iou"] > 0.999
    assert {row["part"] for row in report["rows"] if row["mask_iou"] is not None} == {"decoder", "clip", "masks"}


def test_a_row_has_every_figure(report: dict) -> None:
    for row in report["rows"]:
        for side in (row["reference"], row["ours"]):
            assert side["seconds"] == min(side["all_seconds"]) > 0
            assert side["peak_bytes"] > 0
            if row["part"] == "masks":  # which is no arithmetic of networks
                assert side["share_of_roofline"] is None
                continue
            assert side["share_of_roofline"] == pytest.approx(
                side["flops"] / side["seconds"] / report["roofline"][side["precision"]]["flops_per_second"]
            )
        assert row["speedup"] == row["reference"]["seconds"] / row["ours"]["seconds"]
    assert all(roofline["copy_bytes_per_second"] > 1e8 for roofline in report["roofline"].values())
    assert report["options"]["truncated"] is None


@pytest.mark.alone
def test_log_mel_of_a_minute_agrees() -> None:
    report = run_bench(BenchOptions(backbone="tiny", parts=("log_mel",), repeats=1, device="cpu", precision="fp32"))
    (row,) = report["rows"]
    assert row["relative_error"] < 1e-3  # two resamplers, which agree on what both let through
    assert row["speedup"] > 1


def test_the_table_goes_to_stdout_whole_and_says_what_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(app, ["bench", *FEW, "--parts", "encoder", "--blocks", "2"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "encoder cut to 2 of 4 blocks (1 of 2 global)" in result.stdout
    assert "measuring" not in result.stdout and "…" not in result.stdout
    assert [name for name in (*HEADINGS, "all blocks") if name not in result.stdout] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"parts": ("encoder", "engine")}, "no component engine"),
        ({"parts": ()}, "no component chosen"),
        ({"checkpoint": "default", "parts": ("train_2",)}, "leave out checkpoint"),
        ({"repeats": 0}, "repeats 0 is out of range; give 1 to 65536"),
        ({"backbone": "tiny", "blocks": 5}, "tiny has 4 blocks; blocks must be 1 to 4"),
        ({"checkpoint": "default", "blocks": 1}, "leave it out with checkpoint"),
        ({"backbone": "small"}, "small: the reference is of SAM's encoder and VGGish.*compare .*vit_h"),
        ({"checkpoint": EMBEDDED}, "avseg-small.* this model has other networks.* time it whole with scaling"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict, said: str) -> None:
    for job in (run_bench, check_ready):
        with pytest.raises(AvsegError, match=said):
            job(BenchOptions(**options))


def test_a_checkpoint_without_blocks_is_refused(tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fusion takes no time, of which the reference's is an infinite multiple."""
    save_checkpoint(tmp_path / "none.safetensors", AvsegModel(preset("tiny", fusion_depth=0)))
    asked = ("bench", "--checkpoint", tmp_path / "none.safetensors", "--parts", "fusion", "--device", "cpu")
    ran = run_avseg(capfd, monkeypatch, *asked)
    assert ran.code == 1 and "this checkpoint has none of its blocks" in ran.err and "inf" not in ran.out


def test_a_checkpoint_can_be_measured(tiny_checkpoint) -> None:
    shared = {"parts": ("clip",), "repeats": 1, "device": "cpu", "precision": "fp32"}
    options = BenchOptions(checkpoint=str(tiny_checkpoint), **shared)
    report = run_bench(options)
    assert report["rows"][0]["mask_iou"] > 0.999


@pytest.fixture(scope="module")
def training_rows() -> dict[str, dict]:
    parts = ("feed", "recompute", "train_1a", "train_2")
    options = BenchOptions(backbone="tiny", parts=parts, clips=2, repeats=1, device="cpu", precision="fp32")
    report = run_bench(options)
    return {row["part"]: row for row in report["rows"]}


def test_training_steps_have_the_same_gradients(training_rows: dict[str, dict]) -> None:
    assert training_rows["feed"]["relative_error"] == 0
    assert training_rows["train_1a"]["relative_error"] < 5e-3  # its embeddings were kept in half precision
    assert training_rows["train_2"]["relative_error"] < 1e-4
    twice, once = (training_rows["recompute"][side] for side in ("reference", "ours"))
    assert training_rows["recompute"]["relative_error"] < 1e-6 and twice["peak_bytes"] < 0.8 * once["peak_bytes"]
    steps = [training_rows[part] for part in ("train_1a", "train_2")]
    assert all(row[side]["peak_bytes"] > 1e6 for row in steps for side in ("reference", "ours"))


@pytest.mark.alone
def test_an_epoch_from_the_cache_encodes_nothing(training_rows: dict[str, dict]) -> None:
    assert training_rows["train_1a"]["encoded_frames"] == (10, 0)
    assert training_rows["train_1a"]["cpu_speedup"] > 1
    assert training_rows["train_2"]["encoded_frames"] is None


def test_where_there_is_no_bf16_its_rows_are_left_out_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avseg_cli.bench.run.has_bf16", lambda device: False)
    arguments = ["bench", *FEW, "--parts", "vggish", "--all-precisions"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "rows in bf16 are left out: this device has no bf16 arithmetic" in result.stdout
    assert result.stdout.count("vggish") == 1


def test_all_precisions_hold_bf16_against_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avseg_cli.bench.run.has_bf16", lambda device: True)
    report = run_bench(BenchOptions(backbone="tiny", parts=("decoder",), repeats=1, device="cpu", all_precisions=True))
    pairs = [(row["reference"]["precision"], row["ours"]["precision"]) for row in report["rows"]]
    assert pairs == [("fp32", "fp32"), ("fp32", "bf16"), ("bf16", "bf16")]
    assert set(report["roofline"]) == {"fp32", "bf16"}
    plain, mixed, half = report["rows"]
    assert plain["relative_error"] < 1e-4 < mixed["relative_error"] < 0.2
    distance = {name: told["relative_error"] for name, told in half["against_fp32"].items()}
    assert 1e-4 < distance["ours"] < 3 * mixed["relative_error"]  # not equal: here its inputs are rounded as well
    assert 1e-4 < distance["reference"] < 0.2
    assert 0.8 < half["against_fp32"]["reference"]["mask_iou"] <= 1


def test_a_cut_encoder_is_scaled_by_its_arithmetic() -> None:
    shared = {"repeats": 1, "device": "cpu", "precision": "fp32"}
    options = BenchOptions(backbone="tiny", blocks=2, parts=("encoder", "fusion", "clip"), **shared)
    encoder, fusion, clip = run_bench(options)["rows"]
    assert "whole_by_arithmetic" not in fusion
    ratio = {side: encoder["whole_by_arithmetic"][side] / encoder[side]["seconds"] for side in ("reference", "ours")}
    assert all(1.1 < value < 2 for value in ratio.values())  # twice the blocks, the same stem and neck
    for side in ("reference", "ours"):
        added = clip["whole_by_arithmetic"][side] - clip[side]["seconds"]
        assert added == pytest.approx(5 * encoder[side]["seconds"] * (ratio[side] - 1))


@pytest.mark.parametrize(("backbone", "tera_macs"), [("vit_b", 0.486), ("vit_l", 1.493), ("vit_h", 2.981)])
def test_arithmetic_is_counted_as_on_paper(backbone: str, tera_macs: float) -> None:
    """The encoder's analytic cost (SAM's, one 1024 px frame); nothing is computed."""
    with torch.device("meta"), torch.inference_mode():
        model = AvsegModel(preset(backbone)).eval().requires_grad_(False)
        frame, sound = torch.empty(1, 3, 1024, 1024), torch.empty(1, 128)
        reference = count_flops(lambda: Reference(model).encode(frame, sound)) / 2e12
        ours = count_flops(lambda: model.embed_frames(frame, sound)) / 2e12
    assert reference == pytest.approx(tera_macs, rel=0.02)
    assert ours < reference  # which also projects the tokens that only fill up windows


def test_folding_st_bava_more_than_halves_its_arithmetic() -> None:
    with torch.device("meta"), torch.inference_mode():
        model = AvsegModel(preset("vit_b")).eval().requires_grad_(False)
        reference = Reference(model)
        clip, sound, positions = torch.empty(5, 256, 64, 64), torch.empty(5, 1, 256), torch.empty(4096, 256)
        plain = count_flops(lambda: reference.fuse(clip, sound)) / 2e9
        pixels = torch.empty(1, 5, 4096, 256)
        folded = count_flops(lambda: model.fusion(pixels, sound.view(1, 5, 256), positions)) / 2e9
    assert plain == pytest.approx(151, rel=0.05)
    assert folded == pytest.approx(60, rel=0.08)


def test_peak_memory_is_what_is_alive_at_once() -> None:
    megabyte = 1 << 20

    def work() -> int:
        for _ in range(3):
            torch.ones(4 * megabyte, dtype=torch.uint8)
        held = [torch.ones(megabyte, dtype=torch.uint8) for _ in range(6)]
        return len(held)

    peak, output = measure.peak_memory(work, CPU)
    assert output == 6
    assert peak == pytest.approx(6 * megabyte, rel=0.01)


def test_iou_sees_a_difference() -> None:
    logits = torch.arange(16.0).view(1, 4, 4)
    assert mask_iou(logits, logits) == 1
    assert mask_iou(logits, -logits) == 0
    other = logits.clone()
    other[0, 3, 3] = 0  # one of the eight pixels above the median
    assert mask_iou(logits, other) == pytest.approx(7 / 8)


def test_a_wrong_weight_shows() -> None:
    """The reference does not share code that could hide a mistake: change one of our tables and they part."""
    model = build_model(replace(preset("tiny"), depth=2, global_blocks=(1,)), seed=0)
    size = model.config.image_size
    frames, log_mel = torch.randn(1, 3, size, size), torch.randn(1, 1, 96, 64)
    reference = Reference(model)
    attention = model.image_encoder.blocks[1].attn
    attention.rel_pos_w = torch.nn.Parameter(torch.zeros_like(attention.rel_pos_w), requires_grad=False)
    with torch.inference_mode():
        sound = model.embed_sound(log_mel)
        theirs, ours = reference.encode(frames, sound), model.embed_frames(frames, sound)
    assert measure.relative_error(theirs, ours) > 1e-3


def test_the_reference_is_measured_compiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler stands in for itself: what is measured is that its function takes the reference's place."""
    handed = []
    monkeypatch.setattr(torch, "compile", lambda work: handed.append(work) or work)
    monkeypatch.setenv("CXX", sys.executable)
    few = BenchOptions(
        backbone="tiny", parts=("decoder", "fusion"), repeats=2, threads=1, device="cpu", precision="fp32",
        compiled_reference=True,
    )  # fmt: skip
    rows = run_bench(few)["rows"]
    assert len(handed) == len(rows) == 2
    for row in rows:
        told = row["compiled_reference"]
        assert len(told["all_seconds"]) == 2 and told["seconds"] == min(told["all_seconds"])
        assert told["compile_seconds"] > 0 and told["speedup"] > 0


@pytest.mark.parametrize("part", ["clip", "decoder"])
def test_torch_takes_the_reference_apart_without_a_fault(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of torch.compile but the code that it would make at the end."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setenv("CXX", sys.executable)
    few = BenchOptions(
        backbone="tiny", blocks=1, parts=(part,), repeats=1, threads=1, device="cpu", precision="fp32",
        compiled_reference=True,
    )  # fmt: skip
    report = run_bench(few)
    assert report["notes"] == [] and report["rows"][0]["compiled_reference"]["seconds"] > 0


def test_without_a_compiler_or_where_it_fails_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    few = BenchOptions(
        backbone="tiny", parts=("decoder",), repeats=1, threads=1, device="cpu", precision="fp32",
        compiled_reference=True,
    )  # fmt: skip
    monkeypatch.setenv("CXX", "no-such-compiler")
    report = run_bench(few)
    assert "no C++ compiler here (no-such-compiler)" in report["notes"][0]
    assert "compiled_reference" not in report["rows"][0]

    def fails(work: object) -> None:
        raise RuntimeError("a reason\nand more")

    monkeypatch.setattr(torch, "compile", fails)
    monkeypatch.setenv("CXX", sys.executable)
    assert run_bench(few)["notes"] == ["decoder: the reference could not be compiled (a reason)"]
