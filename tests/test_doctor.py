"""``avseg doctor``: what it finds here, and what it says of a machine on which the tool cannot work."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import run_avseg

from avseg_cli.checkpoints.face_weights import load_faces


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture):
    """Runs ``avseg doctor --json``; gives the exit code, what it found by name, and the messages."""

    def run(*arguments: object) -> tuple[int, dict[str, dict], str]:
        code, out, err = run_avseg(capfd, monkeypatch, "doctor", "--json", *arguments)
        told = json.loads(out)
        assert told["works"] == (code == 0)
        return code, {finding["check"]: finding for finding in told["findings"]}, err

    return run


def test_a_machine_on_which_it_works(doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVSEG_CACHE", str(tmp_path / "cache"))
    code, found, said = doctor("--device", "cpu")
    assert code == 0 and {finding["state"] for finding in found.values()} <= {"ok", "note"}
    assert found["self-test"]["facts"]["masks"] == 10 and found["self-test"]["facts"]["sound"] == "copied"
    assert found["model"]["facts"]["backbone"] == "tiny" and found["device"]["facts"]["chosen"] == "cpu"
    assert found["public weights"]["facts"]["vggish"] == "missing"
    assert found["face detector"]["facts"]["probability"] < 0.5
    assert found["cache folder"]["facts"]["path"] == str(tmp_path / "cache")
    assert found["encoders"]["facts"]["overlay"] == "libx264"
    assert "self-test" in said
    assert {path.name for path in tmp_path.rglob("*")} <= {"cache", "precision.json", "packing.json"}, "trials, if any"


def test_a_machine_on_which_it_does_not(doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("av.codec.codecs_available", set())
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5_000_000))
    monkeypatch.setattr("avseg_cli.checkpoints.face_weights.faces_file", lambda: tmp_path / "faces.safetensors")
    load_faces.cache_clear()
    code, found, said = doctor("--checkpoint", tmp_path / "none.safetensors")
    assert code == 3, "of what failed first"
    assert [name for name, finding in found.items() if finding["state"] == "failed"] == [
        "model",
        "face detector",
        "encoders",
        "self-test",
    ]
    assert "no such checkpoint file" in found["model"]["text"] and "PyAV has none of" in found["encoders"]["text"]
    assert found["cache folder"]["state"] == "note" and "5 MB free" in found["cache folder"]["text"]
    assert said.splitlines()[-1].startswith(
        "avseg: avseg does not work here: model, face detector, encoders, self-test failed"
    )


def test_a_library_of_an_extra_is_not_missed(doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avseg_cli.cli.version.OF_EXTRAS", ("of-an-extra",))
    assert doctor("--device", "cpu")[1]["versions"]["state"] == "ok"
    monkeypatch.setattr("avseg_cli.cli.version.LIBRARIES", ("of-an-extra",))
    assert doctor("--device", "cpu")[1]["versions"]["state"] == "note"


def test_a_device_that_is_not_there(doctor) -> None:
    code, found, _ = doctor("--device", "cuda:99")
    assert code == 4 and found["device"]["state"] == "failed" and "--device cpu" in found["device"]["text"]
