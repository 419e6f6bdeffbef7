"""The encoders that pictures are written with, and which of them this build of FFmpeg has."""

from __future__ import annotations

from dataclasses import dataclass

import av

from avseg_cli.base.errors import OutputError


@dataclass(frozen=True)
class Codec:
    """A way to write pictures: FFmpeg's name of the encoder, its pixel format and options.

    program: the user's own ffmpeg, which has the encoder; None where PyAV's libraries do.
    """

    name: str
    pixel_format: str
    options: dict[str, str]
    program: str | None = None


H264 = (
    # 18 looks like the source; superfast with mbtree back on is 1.5 times as fast as veryfast for 1/7 more bytes
    Codec("libx264", "yuv420p", {"preset": "superfast", "crf": "18", "x264-params": "mbtree=1:rc-lookahead=10"}),
    Codec("libopenh264", "yuv420p", {"b": "12M"}),
    Codec("mpeg4", "yuv420p", {"qscale": "3"}),
)

PRORES_4444 = (
    Codec("prores", "yuva444p10le", {"profile": "4", "vendor": "apl0"}),  # five times as fast as the other
    Codec("prores_ks", "yuva444p10le", {"profile": "4", "alpha_bits": "16", "vendor": "apl0"}),
)

# A matte is near to lossless, without tricks for eyes, and with key frames close together so
# that an editor scrubs through it.
MATTE_H264 = (
    Codec("libx264", "yuv420p", {"preset": "veryfast", "crf": "6", "g": "12", "x264-params": "psy=0:aq-mode=0"}),
    *H264[1:],
)

PRORES_422 = (
    Codec("prores", "yuv422p10le", {"profile": "3", "vendor": "apl0"}),
    Codec("prores_ks", "yuv422p10le", {"profile": "3", "vendor": "apl0"}),
)

VP9_ALPHA = (
    # alternative reference frames and alpha exclude each other
    Codec(
        "libvpx-vp9", "yuva420p",
        {"crf": "16", "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1", "auto-alt-ref": "0"},
    ),
)  # fmt: skip


def available(codecs: tuple[Codec, ...]) -> Codec:
    """The first of ``codecs`` this build of FFmpeg has; raises ``OutputError`` when it has none."""
    for codec in codecs:
        if codec.program or codec.name in av.codec.codecs_available:
            return codec
    raise OutputError(f"this build of PyAV has none of {', '.join(c.name for c in codecs)}; install av from PyPI")
