"""The hostile corpus: every kind of file that has broken a program of this sort, made on the fly.

Each maker writes its files into the folder it is given and says how avseg is asked about them.
"""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from media_files import Clip
from PIL import Image

from .cases import ANY, DONE, REFUSED, Case, Maker, segment
from .containers import CONTAINERS, flipped, retimed, small, sounds

HOURS_10 = 36_000.0


def corpus(seed: int = 0) -> dict[str, Maker]:
    """Every case by name, in a fixed order."""
    makers: dict[str, Maker] = {}
    for group in (_table, _not_videos, _cut, _bent, _sizes, _times, _tracks, _changes, _names):
        makers |= group(seed)
    return makers


def _of_clip(name: str, expect: str, clip: Clip, file: str, folder: Path, formats: str = "overlay,json") -> Case:
    return Case(name, segment(clip.write(folder / file), formats=formats), expect)


def _clips(clips: dict[str, tuple[str, Clip]], expect: str = DONE) -> dict[str, Maker]:
    return {name: partial(_of_clip, name, expect, clip, file) for name, (file, clip) in clips.items()}


def _little(**fields: object) -> Clip:
    return Clip(**{"size": (64, 48), "seconds": 1.5, **fields})


def _table(seed: int) -> dict[str, Maker]:
    """The traps that real files hold, each of which must come out."""
    turned = {f"rotated {turn}": ("clip.mp4", _little(rotation=turn)) for turn in (90, 180, 270)}
    codecs = {
        f"sound in {codec}": (f"clip.{kind}", _little(sound=codec, sound_rate=rate))
        for codec, kind, rate in (
            ("vorbis", "mkv", 44100), ("wmav2", "asf", 44100), ("flac", "mkv", 44100), ("ac3", "mkv", 48000),
            ("libopus", "mp4", 48000), ("alac", "mov", 44100), ("pcm_s24le", "mov", 48000), ("mp2", "ts", 48000),
        )
    }  # fmt: skip
    made = {
        "variable rate": ("clip.mp4", _little(times=[0, 0.03, 0.5, 0.51, 1.4, 1.9])),
        "sound starts late": ("clip.mkv", _little(sound_delay=0.8)),
        "pictures start late": ("clip.mkv", _little(sound_delay=-0.8)),
        "sound ends early": ("clip.mp4", _little(sound_seconds=0.3)),
        "sound of 20 ms": ("clip.mkv", _little(sound="pcm_s16le", sound_seconds=0.02)),
        "odd sides": ("clip.mp4", _little(size=(63, 47), pixel_format="yuv444p")),
        "ten bits": ("clip.mp4", _little(pixel_format="yuv420p10le")),
        "PQ": ("clip.mp4", _little(pixel_format="yuv420p10le", tags=(9, 9, 16, 1))),
        "HLG": ("clip.mp4", _little(pixel_format="yuv420p10le", tags=(9, 9, 18, 1))),
        "full range": ("clip.mp4", _little(pixel_format="yuvj420p", tags=(5, 5, 6, 2))),
        "interlaced": ("clip.ts", _little(codec="mpeg2video", format="mpegts",
                                          options={"flags": "+ildct+ilme"}, rate=25)),
        "raw h264": ("clip.h264", _little(sound=None, format="h264")),
        "motion jpeg": ("clip.avi", _little(codec="mjpeg", pixel_format="yuvj420p", options={}, sound="pcm_s16le")),
        "RGB": ("clip.mkv", _little(codec="ffv1", pixel_format="bgr0", options={}, sound="flac")),
        "gray": ("clip.mkv", _little(codec="ffv1", pixel_format="gray", options={}, sound="flac")),
    }  # fmt: skip
    makers = _clips({**turned, **codecs, **made})
    makers["raw h264"] = _raw
    return makers | _clips({"no sound": ("clip.mp4", _little(sound=None))}, REFUSED) | {
        "cover art": _cover, "output is input": _same,
        "output is a symbolic link to input": partial(_linked, "symlink_to"),
        "output is a hard link to input": partial(_linked, "hardlink_to"),
        "fifo": _fifo, "stdin": _stdin, "stdin of nothing": _no_stdin,
    }  # fmt: skip


def _raw(folder: Path) -> Case:
    video = _little(sound=None, format="h264").write(folder / "clip.h264")
    sound = _little().write(folder / "sound.mp4")
    return Case("raw h264", [*segment(video), "--audio", str(sound)], DONE)


def _cover(folder: Path) -> Case:
    path = folder / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        stream.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24").reformat(
            format="yuvj420p"
        )
        container.mux(stream.encode(frame) + stream.encode(None))
    return Case("cover art", segment(path), REFUSED)


def _same(folder: Path) -> Case:
    path = small("mp4", folder)
    return Case("output is input", ["segment", str(path), "-o", str(path), "--overwrite"], REFUSED, 5)


def _linked(how: str, folder: Path) -> Case:
    """The input by another name."""
    path, other = small("mp4", folder), folder / "other.mp4"
    getattr(other, how)(path)
    return Case(how, ["segment", str(path), "-o", str(other), "--overwrite"], REFUSED, 5)


def _fifo(folder: Path) -> Case:
    content, pipe = small("mp4", folder).read_bytes(), folder / "pipe.mp4"
    os.mkfifo(pipe)
    return Case("fifo", segment(pipe), DONE, feed=(pipe, content))


def _stdin(folder: Path) -> Case:
    return Case("stdin", segment("-"), DONE, stdin=small("mp4", folder))


def _no_stdin(folder: Path) -> Case:
    return Case("stdin of nothing", segment("-"), REFUSED, 2, stdin=Path(os.devnull))


def _not_videos(seed: int) -> dict[str, Maker]:
    """Files that are no videos, whatever their names say."""

    def make(name: str, content: bytes, folder: Path) -> Case:
        (folder / "clip.mp4").write_bytes(content)
        return Case(name, segment(folder / "clip.mp4"), REFUSED, 2)

    random = np.random.default_rng(seed)
    contents = {
        "zero bytes": b"", "one byte": b"\0", "random bytes": random.bytes(50_000), "zeros": bytes(50_000),
        "text": b"hello, this is text\n" * 500, "json": b'{"not": "a video"}', "html": b"<html><body>404</body></html>",
        "shell script": b"#!/bin/sh\necho hello\n", "playlist": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
        "concat script": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    }  # fmt: skip
    makers: dict[str, Maker] = {name: partial(make, name, content) for name, content in contents.items()}

    def png(folder: Path) -> Case:
        Image.new("RGB", (64, 48), "red").save(folder / "clip.png")
        return make("png named mp4", (folder / "clip.png").read_bytes(), folder)

    def moovless(folder: Path) -> Case:
        content = small("mp4", folder).read_bytes()
        return make("no moov", content.replace(b"moov", b"none"), folder)

    def folder_named(folder: Path) -> Case:
        (folder / "clip.mp4").mkdir()
        return Case("folder named mp4", segment(folder / "clip.mp4"), REFUSED, 2)

    def loop(folder: Path) -> Case:
        (folder / "a.mp4").symlink_to(folder / "b.mp4")
        (folder / "b.mp4").symlink_to(folder / "a.mp4")
        return Case("symlink loop", segment(folder / "a.mp4"), REFUSED, 2)

    def folder_loop(folder: Path) -> Case:
        (folder / "videos").mkdir()
        small("mp4", folder / "videos")
        (folder / "videos" / "again").symlink_to(folder / "videos")
        return Case("folder that holds itself", [*segment(folder / "videos"), "--recursive"], DONE)

    named = {
        "png named mp4": png,
        "no moov": moovless,
        "folder named mp4": folder_named,
        "symlink loop": loop,
        "folder that holds itself": folder_loop,
    }
    return makers | named


def _cut(seed: int) -> dict[str, Maker]:
    """Every tenth of every container."""

    def make(kind: str, tenth: int, folder: Path) -> Case:
        path = small(kind, folder)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * tenth // 10])
        return Case(f"{kind} cut at {tenth}0 %", segment(path))

    return {f"{kind} cut at {tenth}0 %": partial(make, kind, tenth) for kind in CONTAINERS for tenth in range(1, 10)}


def _bent(seed: int) -> dict[str, Maker]:
    """Overwritten packets."""

    def make(kind: str, percent: int, folder: Path) -> Case:
        path = small(kind, folder, seconds=4)
        flipped(path, path, percent / 100, np.random.default_rng(seed))
        return Case(f"{kind} with {percent} % of packets flipped", segment(path))

    return {
        f"{kind} with {percent} % of packets flipped": partial(make, kind, percent)
        for kind in CONTAINERS
        for percent in (1, 10)
    }


def _sizes(seed: int) -> dict[str, Maker]:
    return _clips({
        "1x1": ("clip.mkv", _little(size=(1, 1), codec="ffv1", pixel_format="yuv444p", options={}, sound="flac")),
        "2x2": ("clip.mkv", _little(size=(2, 2), codec="ffv1", pixel_format="yuv420p", options={}, sound="flac")),
        "16x2000": ("clip.mp4", _little(size=(16, 2000))),
        "4096x2": ("clip.mkv", _little(size=(4096, 2), codec="ffv1", pixel_format="yuv420p", options={}, sound="flac")),
        "7680x4320": ("clip.mkv", _little(size=(7680, 4320), codec="mjpeg", pixel_format="yuvj420p", options={},
                                          seconds=0.4, sound_seconds=1.0)),
        "one frame": ("clip.mp4", _little(times=[0.0], sound_seconds=1.0)),
        "two frames": ("clip.mp4", _little(times=[0.0, 0.1], sound_seconds=1.0)),
        "1000 frames a second": ("clip.mkv", _little(rate=1000, seconds=0.5, time_base=Fraction(1, 1000))),
        "0.1 frames a second": ("clip.mkv", _little(rate=1, times=[0.0, 10.0, 20.0])),
    })  # fmt: skip


def _times(seed: int) -> dict[str, Maker]:
    """Clocks that start anywhere, jump, and lie."""
    changes = {
        "starts at -5 s": lambda t: t - 5, "starts at -0.7 s": lambda t: t - 0.7,
        "starts at 26 hours": lambda t: t + 95_000,
        "starts at 10000 hours": lambda t: t + 3.6e7, "a gap of 2 hours": lambda t: t + 7200 * (t > 0.7),
        "a gap of 300 hours": lambda t: t + 1_080_000 * (t > 0.7), "runs a thousand times slower": lambda t: t * 1000,
    }  # fmt: skip

    def make(kind: str, name: str, folder: Path) -> Case:
        source = small(kind, folder)
        return Case(f"{kind} {name}", segment(retimed(source, folder / f"late.{kind}", changes[name])))

    makers: dict[str, Maker] = {
        f"{kind} {name}": partial(make, kind, name) for kind in ("mp4", "mkv", "ts") for name in changes
    }
    return makers | {"mkv claims 10 hours": _long_mkv, "mp4 claims 10 hours": _long_mp4}


def _long_mkv(folder: Path) -> Case:
    path = small("mkv", folder)
    content = bytearray(path.read_bytes())
    at = content.index(b"\x44\x89\x88")  # Duration, a double, in milliseconds
    content[at + 3 : at + 11] = struct.pack(">d", HOURS_10 * 1000)
    path.write_bytes(content)
    return Case("mkv claims 10 hours", segment(path), DONE)


def _long_mp4(folder: Path) -> Case:
    path = small("mp4", folder)
    content = bytearray(path.read_bytes())
    for box, scale_at in ((b"mvhd", 16), (b"mdhd", 16)):
        at = -1
        while (at := content.find(box, at + 1)) >= 0:
            scale = struct.unpack_from(">I", content, at + scale_at)[0]
            struct.pack_into(">I", content, at + scale_at + 4, min(2**32 - 1, round(HOURS_10 * scale)))
    path.write_bytes(content)
    return Case("mp4 claims 10 hours", segment(path), DONE)


def _tracks(seed: int) -> dict[str, Maker]:
    """Sound of every number, rate and layout."""

    def make(name: str, file: str, tracks: list[tuple[str, int, str]], extra: list[str], folder: Path) -> Case:
        unnamed = name.startswith("12 channels")  # nobody says which is where: only .mkv takes them
        return Case(name, [*segment(sounds(folder / file, tracks)), *extra], ANY if unnamed else DONE)

    kinds: dict[str, tuple[str, list[tuple[str, int, str]], list[str]]] = {
        "8 sound tracks": ("clip.mkv", [("aac", 48000, "stereo")] * 8, ["--audio-track", "8"]),
    }
    for rate in (8000, 11025, 22050, 32000, 96000, 192000):
        kinds[f"{rate} Hz"] = ("clip.mkv", [("pcm_s16le", rate, "mono")], [])
    for layout in ("mono", "2.1", "quad", "5.0", "5.1", "6.1", "7.1"):
        kinds[f"{layout} pcm"] = ("clip.mkv", [("pcm_s16le", 48000, layout)], [])
        kinds[f"{layout} flac"] = ("clip.mkv", [("flac", 48000, layout)], [])
    for layout in ("3 channels", "6 channels", "12 channels"):
        kinds[f"{layout} without a layout"] = ("clip.mov", [("pcm_s16le", 48000, layout)], [])
    return {name: partial(make, name, *rest) for name, rest in kinds.items()}


def _changes(seed: int) -> dict[str, Maker]:
    """Streams that become others half-way: transport streams, one after the other."""
    first = {"format": "mpegts"}
    seconds = {
        "size": {"size": (96, 80)}, "size by one pixel": {"size": (65, 48), "pixel_format": "yuv444p"},
        "pixel format": {"pixel_format": "yuv444p"}, "bit depth": {"pixel_format": "yuv420p10le"},
        "size to odd": {"size": (33, 31), "pixel_format": "yuv444p"}, "size to HD": {"size": (1280, 720)},
        "layout": {"layout": "mono"}, "layout to 5.1": {"layout": "5.1"}, "sound rate": {"sound_rate": 22050},
        "frame rate": {"rate": 50}, "codec": {"codec": "mpeg2video", "rate": 25, "options": {}},
        "no sound": {"sound": None},
    }  # fmt: skip

    def make(name: str, folder: Path) -> Case:
        parts = [_little(**first), _little(**first, **seconds[name])]
        whole = b"".join(part.write(folder / f"{n}.part.ts").read_bytes() for n, part in enumerate(parts))
        (folder / "clip.ts").write_bytes(whole)
        return Case(f"changes: {name}", segment(folder / "clip.ts"), DONE)

    return {f"changes: {name}": partial(make, name) for name in seconds}


def _names(seed: int) -> dict[str, Maker]:
    """Names and places that trip up programs."""
    names = {
        "spaces": "a clip  with spaces .mp4", "newline": "a\nclip.mp4", "non-ASCII": "видео 影片 🎻.mp4",
        "leading dash": "-o.mp4", "percent": "100%d %s.mp4", "brackets": "[bold]clip[x] *?.mp4", "dots": "a.b..c.mp4",
        "protocol": "http:clip.mp4", "quote": "it's \"quoted\"; rm -rf.mp4", "no suffix": "clip",
        "not UTF-8": os.fsdecode(b"caf\xe9.mp4"), "250 bytes": "n" * 246 + ".mp4", "suffix in capitals": "CLIP.MP4",
        "control characters": "a\x1b[31mred\x07.mp4",
    }  # fmt: skip

    def make(name: str, folder: Path) -> Case:
        path = folder / names[name]
        small("mp4", folder).rename(path)
        return Case(f"name: {name}", segment(path), REFUSED if name == "250 bytes" else DONE)

    def dashed(folder: Path) -> Case:
        small("mp4", folder).rename(folder / "-q.mp4")
        return Case("name after --", ["segment", "-o", "OUT", "--quiet", "--", "-q.mp4"], DONE, inside=folder)

    def below(folder: Path) -> Case:
        (folder / "-r").mkdir()
        small("mp4", folder / "-r").rename(folder / "-r/--json.mp4")
        return Case("dashes in a folder", segment("./-r"), DONE, inside=folder)

    def closed(folder: Path) -> Case:
        path = small("mp4", folder)
        (folder / "closed").mkdir(mode=0o555)
        return Case(
            "read-only folder",
            ["segment", str(path), "-o", f"{folder}/closed/x.mp4"],
            REFUSED,
            5,
            said="cannot be written",
            closed=True,
        )

    def unreadable(folder: Path) -> Case:
        path = small("mp4", folder)
        path.chmod(0)
        return Case("unreadable file", segment(path), REFUSED, 2, said="may not be read", closed=True)

    def blocked(folder: Path) -> Case:
        (folder / "secret").mkdir()
        path = small("mp4", folder / "secret")
        (folder / "secret").chmod(0)
        return Case("folder without entry", segment(path), REFUSED, 2, said="may not be read", closed=True)

    def device(folder: Path) -> Case:
        return Case("a device", segment("/dev/null"), REFUSED, 2)

    def kernel(folder: Path) -> Case:
        return Case(
            "output among the kernel's files", ["segment", str(small("mp4", folder)), "-o", "/proc/x.mp4"], REFUSED, 5
        )

    makers: dict[str, Maker] = {f"name: {name}": partial(make, name) for name in names}
    return makers | {
        "name after --": dashed,
        "dashes in a folder": below,
        "read-only folder": closed,
        "unreadable file": unreadable,
        "folder without entry": blocked,
        "a device": device,
        "output among the kernel's files": kernel,
    }
