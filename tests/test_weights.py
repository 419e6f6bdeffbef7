"""``avseg weights``: the commands, the manifest, and a cache that is not trusted unhashed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import Ran
from file_server import FileServer, serving
from torch import nn
from weights_helpers import manifest_entry, run_weights, sha256, use_weights

from avseg_cli.base.errors import CheckpointError
from avseg_cli.checkpoints import manifest as weights
from avseg_cli.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from avseg_cli.checkpoints.manifest import PublicFile, read_manifest, size_text
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset

CONTENT = b"weights" * 1000


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    entries = [manifest_entry("thing", CONTENT), manifest_entry("other", b"other", 8) | {"size": None}]
    return use_weights(monkeypatch, tmp_path, entries)


@pytest.fixture
def avseg(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    def run(*args: object) -> Ran:
        return run_weights(capsys, monkeypatch, *args)

    return run


def put(cache: Path, name: str = "thing", content: bytes = CONTENT) -> Path:
    cache.mkdir(exist_ok=True)
    (cache / f"{name}.pth").write_bytes(content)
    return cache / f"{name}.pth"


# --- find, status, check -----------------------------------------------------------------------------


def test_find_hashes_once_and_remembers(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(cache)
    assert weights.status(weights.public_file("thing")) == "unverified"
    assert weights.find("thing") == path
    assert weights.status(weights.public_file("thing")) == "verified"
    with monkeypatch.context() as patch:
        patch.setattr(weights, "hash_file", lambda *_: pytest.fail("hashed again"))
        assert weights.find("thing") == path
    os.utime(path, ns=(1, 1))  # touched: the record no longer speaks for it
    assert weights.status(weights.public_file("thing")) == "unverified"
    assert weights.find("thing.pth") == path  # by file name too


@pytest.mark.parametrize("content", [b"x" * len(CONTENT), CONTENT[:-1], b""])
def test_find_refuses_what_is_not_pinned(content: bytes, cache: Path) -> None:
    put(cache, content=content)
    for _ in range(2):  # the second time from the record
        with pytest.raises(CheckpointError, match="avseg weights download thing"):
            weights.find("thing")


def test_find_names_the_command(cache: Path) -> None:
    with pytest.raises(CheckpointError, match="get it with `avseg weights download thing`"):
        weights.find("thing")
    with pytest.raises(CheckpointError, match="no public weights are named 'things'; there are thing, other"):
        weights.find("things")


def test_a_first_part_of_a_hash_pins_too(cache: Path) -> None:
    put(cache, "other", b"other")
    assert weights.find("other") and weights.checksum("other") == sha256(b"other")[:8]
    put(cache, "other", b"another")
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        weights.find("other")


def test_a_record_cannot_vouch_for_another_file(cache: Path) -> None:
    path = put(cache, content=b"x" * len(CONTENT))
    facts = path.stat()
    record = {"sha256": sha256(CONTENT), "size": facts.st_size + 1, "mtime_ns": facts.st_mtime_ns}
    for text in (json.dumps(record), "[]", "{", json.dumps(record | {"size": facts.st_size, "sha256": 3})):
        path.with_name("thing.pth.verified.json").write_text(text)
        assert weights.status(weights.public_file("thing")) == "unverified"


def test_a_cache_that_cannot_be_written_to_still_serves(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(cache)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(weights, "record", refuse)
    assert weights.find("thing") == path
    path.write_bytes(b"x" * len(CONTENT))
    with pytest.raises(CheckpointError):
        weights.find("thing")


# --- the manifest ------------------------------------------------------------------------------------


def test_the_manifest_that_ships() -> None:
    entries = read_manifest(Path(weights.__file__).parents[2] / "weights" / "manifest.json")
    assert list(entries) == ["sam_vit_h", "sam_vit_l", "sam_vit_b", "vggish"]
    assert entries["sam_vit_h"].size == 2_564_550_879
    for entry in entries.values():
        assert entry.url == f"{entry.url.rsplit('/', 1)[0]}/{entry.file}"
        assert entry.fully_pinned == entry.name.startswith("sam")
    assert entries["vggish"].sha256 == "10086976" in entries["vggish"].file


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"file": "../evil.pth"}, "plain file name"),
        ({"file": "/etc/passwd"}, "plain file name"),
        ({"file": ".hidden"}, "plain file name"),
        ({"file": "a\\b"}, "plain file name"),
        ({"sha256": "abc"}, "SHA-256"),
        ({"sha256": "Z" * 64}, "SHA-256"),
        ({"size": -1}, "size"),
        ({"size": True}, "size"),
        ({"url": "http://example.invalid/x"}, "not https"),
        ({"url": "file:///etc/passwd"}, "not https"),
        ({"url": 3}, "not text"),
        ({"colour": "red"}, "not a readable manifest"),
    ],
)
def test_a_manifest_cannot_lead_astray(change: dict, word: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"files": [manifest_entry("thing", CONTENT) | change]}))
    with pytest.raises(CheckpointError, match=word):
        read_manifest(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', '{"files": ["x"]}'])
def test_a_broken_manifest(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match="reinstall avseg"):
        read_manifest(tmp_path / "manifest.json")


def test_the_cache_is_the_users_unless_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AVSEG_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "avseg" in weights.cache_dir().parts
    monkeypatch.setenv("AVSEG_CACHE", "~/mine")
    assert weights.cache_dir() == Path.home() / "mine"


def test_size_text() -> None:
    sizes = (0, 999, 1000, 375_042_383, 2_564_550_879)
    assert [size_text(size) for size in sizes] == ["0 bytes", "999 bytes", "1 kB", "375 MB", "2.56 GB"]


# --- list, download, verify --------------------------------------------------------------------------


def test_list_needs_no_torch_and_prints_only_to_stderr(tmp_path: Path) -> None:
    code = "import sys; from avseg_cli.cli import main; sys.argv = ['avseg', 'weights', 'list']\n"
    code += "try: main()\nexcept SystemExit as stop: assert not stop.code\nassert 'torch' not in sys.modules"
    root = str(Path(weights.__file__).parents[2])
    env = {**os.environ, "AVSEG_CACHE": str(tmp_path), "PYTHONPATH": root, "COLUMNS": "200"}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout == "", ran.stderr
    for text in ("sam_vit_h", "2.56 GB", "vggish", "SAM ViT-B", str(tmp_path)):
        assert text in ran.stderr


def test_list_as_json(cache: Path, avseg) -> None:
    put(cache)
    put(cache, "other", b"bad")
    assert avseg("verify", "thing").code == 0
    ran = avseg("list", "--json")
    rows = {row["name"]: row for row in json.loads(ran.out)}
    assert (rows["thing"]["present"], rows["thing"]["state"]) == (True, "verified")
    assert (rows["other"]["present"], rows["other"]["state"]) == (True, "unverified")
    assert rows["thing"]["bytes"] == len(CONTENT) and rows["thing"]["path"] == str(cache / "thing.pth")


def test_download_from_a_mirror(cache: Path, avseg) -> None:
    with serving(FileServer(CONTENT)) as server:
        ran = avseg("download", "thing", "--mirror", server.url, "--insecure", "--json")
    assert ran.code == 0 and json.loads(ran.out)[0]["state"] == "verified"
    assert str(cache / "thing.pth") in ran.err
    assert avseg("download", "thing", "--offline").code == 0  # it is here


def test_mirror_and_offline_by_environment(cache: Path, avseg, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(FileServer(CONTENT)) as server:
        monkeypatch.setenv("AVSEG_MIRROR", server.url)
        monkeypatch.setenv("AVSEG_OFFLINE", "1")
        ran = avseg("download", "thing", "--insecure")
        assert ran.code == 6 and "offline" in ran.err and ran.err.count("\n") == 1 and not server.seen
        monkeypatch.setenv("AVSEG_OFFLINE", "0")
        assert avseg("download", "thing", "--insecure").code == 0


def test_download_all_from_a_folder(cache: Path, avseg, tmp_path: Path) -> None:
    put(tmp_path / "mine")
    put(tmp_path / "mine", "other", b"other")
    assert avseg("download", "all", "--from", tmp_path / "mine").code == 0
    assert weights.find("thing") and weights.find("other")


def test_download_says_what_is_wrong(cache: Path, avseg, tmp_path: Path) -> None:
    for args, code, word in (
        (("things",), 3, "there are thing, other"),
        (("thing", "--from", tmp_path), 6, "has no thing.pth"),
        (("thing", "--mirror", "http://127.0.0.1:9"), 6, "--insecure"),
    ):
        ran = avseg("download", *args)
        assert ran.code == code and word in ran.err and ran.out == "" and ran.err.count("\n") == 1


def test_verify_hashes_again_and_fails_on_damage(cache: Path, avseg) -> None:
    path = put(cache)
    assert avseg("verify").code == 0  # what is missing is not damaged
    facts = path.stat()
    path.write_bytes(CONTENT[:-1] + b"x")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # behind the record's back
    assert weights.status(weights.public_file("thing")) == "verified"
    ran = avseg("verify", "--json")
    assert ran.code == 3 and "thing (damaged)" in ran.err
    states = {row["name"]: row["state"] for row in json.loads(ran.out)}
    assert states == {"thing": "damaged", "other": "missing"}
    assert avseg("verify", "other").code == 3  # asked for by name, it should be there


def test_verify_loads_the_embedded_models(cache: Path, avseg, tmp_path: Path, tiny_checkpoint: Path) -> None:
    embedded = tmp_path / "embedded" / "avseg-small.safetensors"
    whole = tiny_checkpoint.read_bytes()
    embedded.write_bytes(whole)
    ran = avseg("verify", "--json")
    assert ran.code == 0
    assert {row["name"]: row["state"] for row in json.loads(ran.out)}["avseg-small"] == "verified"
    assert [row["name"] for row in json.loads(avseg("verify", "avseg-small", "--json").out)] == ["avseg-small"]
    refused = avseg("download", "avseg-small")
    assert refused.code == 3 and "ships with avseg" in refused.err and "nothing to download" in refused.err
    embedded.write_bytes(whole[:-100])
    ran = avseg("verify")
    assert ran.code == 3 and "avseg-small (damaged); install avseg again" in ran.err


# --- info --------------------------------------------------------------------------------------------


def test_info_tells_what_a_checkpoint_is(cache: Path, avseg, tmp_path: Path, tiny_checkpoint: Path) -> None:
    model, _ = load_checkpoint(tiny_checkpoint)
    path = tmp_path / "trained.safetensors"
    training = {"data": "synthetic", "epochs": 0, "note": "[red]\x1b[2J[/nonsense]"}
    save_checkpoint(path, model, training=training, metrics={"mIoU": 0.25})
    about = json.loads(avseg("info", path, "--json").out)
    assert about["config"] == json.loads(json.dumps(preset("tiny").to_dict()))
    assert about["training"] == training and about["metrics"] == {"mIoU": 0.25}
    counts = about["parameters"]
    assert counts["total"] == sum(parameter.numel() for parameter in model.parameters())
    assert counts["total"] == counts["in_file"] == sum(counts["parts"].values())
    frozen = counts["parts"]["image_encoder"] + counts["parts"]["vggish"]
    assert counts["trainable"] == counts["total"] - frozen
    text = avseg("info", path)
    told = dict(line.split("  ", 1) for line in text.err.splitlines())
    told = {name: value.strip() for name, value in told.items()}
    assert text.out == "" and told["config · backbone"] == "tiny"
    assert (told["training · epochs"], told["metrics · mIoU"], told["base"]) == ("0", "0.25", "none")
    assert told["training · note"] == "[red]?[2J[/nonsense]"  # shown, neither obeyed nor sent to the terminal


def test_info_of_a_checkpoint_on_public_weights(cache: Path, avseg, tmp_path: Path) -> None:
    """A checkpoint on ViT-H: 2.5 GB of encoder stay outside; the paper: under 4 % of SAM is trainable."""
    from avseg_cli.checkpoints.describe import count_parameters

    base = {"sam_vit_h": "0" * 64, "vggish": "0" * 8}
    counts = count_parameters(preset("vit_h", fusion_depth=5), base)
    assert counts["parts"]["image_encoder"] == 637_026_048
    assert counts["parts"]["fusion"] == 5 * 1_056_768
    assert counts["in_file"] == counts["trainable"] < 0.04 * 641_090_608


def test_info_of_other_peoples_files(cache: Path, avseg, tmp_path: Path) -> None:
    layers = nn.ModuleDict({"features": nn.Sequential(nn.Conv2d(1, 4, 3))})
    torch.save(layers.state_dict(), tmp_path / "v.pth")
    about = json.loads(avseg("info", tmp_path / "v.pth", "--json").out)
    assert (about["holds"], about["tensors"], about["values"]) == ("VGGish", 2, 40)
    torch.save({"mask_decoder.iou_token.weight": torch.zeros(1, 256)}, tmp_path / "s.pth")
    assert json.loads(avseg("info", tmp_path / "s.pth", "--json").out)["holds"] == "SAM"


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04nonsense", b"\x80\x02nonsense"])
def test_info_of_what_is_no_checkpoint(content: bytes, cache: Path, avseg, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    ran = avseg("info", path)
    assert ran.code == 3 and str(path) in ran.err and ran.err.count("\n") == 1 and ran.out == ""
    assert avseg("info", tmp_path / "absent").code == 3


def test_a_checkpoint_cannot_name_a_strange_base(cache: Path, tmp_path: Path, tiny_checkpoint: Path) -> None:
    model, _ = load_checkpoint(tiny_checkpoint)
    for base in ({"sam_vit_b": "0" * 64}, {"vggish": "0" * 64}, {"../../etc/passwd": "0"}):
        save_checkpoint(tmp_path / "odd.safetensors", model, base=base)
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "odd.safetensors")


def test_public_file_paths_stay_in_the_cache(cache: Path) -> None:
    entry = PublicFile(**manifest_entry("thing", CONTENT))
    assert entry.path.parent == cache


def test_a_saved_checkpoint_may_be_read_by_whom_new_files_may(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "saved.safetensors", AvsegModel(preset("tiny")))
    (tmp_path / "new").touch()
    assert (tmp_path / "saved.safetensors").stat().st_mode == (tmp_path / "new").stat().st_mode
