"""Encoding with the user's own ffmpeg program, for encoders that PyAV's libraries lack.

The program gets pictures alone, uncompressed and with their timestamps (NUT), and writes them to a file of its own
(MP4, in the source's time base, so that no timestamp is rounded). What the program made is then put beside the
sound by the same code that does so for PyAV's encoders.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import ffmpeg
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from avseg_cli.base.errors import OutputError, named
from avseg_cli.base.threads import codec_threads
from avseg_cli.base.whole_files import discard, partial_name
from avseg_cli.media.codecs import Codec
from avseg_cli.media.container import tick_of
from avseg_cli.media.video import FULL_RANGE, LIMITED_RANGE, Pictures, even

VAAPI_DEVICE = "/dev/dri/renderD128"
PIPE_BUFFER = 1 << 20  # bytes


class ProgramEncoder:
    """Pictures of one video, encoded by ``codec.program`` into a scratch file beside ``path``."""

    def __init__(self, path: Path, video: Pictures, codec: Codec) -> None:
        self.path, self.codec = path, codec
        self._scratch = partial_name(path).with_suffix(".pictures")
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  closed by close
        self._made: Any = None
        self._first: int | None = None  # ticks; the program counts from 0
        self._process = subprocess.Popen(
            _command(codec, video, self._scratch),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._messages,
            start_new_session=True,  # Ctrl-C is for us, and we stop it
        )
        assert self._process.stdin is not None
        self._stdin = self._process.stdin
        self._pipe = av.open(self._stdin, "w", format="nut", buffer_size=PIPE_BUFFER)
        self._pictures = self._pipe.add_stream("rawvideo", rate=video.rate)
        self._pictures.width, self._pictures.height = even(video.width), even(video.height)
        self._pictures.pix_fmt = codec.pixel_format
        self._pictures.codec_context.time_base = self._pictures.time_base = video.time_base
        self._pictures.codec_context.sample_aspect_ratio = video.aspect

    def write(self, frame: VideoFrame) -> None:
        """Hand over one picture. Raises ``OutputError`` when the program has ended."""
        if self._first is None:
            self._first = frame.pts
        assert frame.pts is not None and self._first is not None, "frames here have times"
        frame.pts -= self._first
        try:
            self._pipe.mux(self._pictures.encode(frame))
        except (FFmpegError, OSError) as error:
            raise self._failure() from error

    def finish(self) -> Stream:
        """Wait for the program; the stream it made, for a muxer's template. Raises ``OutputError`` if it failed."""
        try:
            self._pipe.close()
            self._stdin.close()
        except (FFmpegError, OSError) as error:
            raise self._failure() from error
        if self._process.wait():
            raise self._failure()
        self._made = av.open(os.path.abspath(self._scratch))
        return self._made.streams.video[0]

    def packets(self) -> Iterator[Packet]:
        """What the program made, in order of decoding, with the times the pictures came with."""
        stream = self._made.streams.video[0]
        first = round((self._first or 0) * tick_of(self._pictures) / tick_of(stream))
        for packet in self._made.demux(stream):
            if packet.size:
                packet.pts, packet.dts = packet.pts + first, packet.dts + first
                yield packet

    def close(self) -> None:
        """End the program if it still runs, and delete its file."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        with suppress(FFmpegError, OSError):  # the pipe leads nowhere now
            self._pipe.close()
        with suppress(OSError):
            self._stdin.close()
        if self._made is not None:
            self._made.close()
        self._messages.close()
        discard(self._scratch)

    def _failure(self) -> OutputError:
        self._process.kill()  # no-op for one that ended by itself
        code = self._process.wait()
        self._messages.seek(0)
        said = first_line(self._messages.read().decode(errors="replace")) or f"exit code {code}"
        return OutputError(
            f"{self.path}: {self.codec.program} could not encode it with {self.codec.name} ({said}); "
            f"try another {named('encoder')}, or none"
        )


def _command(codec: Codec, video: Pictures, scratch: Path) -> list[str]:
    """The program's arguments: every picture once, at its own time, colours tagged but never converted."""
    ticks = f"{video.time_base.numerator}/{video.time_base.denominator}"
    pictures = ffmpeg.input("pipe:", format="nut", **source_options(codec.name)).filter(
        "setparams",
        colorspace=video.matrix,
        color_primaries=video.primaries,
        color_trc=video.transfer,
        range=FULL_RANGE if video.full_range else LIMITED_RANGE,
    )
    threads = {"threads": codec_threads()} if codec_threads() else {}
    output = upload_to_card(pictures, codec.name).output(
        f"file:{scratch.absolute()}",
        format="mp4",
        vcodec=codec.name,
        fps_mode="passthrough",
        enc_time_base=ticks,
        video_track_timescale=video.time_base.denominator,
        **threads,
        **codec.options,
    )
    quiet = output.global_args("-hide_banner", "-loglevel", "error")
    return [str(word) for word in ffmpeg.compile(quiet, cmd=codec.program, overwrite_output=True)]


def source_options(name: str) -> dict[str, str]:
    """What comes before the input: VAAPI wants to know its device."""
    return {"vaapi_device": VAAPI_DEVICE} if name.endswith("_vaapi") else {}


def upload_to_card(pictures: Any, name: str) -> Any:
    """VAAPI takes pictures only from the card's own memory."""
    return pictures.filter("format", "nv12").filter("hwupload") if name.endswith("_vaapi") else pictures


def first_line(text: str) -> str:
    """The first thing a program complained of."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
