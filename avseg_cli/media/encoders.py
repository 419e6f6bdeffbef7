"""``--encoder``: other ways to write pictures than the default, from PyAV's FFmpeg or from the user's own.

PyAV's wheel carries many encoders; those of graphics cards need the card and its driver, and a few are left out.
So an encoder is tried before the work begins, first PyAV's, then that of the ``ffmpeg`` on the user's PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from fractions import Fraction
from functools import lru_cache

import av
from av.error import FFmpegError

from avseg_cli.base.errors import InputError, OutputError, named
from avseg_cli.media.codecs import H264, Codec

TRIAL = (320, 240)  # pixels; hardware refuses much smaller pictures
PATIENCE = 60.0  # seconds a trial may take
SOFTWARE_FORMATS = ("yuv420p", "nv12")

# About what libx264 gives at crf 18 to 20: close to the source by eye. Others are taken with their own defaults.
QUALITY: dict[str, dict[str, str]] = {
    "libx264": H264[0].options,
    "libx265": {"preset": "fast", "crf": "21", "x265-params": "log-level=none"},
    "libsvtav1": {"preset": "8", "crf": "28"},
    "libaom-av1": {"cpu-used": "6", "crf": "26", "b": "0"},
    "librav1e": {"speed": "8", "qp": "80"},
    "libvpx-vp9": {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    "h264_nvenc": {"preset": "p5", "rc": "vbr", "cq": "20", "b": "0"},
    "hevc_nvenc": {"preset": "p5", "rc": "vbr", "cq": "22", "b": "0"},
    "av1_nvenc": {"preset": "p5", "rc": "vbr", "cq": "28", "b": "0"},
    "h264_qsv": {"global_quality": "20", "preset": "medium"},
    "hevc_qsv": {"global_quality": "22", "preset": "medium"},
    "av1_qsv": {"global_quality": "28", "preset": "medium"},
    "h264_amf": {"rc": "cqp", "qp_i": "19", "qp_p": "21", "quality": "quality"},
    "hevc_amf": {"rc": "cqp", "qp_i": "21", "qp_p": "23", "quality": "quality"},
    "h264_vaapi": {"qp": "20"},
    "hevc_vaapi": {"qp": "22"},
    "h264_videotoolbox": {"b": "12M", "allow_sw": "1"},
    "hevc_videotoolbox": {"b": "8M", "allow_sw": "1"},
}


def choose_encoder(text: str) -> Codec:
    """The encoder that ``NAME`` or ``NAME:KEY=VALUE:…`` stands for, tried out.

    Raises ``InputError`` for text of another form, ``OutputError`` when neither PyAV's FFmpeg nor the user's own
    can start it.
    """
    name, *pairs = text.split(":")
    if not name or not all("=" in pair for pair in pairs):
        raise InputError(
            f"{named('encoder')} {text}: give a name, or a name and options, as in libx265:crf=24:preset=slow"
        )
    options = {**QUALITY.get(name, {}), **dict(pair.split("=", 1) for pair in pairs)}
    inside = library_codec(name, options)
    if isinstance(inside, Codec):
        return inside
    outside = _program_codec(name, options)
    if isinstance(outside, Codec):
        return outside
    raise OutputError(
        f"{named('encoder')} {name}: {inside}, and {outside}; leave it out, or use libx264, libx265 or libsvtav1"
    )


def chosen_codecs(encoder: str | None) -> tuple[Codec, ...]:
    """The encoders to choose from: the one that ``encoder`` names, tried out once, or those of H.264.

    Raises ``InputError`` and ``OutputError`` as ``choose_encoder`` does.
    """
    return H264 if encoder is None else (_tried(encoder, os.environ.get("PATH")),)


@lru_cache(maxsize=8)
def _tried(encoder: str, path: str | None) -> Codec:
    """``choose_encoder``, once for each ``path`` on which an ffmpeg may be found."""
    return choose_encoder(encoder)


def library_codec(name: str, options: dict[str, str]) -> Codec | str:
    """The encoder of PyAV's libraries, or why it cannot be used."""
    os.environ.setdefault("SVT_LOG", "1")  # this library talks on stderr unless told to keep to errors
    try:
        context = av.CodecContext.create(name, "w")
    except (av.codec.codec.UnknownCodecError, ValueError):
        return "PyAV has no encoder of that name"
    if context.type != "video":
        return "PyAV's encoder of that name is not for pictures"
    pixel_format = _pixel_format(context.codec)
    context.width, context.height, context.pix_fmt = *TRIAL, pixel_format
    context.time_base, context.framerate, context.options = Fraction(1, 25), Fraction(25), dict(options)
    try:
        context.encode(av.VideoFrame(*TRIAL, pixel_format))
        context.encode(None)
    except (FFmpegError, ValueError, OSError) as error:
        return f"PyAV cannot start it here ({getattr(error, 'strerror', None) or error})"
    return Codec(name, pixel_format, options)


def _pixel_format(codec: av.Codec) -> str:
    offered = [entry.name for entry in codec.video_formats or ()]
    return next((name for name in SOFTWARE_FORMATS if name in offered), offered[0] if offered else "yuv420p")


def _program_codec(name: str, options: dict[str, str]) -> Codec | str:
    """The encoder of the user's own ffmpeg, or why it cannot be used."""
    program = shutil.which("ffmpeg")
    if program is None:
        return "there is no ffmpeg program on the PATH"
    try:
        import ffmpeg

        from avseg_cli.media.program import first_line, source_options, upload_to_card
    except ImportError:
        return f"using {program} takes ffmpeg-python, which is not installed (pip install 'avseg[ffmpeg]')"
    picture = ffmpeg.input(f"color=size={TRIAL[0]}x{TRIAL[1]}", format="lavfi", **source_options(name))
    trial = upload_to_card(picture, name).output("-", format="null", vcodec=name, vframes=1, **options)
    command = ffmpeg.compile(trial.global_args("-hide_banner", "-loglevel", "error"), cmd=program)
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} cannot be run ({type(error).__name__})"
    if ran.returncode:
        return f"{program} cannot start it either ({first_line(ran.stderr)})"
    return Codec(name, "yuv420p", options, program)
