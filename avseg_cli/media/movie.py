"""Writing a video file: drawn pictures at the source's timestamps, and the source's sound beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from avseg_cli.base.errors import OutputError, named
from avseg_cli.base.text import counted
from avseg_cli.base.threads import codec_threads
from avseg_cli.media.audio import GAP, SoundPackets, changes_form
from avseg_cli.media.codecs import Codec, available
from avseg_cli.media.container import tick_of
from avseg_cli.media.video import FULL_RANGE, LIMITED_RANGE, Pictures, Video, even

if TYPE_CHECKING:
    from avseg_cli.media.program import ProgramEncoder

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
UNPLAYABLE = ("vorbis",)  # FFmpeg writes it into MP4, but players do not hear it there
LONG = 0.15  # seconds of sound in a packet that cannot be cut, above which it is encoded anew to end with the span
OVERLAP = 0.1  # seconds by which a packet of sound may come before its time is free
MP4_PCM_RATE = 65535  # Hz; more does not fit where players look for it
USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}  # by channels
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
MATROSKA = (".mkv", ".webm")
ALPHA = ("yuva420p",)  # pixel formats whose transparency WebM keeps beside the pictures


class Movie:
    """One video file being written to ``partial``.

    Times: pictures and sound are given relative to the source's clock, and ``start`` seconds of it become 0.
    The sound is copied packet by packet where the container takes its codec, and made AAC (Opus in
    WebM) where it does not, or where the codec is none of ``copied_sound``; ``sound_action`` says which. comment: what
    the file says of itself; timecode: of its first picture.
    """

    def __init__(
        self, partial: Path, path: Path, video: Pictures, codecs: tuple[Codec, ...], span: tuple[float, float | None],
        copied_sound: frozenset[str] | None = None, comment: str = "", timecode: str = "",
    ) -> None:  # fmt: skip
        self.partial, self.path, self.video, self.span = partial, path, video, span
        self._tags = {name: text for name, text in (("comment", comment), ("timecode", timecode)) if text}
        self._matroska = path.suffix.lower() in MATROSKA
        self._copied_sound = copied_sound
        self.codec = available(codecs)
        self.frames = 0
        self._left_out = 0, 0.0  # packets of sound, and seconds, that could not be written
        self._heard: Stream | None = None
        self._sounded = False  # whether any packet of sound was written
        self._offset = round(Fraction(span[0]) / video.time_base)
        self._container: OutputContainer | None = None
        self._sound = SoundPackets(video.sound, *span) if isinstance(video, Video) else None
        self._waiting: Packet | None = None  # the next packet of sound, read but not yet written
        self._program: ProgramEncoder | None = None
        self.sound_action = "none"
        if self.codec.program:
            from avseg_cli.media.program import ProgramEncoder  # takes ffmpeg-python

            self._program = ProgramEncoder(path, video, self.codec)  # the container waits for what it makes
        else:
            self._open()

    def _open(self, made: Stream | None = None) -> None:
        """Open the container, its pictures encoded here or already ``made``; the sound is copied where that goes."""
        try:
            self._open_with(made, copy=True)
        except OSError:
            raise
        except (ValueError, FFmpegError):
            self._file.close()
            try:
                self._open_with(made, copy=False)
            except OSError:
                raise
            except (ValueError, FFmpegError) as error:
                raise OutputError(
                    f"{self.path}: this kind of file does not take pictures of {self.codec.name}; "
                    f"give {named('output')} FILE.mkv, or another {named('encoder')}"
                ) from error

    def _open_with(self, made: Stream | None, copy: bool) -> None:
        container_format = CONTAINERS[self.path.suffix.lower()]
        options = {} if self._matroska else {"movflags": "+faststart"}
        # the absolute path cannot be mistaken for a protocol ("12:30.mp4")
        self._container = av.open(os.path.abspath(self.partial), "w", format=container_format, options=options)
        self._container.metadata.update(self._tags)
        self._pictures = self._add_pictures() if made is None else self._add_made(made)
        if self._sound:
            self.sound_action = "copied" if copy else f"re-encoded to {'Opus' if self._webm else 'AAC'}"
            template = self._sound.stream
            self._heard = self._add_copy(self._sound) if copy else self._add_encoded(template)
        self._container.start_encoding()
        self._packets = self._sound_packets(copy) if self._sound else iter(())

    def _add_pictures(self) -> Stream:
        video = self.video
        stream = self._file.add_stream(self.codec.name, rate=video.rate, options=dict(self.codec.options))
        context = stream.codec_context
        stream.width, stream.height = even(video.width), even(video.height)
        stream.pix_fmt = self.codec.pixel_format
        context.time_base = stream.time_base = video.time_base
        context.sample_aspect_ratio = video.aspect
        context.colorspace, context.color_primaries = video.matrix, video.primaries
        context.color_trc = video.transfer
        context.color_range = FULL_RANGE if video.full_range else LIMITED_RANGE
        context.thread_type, context.thread_count = "AUTO", codec_threads()
        self._tag(stream)
        if self._webm and self.codec.pixel_format in ALPHA:
            stream.metadata["alpha_mode"] = "1"
        return stream

    def _add_made(self, made: Stream) -> Stream:
        stream = self._file.add_stream_from_template(made, opaque=True)  # by codec: it may have no encoder here
        stream.time_base = made.time_base
        self._tag(stream)
        return stream

    def _tag(self, stream: Stream) -> None:
        if "hevc" in self.codec.name or self.codec.name == "libx265":
            stream.codec_context.codec_tag = "hvc1"  # Apple's players know HEVC by this name alone

    def _add_copy(self, sound: SoundPackets) -> Stream:
        template = sound.stream
        if self._copied_sound is not None and template.codec_context.name not in self._copied_sound:
            raise ValueError(f"{template.codec_context.name} is not to be copied")
        if template.codec_context.name in UNPLAYABLE and not self._matroska:
            raise ValueError(f"few players hear {template.codec_context.name} in this container")
        fast = template.codec_context.name.startswith("pcm_") and template.rate > MP4_PCM_RATE
        if fast and CONTAINERS[self.path.suffix.lower()] == "mp4":
            raise ValueError(f"MP4 has no place for a rate of {template.rate} Hz, so that players take another")
        if sound.lasting > LONG and not template.codec_context.name.startswith("pcm_"):
            raise ValueError("packets of so much sound cannot end with the span")
        if changes_form(sound.sound):
            raise ValueError("this container tells the form of AAC once")
        usual = USUAL_LAYOUTS.get(template.channels)
        if usual is None and not self._matroska:
            raise ValueError(f"no name for the layout of {template.channels} channels, which MP4 asks for at its end")
        stream = self._file.add_stream_from_template(template)
        if usual and stream.codec_context.layout.name.endswith("channels"):
            stream.codec_context.layout = usual  # Matroska names no layout for PCM, and MP4 cannot do without
        return stream

    @property
    def _file(self) -> OutputContainer:
        """The container, once it is open."""
        assert self._container is not None
        return self._container

    @property
    def _webm(self) -> bool:
        return self.path.suffix.lower() == ".webm"

    def _add_encoded(self, template: Stream) -> Stream:
        rate = template.rate if template.rate in AAC_RATES else 48000
        layout = "mono" if template.channels == 1 else "stereo"
        if self._webm:
            return self._file.add_stream("libopus", rate=48000, layout=layout, options={"b": "160k"})
        return self._file.add_stream("aac", rate=rate, layout=layout, options={"b": "192k"})

    def write(self, frame: VideoFrame) -> None:
        """Encode one picture, and whatever sound comes before it."""
        assert frame.pts is not None, "frames here have times"
        frame.pts -= self._offset
        self.frames += 1
        if self._program:
            self._program.write(frame)
            return
        self._mux_sound(until=frame.pts * self.video.time_base)
        for packet in self._pictures.encode(frame):
            self._file.mux(packet)

    def finish(self) -> None:
        """Write what is left, close the file and check that it can be read. Raises ``OutputError`` if not."""
        if self._program:
            self._open(self._program.finish())
            self._mux_made(self._program.packets())
        else:
            self._file.mux(self._pictures.encode(None))
        self._mux_sound(until=None)
        if self._silent:
            self.sound_action = "none"
        self.close()
        self._check()

    @property
    def _silent(self) -> bool:
        """Whether there was sound to write, and nothing of it could be read or written."""
        return self._heard is not None and not self._sounded

    @property
    def losses(self) -> list[str]:
        """What became of sound that is not in the finished file, a sentence each."""
        packets, seconds = self._left_out
        lost = f"sound: {counted(packets, 'packet')} ({seconds:.1f} s) could not be written, so left out"
        silent = "sound: nothing of it could be read, so what is written is silent"
        return [lost] * bool(packets) + [silent] * self._silent

    def close(self) -> None:
        """Close the files, finished or not."""
        self._packets = iter(())
        if self._program:
            self._program.close()
        if self._container:
            self._container.close()
        if self._sound:
            self._sound.close()

    def _mux_made(self, packets: Iterator[Packet]) -> None:
        for packet in packets:
            self._mux_sound(until=_decoded_at(packet))
            packet.stream = self._pictures
            self._file.mux(packet)

    def _mux_sound(self, until: Fraction | None) -> None:
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = packet
            if packet is None or (until is not None and _decoded_at(packet) > until):
                return
            self._waiting = None
            try:
                self._file.mux(packet)
                self._sounded = True
            except OSError:
                raise
            except FFmpegError:  # muxers look into some codecs' packets
                self._leave_out(packet)

    def _sound_packets(self, copy: bool) -> Iterator[Packet]:
        if not copy:
            yield from self._encoded_sound()
            return
        assert self._sound
        tick = tick_of(self._heard)
        least = 0 if self._matroska else 1  # ticks from packet to packet
        due = None
        for packet in self._sound:
            scale = tick_of(packet) / tick
            dts, pts, length = (round((value or 0) * scale) for value in (packet.dts, packet.pts, packet.duration))
            if due is not None and dts < due:
                if (due - dts) * tick > OVERLAP:
                    self._leave_out(packet)
                    continue
                dts = due  # sources round: TrueHD has a packet each 0.8 ms, Matroska a tick of 1 ms
            due = dts + least
            packet.stream, packet.time_base = self._heard, tick
            packet.dts, packet.pts, packet.duration = dts, max(pts, dts), length
            yield packet

    def _leave_out(self, packet: Packet) -> None:
        packets, seconds = self._left_out
        self._left_out = packets + 1, seconds + float((packet.duration or 0) * packet.time_base)

    def _encoded_sound(self) -> Iterator[Packet]:
        """The decoded sound of the span, encoded anew, without a break where its times meet but for rounding."""
        assert self._sound and self._heard
        context, due = self._heard.codec_context, None  # due: the sample after the last
        end = None if self._sound.length is None else round(self._sound.length * context.rate)
        for ready in self._resampled(context):
            if ready.pts is not None:
                first = round(ready.pts * tick_of(ready) * context.rate)
                if due is not None and first - due < GAP * context.rate:
                    first = due
                ready.pts, ready.time_base = first, Fraction(1, context.rate)
                due = first + ready.samples
                ready = _within(ready, 0 if self.span[0] > 0 else first, end)
            if ready is not None:
                yield from self._heard.encode(ready)
        yield from self._heard.encode(None)

    def _resampled(self, context: AudioCodecContext) -> Iterator[AudioFrame]:
        """The sound in the encoder's own form; a change of the source's starts a new resampler."""
        assert self._sound
        resampler, shape = None, None
        for packet in self._sound.touched():
            try:
                frames = packet.decode()
            except (FFmpegError, ValueError):
                continue
            for frame in frames:
                if shape != (shape := (frame.format.name, frame.layout.name, frame.sample_rate)) or resampler is None:
                    if resampler is not None:
                        yield from resampler.resample(None)  # the rest of what it holds
                    resampler = AudioResampler(context.format, context.layout, context.rate)
                yield from resampler.resample(frame)
        if resampler is not None:
            yield from resampler.resample(None)

    def _check(self) -> None:
        try:
            with av.open(os.path.abspath(self.partial)) as container:
                stream = container.streams.video[0]
                whole = stream.frames in (0, self.frames) and next(container.decode(stream), None) is not None
                whole = whole and (not self._sounded or len(container.streams.audio) == 1)
        except (FFmpegError, IndexError):
            whole = False
        if not whole:
            raise OutputError(f"{self.path}: the file written cannot be read back; nothing was left behind; try again")


def _within(frame: AudioFrame, begin: int, end: int | None) -> AudioFrame | None:
    """What of a frame, whose time counts samples, lies from ``begin`` to ``end``; None where nothing does."""
    assert frame.pts is not None  # a resampler's frames say it
    first, last = max(0, begin - frame.pts), frame.samples if end is None else min(frame.samples, end - frame.pts)
    if first >= last:
        return None
    if (first, last) == (0, frame.samples):
        return frame
    values = 1 if frame.format.is_planar else len(frame.layout.channels)  # of a sample, side by side
    samples = np.ascontiguousarray(frame.to_ndarray()[:, first * values : last * values])
    part = AudioFrame.from_ndarray(samples, format=frame.format.name, layout=frame.layout.name)
    part.sample_rate, part.time_base, part.pts = frame.sample_rate, frame.time_base, frame.pts + first
    return part


def _decoded_at(packet: Packet) -> Fraction:
    """When an encoder's or a demuxer's packet is to be decoded, in seconds: those that come here all say it."""
    assert packet.dts is not None and packet.time_base is not None
    return packet.dts * packet.time_base
