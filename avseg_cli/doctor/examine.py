"""``avseg doctor``: whether everything the tool needs is there, found out by trying it."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import torch
from torch import nn

from avseg_cli.base.errors import AvsegError, CheckpointError, DeviceError, OutputError
from avseg_cli.base.limits import about_memory
from avseg_cli.base.processor import processor_field
from avseg_cli.base.text import counted
from avseg_cli.base.threads import cores
from avseg_cli.base.version import __version__
from avseg_cli.checkpoints.checkpoint import choose_device, find_checkpoint
from avseg_cli.checkpoints.describe import count_parameters
from avseg_cli.checkpoints.face_weights import load_faces
from avseg_cli.checkpoints.manifest import cache_dir, faces_file, manifest, size_text, status
from avseg_cli.checkpoints.precision import PrecisionChoice, automatic, choose_precision, has_bf16
from avseg_cli.media.codecs import H264, PRORES_4444, available
from avseg_cli.media.encoders import QUALITY, library_codec
from avseg_cli.media.sample import FRAME_RATE, make_video
from avseg_cli.media.video import probe
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.inference import PackedLinear
from avseg_cli.segment.on_screen import SURE
from avseg_cli.segment.render import render
from avseg_cli.segment.segment_options import SegmentOptions
from avseg_cli.segment.segmenter import Segmenter

OK, NOTE, FAILED = "ok", "note", "failed"
LITTLE_SPACE = 1 << 30  # bytes free, below which a note is due
CLIP_SECONDS = 10  # of the self-test
CARDS = ("h264_nvenc", "h264_qsv", "h264_amf", "h264_videotoolbox", "h264_v4l2m2m")


@dataclass
class Finding:
    """The outcome of one check. advice: what to do about a note or a failure."""

    check: str
    state: str
    text: str
    advice: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0


def examine(
    checkpoint: str,
    device: str,
    precision: str,
    libraries: dict[str, str | None],
    settings_files: list[Path],
    say: Callable[[AvsegError], str] = str,
) -> Iterator[Finding]:
    """Check everything, one finding after the other; a failure does not keep the others from being tried.

    libraries: name -> installed version; settings_files: the configuration files in use; say:
    how an error is told.
    """
    loaded: list[AvsegModel] = []

    def model() -> Finding:
        loaded.append(Segmenter.load(checkpoint, device, precision).model)
        return _about_model(checkpoint, loaded[0])

    checks: dict[str, Callable[[], Finding]] = {
        "versions": lambda: _versions(libraries),
        "device": lambda: _device(device),
        "precision": lambda: _precision(device, precision),
        "model": model,
        "face detector": lambda: _faces(device),
        "public weights": _public_weights,
        "encoders": _encoders,
        "your ffmpeg": _own_program,
        "cache folder": _cache,
        "temporary folder": _temporary,
        "configuration": lambda: _configuration(settings_files),
        "self-test": lambda: _self_test(checkpoint, loaded),
    }
    for name, check in checks.items():
        yield _tried(name, check, say)


def _tried(name: str, check: Callable[[], Finding], say: Callable[[AvsegError], str]) -> Finding:
    try:
        return check()
    except Exception as error:  # noqa: BLE001  whatever is wrong with this machine is what we are here to tell
        told = about_memory(error) or error
        if isinstance(told, AvsegError):
            return Finding(name, FAILED, say(told), exit_code=told.exit_code)
        return Finding(
            name,
            FAILED,
            f"{type(error).__name__}: {error}",
            "reinstall avseg in a fresh environment",
            exit_code=AvsegError.exit_code,
        )


def _versions(libraries: dict[str, str | None]) -> Finding:
    facts = {"avseg": __version__, "python": platform.python_version(), **libraries, "ffmpeg": _library_ffmpeg()}
    missing = [name for name, version in libraries.items() if version is None]
    text = ", ".join(f"{name} {version or 'missing'}" for name, version in facts.items())
    return Finding(
        "versions",
        NOTE if missing else OK,
        f"{text}, {platform.platform()}",
        f"install {', '.join(missing)}" if missing else "",
        {**facts, "platform": platform.platform()},
    )


def _library_ffmpeg() -> str:
    return str(getattr(av, "ffmpeg_version_info", "of PyAV"))


def _device(wanted: str) -> Finding:
    chosen = choose_device(wanted)
    cards = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    facts = {
        "chosen": str(chosen),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "cuda": cards,
        "mps": torch.backends.mps.is_available(),
        "processor": processor_field("model name") or platform.machine(),
    }
    text = f"{chosen}; {facts['cores']} cores, {facts['threads']} threads; "
    text += f"graphics cards: {', '.join(cards) or 'none that torch can use'}"
    if chosen.type != "cpu":
        return Finding("device", OK, text, facts=facts)
    return Finding("device", OK, text, "the default model is fast on a CPU; SAM's ViT-L and ViT-H want a GPU", facts)


def _precision(device: str, wanted: str) -> Finding:
    target = choose_device(device)
    choice = (
        automatic(target) if wanted == "auto" else PrecisionChoice(choose_precision(wanted, target), "you asked for it")
    )
    chosen = str(choice.dtype).removeprefix("torch.")
    facts = {"chosen": chosen, "why": choice.why, "bf16_in_hardware": has_bf16(target)}
    return Finding("precision", OK, f"{chosen}, because {choice.why}", facts=facts)


def _about_model(checkpoint: str, model: AvsegModel) -> Finding:
    count = count_parameters(model.config, {})["total"]  # as trained: what is loaded is packed
    path = find_checkpoint(checkpoint)
    facts = {"checkpoint": checkpoint, "path": str(path), "backbone": model.config.backbone, "parameters": count}
    return Finding(
        "model",
        OK,
        f"{checkpoint}: {model.config.backbone}, {count / 1e6:.2f} M parameters, every tensor "
        f"loaded and finite ({path}){_packed(model, facts)}",
        facts=facts,
    )


def _packed(model: AvsegModel, facts: dict[str, Any]) -> str:
    """How many of the encoder's linear layers were found faster packed; nothing where it has none to pack."""
    encoder: Any = model.image_encoder
    layers = [layer for name in encoder.packed for layer in encoder.get_submodule(name).modules()]
    packed, plain = (sum(isinstance(layer, kind) for layer in layers) for kind in (PackedLinear, nn.Linear))
    if model.device.type != "cpu" or not packed + plain:
        return ""
    facts |= {"packed_layers": packed, "plain_layers": plain}
    return f"; {packed} of {packed + plain} linear layers of its encoder are packed, those that are faster so here"


def _faces(device: str) -> Finding:
    """Whether what looks for faces where a voice is heard loads, and finds none in a grey picture."""
    chosen = choose_device(device)
    detector, picture = load_faces(str(chosen)), torch.full((240, 320, 3), 128, dtype=torch.uint8, device=chosen)
    with torch.inference_mode():
        if (probability := detector.probability(picture)) >= SURE:
            raise CheckpointError(f"{faces_file()}: finds a face in a grey picture; install avseg again")
    facts = {"path": str(faces_file()), "probability": round(probability, 4)}
    return Finding("face detector", OK, f"every tensor loaded; no face in a grey picture ({faces_file()})", facts=facts)


def _public_weights() -> Finding:
    states = {name: status(entry) for name, entry in manifest().items()}
    text = ", ".join(f"{name} {state}" for name, state in states.items())
    if "damaged" in states.values():
        return Finding("public weights", NOTE, text, "get the damaged ones again with `avseg weights download`", states)
    if "unverified" in states.values():
        return Finding("public weights", NOTE, text, "check them with `avseg weights verify`", states)
    advice = "only needed for models on SAM's backbones; get them with `avseg weights download`"
    return Finding("public weights", OK, text, advice if "missing" in states.values() else "", states)


def _encoders() -> Finding:
    chosen, cutout = available(H264), available(PRORES_4444)
    cards = [name for name in CARDS if not isinstance(library_codec(name, QUALITY.get(name, {})), str)]
    others = [name for name in ("libx265", "libsvtav1", "libvpx-vp9") if name in av.codec.codecs_available]
    facts = {"overlay": chosen.name, "cutout": cutout.name, "hardware": cards, "others": others}
    text = f"overlay {chosen.name}, cutout {cutout.name}; for `avseg segment --encoder`: {', '.join([*cards, *others])}"
    if chosen is not H264[0]:
        return Finding("encoders", NOTE, text, f"{H264[0].name} makes better pictures; install av from PyPI", facts)
    return Finding("encoders", OK, text, "" if cards else "no hardware encoder starts here; none is needed", facts)


def _own_program() -> Finding:
    path = shutil.which("ffmpeg")
    if path is None:
        return Finding(
            "your ffmpeg", OK, "none on the PATH", "only needed for encoders that PyAV lacks", {"path": None}
        )
    try:
        import ffmpeg  # noqa: F401
    except ImportError:
        return Finding(
            "your ffmpeg", OK, f"{path}, not used", "pip install 'avseg[ffmpeg]' lets avseg use it", {"path": path}
        )
    return Finding("your ffmpeg", OK, f"{path}, used for encoders that PyAV lacks", facts={"path": path})


def _cache() -> Finding:
    folder = cache_dir()
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    facts = {"path": str(folder), "exists": folder.is_dir(), "free_bytes": free}
    text = f"{folder}{'' if folder.is_dir() else ' (not made yet)'}, {size_text(free)} free"
    if not os.access(there, os.W_OK):
        return Finding("cache folder", NOTE, f"{text}, not writable", "set AVSEG_CACHE to a folder of yours", facts)
    if free < LITTLE_SPACE:
        return Finding("cache folder", NOTE, text, "free some, or set AVSEG_CACHE; SAM's ViT-H takes 2.6 GB", facts)
    return Finding("cache folder", OK, text, facts=facts)


def _temporary() -> Finding:
    folder = tempfile.gettempdir()  # made sure to be writable
    free = shutil.disk_usage(folder).free
    facts = {"path": folder, "free_bytes": free}
    advice = "free some, or set TMPDIR: videos from pipes are kept there while they are read"
    state = NOTE if free < LITTLE_SPACE else OK
    return Finding(
        "temporary folder", state, f"{folder}, {size_text(free)} free", advice if state == NOTE else "", facts
    )


def _configuration(files: list[Path]) -> Finding:
    variables = sorted(name for name in os.environ if name.startswith("AVSEG_"))
    text = f"files: {', '.join(map(str, files)) or 'none'}; environment: {', '.join(variables) or 'nothing'}"
    return Finding("configuration", OK, text, facts={"files": [str(file) for file in files], "variables": variables})


def _self_test(checkpoint: str, loaded: list[AvsegModel]) -> Finding:
    """Segment a clip made on the spot into every kind of output, and read the overlay back."""
    if not loaded:
        raise DeviceError("not tried: the model could not be loaded")
    with tempfile.TemporaryDirectory(prefix="avseg-doctor-") as folder:
        video = probe(make_video(Path(folder) / "clip.mp4", CLIP_SECONDS))
        outputs = {"overlay": "out.mp4", "masks": "masks", "cutout": "out.mov", "json": "out.json"}
        began = time.perf_counter()
        done = render(
            video, loaded[0], {name: Path(folder) / out for name, out in outputs.items()}, SegmentOptions(), checkpoint
        )
        seconds = time.perf_counter() - began
        _read_back(Path(folder) / "out.mp4")
    facts = {"clip_seconds": CLIP_SECONDS, "seconds": round(seconds, 2), "masks": done.masks, "sound": done.sound}
    return Finding(
        "self-test",
        OK,
        f"{CLIP_SECONDS} s of video to {', '.join(outputs)} in {seconds:.1f} s, {counted(done.masks, 'mask')}, "
        f"sound {done.sound}",
        facts=facts,
    )


def _read_back(path: Path) -> None:
    with av.open(str(path)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    with av.open(str(path)) as container:
        heard = sum(frame.samples for frame in container.decode(audio=0)) / container.streams.audio[0].rate
    if frames != CLIP_SECONDS * FRAME_RATE or abs(heard - CLIP_SECONDS) > 0.2:
        raise OutputError(
            f"the overlay of the self-test has {counted(frames, 'frame')} and {heard:.1f} s of sound, not "
            f"{CLIP_SECONDS * FRAME_RATE} and {CLIP_SECONDS} s; install av from PyPI"
        )
