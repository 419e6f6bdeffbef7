"""What all commands share: configuration files, environment variables, versions, completion, interruptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from avseg_cli.cli import application, main
from avseg_cli.cli.config_file import usual_files, variables

ROOT = Path(__file__).parents[1]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict:
    """The options ``avseg segment`` would have started with, by name; filled when it is run."""
    options: dict = {}

    def command() -> TyperGroup:
        made = application()
        for names in (("segment",), ("weights", "download")):
            found = made
            for name in names:
                found = found.commands[name]
            found.callback = options.update if len(names) == 1 else lambda **given: options.update(download=given)
        return made

    monkeypatch.setattr("avseg_cli.cli.application", command)
    return options


@pytest.fixture
def avseg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Runs the command line in an empty folder, where ``./avseg.toml`` is looked for; gives the exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVSEG_CONFIG")
    monkeypatch.setattr("avseg_cli.cli.config_file.user_file", lambda: tmp_path / "home.toml")

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["avseg", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            return end.code or 0
        return 0

    return run


def test_flag_before_environment_before_files_before_default(
    avseg, seen: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home.toml").write_text('[segment]\nfps = 2\nstride = 2\nthreshold = 0.2\ndevice = "cpu"\n')
    (tmp_path / "avseg.toml").write_text("[segment]\nfps = 3\nstride = 3\nthreshold = 0.3\n")
    monkeypatch.setenv("AVSEG_SEGMENT_FPS", "4")
    monkeypatch.setenv("AVSEG_SEGMENT_STRIDE", "4")
    assert avseg("segment", "x.mp4", "--fps", 5) == 0
    assert [seen[name] for name in ("fps", "stride", "threshold", "device", "dim")] == [5, 4, 0.3, "cpu", 0.3]
    assert [file.name for file in usual_files()] == ["avseg.toml", "home.toml"]


def test_names_are_those_of_the_options(avseg, seen: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "avseg.toml").write_text(
        '[segment]\nformat = ["masks", "json"]\nbatch-size = 2\naudio_track = 3\ncontour = false\njson = true\n'
        '[weights.download]\noffline = true\nfrom = "shelf"\n'
    )
    monkeypatch.setenv("AVSEG_SEGMENT_OVERWRITE", "1")
    assert avseg("segment", "x.mp4") == 0
    assert (seen["formats"], seen["batch_size"], seen["audio_track"]) == ("masks,json", 2, 3)
    assert (seen["contour"], seen["as_json"], seen["overwrite"], seen["quiet"]) == (False, True, True, False)
    assert avseg("weights", "download", "sam_vit_b") == 0
    assert seen["download"]["offline"] is True and seen["download"]["folder"] == Path("shelf")


def test_an_option_may_be_called_as_a_command_below_it_is(avseg, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    (tmp_path / "home.toml").write_text('[synth]\nsounds = "recordings"\n')
    (tmp_path / "avseg.toml").write_text('[synth.sounds]\nout = "gathered"\n')
    (tmp_path / "gathered").mkdir()
    assert avseg("synth", "sounds", "--dry-run") == 5
    assert "gathered already exists" in capfd.readouterr().err
    (tmp_path / "recordings").write_text("no folder")
    assert avseg("synth", "--objects", tmp_path, "--backgrounds", tmp_path, "--out", "new", "--dry-run") != 0
    assert "recordings" in capfd.readouterr().err


def test_a_file_by_name_stands_alone(avseg, seen: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "avseg.toml").write_text("[segment]\nfps = 3\nstride = 3\n")
    (tmp_path / "other.toml").write_text("[segment]\nfps = 7\n")
    assert avseg("--config", "other.toml", "segment", "x.mp4") == 0
    assert (seen["fps"], seen["stride"]) == (7, 2)
    monkeypatch.setenv("AVSEG_CONFIG", os.devnull)
    assert avseg("segment", "x.mp4") == 0
    assert (seen["fps"], seen["stride"]) == ("auto", 2)


WRONG = {
    "option": ("[segment]\nfsp = 2\n", "avseg.toml: [segment] takes no key 'fsp'; the nearest name it knows is 'fps'"),
    "command": ("[segmnt]\nfps = 2\n", "the top level takes no table 'segmnt'; the nearest name it knows is 'segment'"),
    "below": ("[weights.downlod]\nx = 1\n", "[weights] takes no table 'downlod'; the nearest name it knows is 'downl"),
    "table": ("[segment.fps]\nx = 1\n", "[segment] takes no table 'fps'"),
    "key": ("segment = 1\n", "the top level takes no key 'segment'"),
    "argument": ('[segment]\ninputs = "x"\n', "[segment] takes no key 'inputs'"),
    "itself": ('config = "x"\n', "the top level takes no key 'config'"),
    "value": ('[segment]\nfps = "fast"\n', "avseg.toml: the value of 'fps': "),
    "range": ("[segment]\nopacity = 2\n", "avseg.toml: the value of 'opacity': "),
    "meaning": ('[segment]\nformat = "gif"\n', "--format gif"),
    "toml": ("x = [\n", "avseg.toml: not valid TOML"),
    "bytes": (b"\xff\xfe\x00", "avseg.toml: not valid TOML"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_one_sentence(avseg, tmp_path: Path, capfd: pytest.CaptureFixture, case: str) -> None:
    text, message = WRONG[case]
    (tmp_path / "avseg.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "x.mp4").touch()
    assert avseg("segment", "x.mp4") == 2
    err = capfd.readouterr().err
    assert err.startswith("avseg: ") and message in err and err.count("\n") == 1, err


def test_a_missing_file_is_one_sentence(avseg, capfd: pytest.CaptureFixture) -> None:
    assert avseg("--config", "none.toml", "segment", "x.mp4") == 2
    assert capfd.readouterr().err == "avseg: none.toml: the configuration cannot be read (No such file or directory)\n"


def test_a_wrong_variable_is_named(avseg, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("AVSEG_SEGMENT_FPS", "fast")
    assert avseg("segment", "x.mp4") == 2
    assert capfd.readouterr().err == "avseg: AVSEG_SEGMENT_FPS: 'fast' is not a number, nor auto\n"


def test_every_option_has_its_variable() -> None:
    named = {(command, option): variable for command, option, variable in variables(application())}
    assert named["segment", "--batch-size"] == "AVSEG_SEGMENT_BATCH_SIZE"
    assert named["segment", "--json"] == "AVSEG_SEGMENT_JSON"
    assert named["weights download", "--from"] == "AVSEG_WEIGHTS_DOWNLOAD_FROM"
    assert named["synth fetch", "--debs"] == "AVSEG_SYNTH_FETCH_DEBS"
    assert len(set(named.values())) == len(named)
    assert "AVSEG_CACHE" not in named.values(), "it names the cache folder"


def test_usage_errors_look_as_typer_makes_them(avseg, capfd: pytest.CaptureFixture) -> None:
    assert avseg("segment", "--nonsense") == 2
    assert avseg("segment") == 2
    assert avseg("sgment") == 2
    err = capfd.readouterr().err
    assert err.count("Usage: avseg") == 3 and "No such option: --nonsense" in err and "Missing argument" in err


def test_version_names_libraries_and_model_without_loading_them() -> None:
    code = "import sys; sys.argv = ['avseg', '--version']\nfrom avseg_cli.cli import main\ntry: main()\n"
    code += "except SystemExit: assert not {'torch', 'av', 'numpy'} & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert ran.returncode == 0, ran.stderr
    first, libraries, model = ran.stdout.splitlines()
    assert first.startswith("avseg 0.") and "torch " in libraries and "av " in libraries
    assert model.startswith("model: default is tiny, backbone tiny, SHA-256 ")


@pytest.mark.parametrize("command", [("segment", "x.mp4"), ("weights", "list"), ("prepare",), ("bench",)])
@pytest.mark.parametrize("said", ["", "stopped; more of it later"])
def test_ctrl_c_is_one_sentence_everywhere(
    avseg, command: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    def interrupted(self: object, ctx: typer.Context) -> None:
        raise KeyboardInterrupt(said) if said else KeyboardInterrupt

    monkeypatch.setattr("typer.core.TyperCommand.invoke", interrupted)
    assert avseg(*command) == 130
    assert capfd.readouterr().err == f"avseg: {said or 'stopped; nothing half-written was left behind'}\n"


def test_sigterm_is_ctrl_c_and_children_do_not_inherit_it(avseg, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def killed(self: object, ctx: typer.Context) -> None:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("typer.core.TyperCommand.invoke", killed)
    assert avseg("weights", "list") == 130
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, avseg) -> Callable[[str], list[str]]:
    """What bash offers after the words typed so far."""

    def complete(typed: str) -> list[str]:
        monkeypatch.setenv("_AVSEG_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(len(typed.split(" ")) - 1))
        assert avseg() == 0
        return capfd.readouterr().out.split()

    return complete


OFFERS = {
    "avseg segm": ["segment"],
    "avseg segment --format cut": ["cutout"],
    "avseg segment --format overlay,mas": ["overlay,masks"],
    "avseg segment --device c": ["cpu", "cuda", "cuda:0"],
    "avseg train --device a": ["auto"],
    "avseg segment --checkpoint d": ["default"],
    "avseg segment --checkpoint av": ["avseg-small"],
    "avseg evaluate --checkpoint mo": ["mo.safetensors", "models/"],
    "avseg evaluate --checkpoint models/": ["models/one.safetensors"],
    "avseg weights download sam_vit_": ["sam_vit_h", "sam_vit_l", "sam_vit_b"],
    "avseg weights verify f": ["faces"],
    "avseg segment --encoder libx": ["libx264", "libx265"],
    "avseg segment x.mp": [],
}


@pytest.mark.parametrize("typed", OFFERS)
def test_the_shell_completes_commands_and_values(offered, tmp_path: Path, typed: str) -> None:
    (tmp_path / "models").mkdir()
    for name in ("mo.safetensors", "mo.txt", "models/one.safetensors", "models/.hidden.safetensors"):
        (tmp_path / name).touch()
    (tmp_path / "avseg.toml").write_text("not = [")  # no place to complain about it
    assert offered(typed) == OFFERS[typed]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_the_shell(avseg, shell: str, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setenv("_AVSEG_COMPLETE", f"source_{shell}")
    assert avseg() == 0
    assert "_AVSEG_COMPLETE" in capfd.readouterr().out


def test_the_documented_configuration_is_one(avseg, seen: dict, tmp_path: Path) -> None:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    (tmp_path / "avseg.toml").write_text(text.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    assert avseg("segment", "x.mp4") == 0
    assert (seen["formats"], seen["fps"], seen["checkpoint"]) == ("overlay,json", 2, "runs/ms3/2/best.safetensors")
