"""Reading sound: any track as 16 kHz mono, a second at a time, and its packets as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

import numpy as np
import soxr
from av.audio.frame import AudioFrame
from av.packet import Packet
from av.stream import Stream

from avseg_cli.media.container import Damage, decode, demux, open_input, seek, tick_of
from avseg_cli.media.video import Sound
from avseg_cli.model.log_mel import EXAMPLE_SAMPLES, SAMPLE_RATE

GAP = 0.05  # seconds between sound frames that count as a hole rather than rounding
OVERLAP = 0.1  # seconds by which samples outrun their timestamps before these are followed
SET_BACK = 1.0  # seconds backwards that mean the file's clock was reset
PCM = re.compile(r"pcm_[suf](8|16|24|32|64)(?:le|be)?")  # bits of a sample
LOOKED_AT = 8  # frames of sound
# Of each channel in the mean of the stereo that ITU-R BS.775 makes of surround sound, by FFmpeg's names.
SHARES = {"FL": 0.5, "FR": 0.5, "FC": 0.5**0.5, "LFE": 0.0} | dict.fromkeys(("BL", "BR", "SL", "SR"), 0.5**1.5)
PREROLL = 0.5  # seconds decoded before the first sound wanted, for decoders to settle


class SoundReader:
    """Gives the 16 kHz mono sound of any second, going forward; holds little more than one second.

    Times are seconds since the sound's own clock zero. What lies before the first sample, in holes and
    after the end is silence. Channels are ``folded`` into one.
    """

    def __init__(self, sound: Sound, start: float = 0.0) -> None:
        self.damage = Damage()
        self._pieces: list[tuple[int, np.ndarray]] = []  # (first sample, samples), in order of time
        self._incoming = self._resampled(sound, start)
        self._end: int | None = None  # sample after the last one read; None before the first
        self._finished = False

    def second(self, end: float) -> np.ndarray:
        """The (15600,) samples that make the log-mel of the second ending at ``end`` (non-decreasing)."""
        first = round((end - 1.0) * SAMPLE_RATE)
        while not self._finished and (self._end is None or self._end < first + EXAMPLE_SAMPLES):
            self._read(first)
        self._pieces = [(at, piece) for at, piece in self._pieces if at + len(piece) > first]
        window = np.zeros(EXAMPLE_SAMPLES, np.float32)
        for at, piece in self._pieces:
            here = slice(max(0, at - first), max(0, min(EXAMPLE_SAMPLES, at + len(piece) - first)))
            from_piece = max(0, first - at)
            window[here] = piece[from_piece : from_piece + max(0, here.stop - here.start)]
        return window

    def close(self) -> None:
        """Close the file."""
        self._incoming.close()

    def _read(self, first: int) -> None:
        """Take the next piece; kept where it reaches beyond the sample ``first``."""
        piece = next(self._incoming, None)
        if piece is None:
            self._finished = True
            return
        self._end = piece[0] + len(piece[1])
        if self._end > first:
            self._pieces.append(piece)

    def _resampled(self, sound: Sound, start: float) -> Iterator[tuple[int, np.ndarray]]:
        """Pieces of 16 kHz sound and where each starts, over the end of the one before where its clock is slower than
        its samples; a hole, an overlap or a new rate starts a new resampler."""
        resampler, rate, at, expected = None, 0, 0, 0.0
        for time, frame_rate, samples in self._mono(sound, start):
            if resampler is None or frame_rate != rate or not -OVERLAP <= time - expected <= GAP:
                if resampler is not None:
                    yield at, resampler.resample_chunk(np.zeros(0, np.float32), last=True)
                resampler, rate = soxr.ResampleStream(frame_rate, SAMPLE_RATE, 1, dtype="float32"), frame_rate
                at, expected = round(time * SAMPLE_RATE), time
            out = resampler.resample_chunk(samples)
            yield at, out
            at += len(out)
            expected += len(samples) / rate
        if resampler is not None:
            yield at, resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def _mono(self, sound: Sound, start: float) -> Iterator[tuple[float, int, np.ndarray]]:
        """(time in seconds, Hz, mono float32 samples) of each decoded frame; times never run back."""
        with open_input(sound.path) as container:
            stream = container.streams.audio[sound.track - 1]
            if start > 0 and start > (before := max(PREROLL, packet_seconds(sound))):
                seek(container, Fraction(start - before) + sound.zero)
            expected, shift = None, 0.0
            for frame in decode(container, stream, self.damage):
                if not frame.samples or not frame.sample_rate:
                    continue
                time = _start(frame, stream, sound.zero, expected)
                if expected is not None and time + shift < expected - SET_BACK:
                    shift = expected - time
                time += shift
                yield time, frame.sample_rate, folded(frame)
                expected = time + frame.samples / frame.sample_rate


def _start(frame: AudioFrame, stream: Stream, zero: Fraction, expected: float | None) -> float:
    if frame.pts is None:
        return expected or 0.0
    return float(frame.pts * (frame.time_base or tick_of(stream)) - zero)


def folded(frame: AudioFrame) -> np.ndarray:
    """The channels of a decoded frame as one, (samples,) float32: their mean, of surround sound by ``SHARES``.

    The mean of six would hear what comes from the centre alone, as speech in films does, 16 dB too quiet.
    """
    shares = [SHARES.get(channel.name) for channel in frame.layout.channels]
    if len(shares) < 3 or None in shares:
        return mono(frame)
    return np.array(shares, np.float32) @ np.stack([_mean(channel[None]) for channel in _channels(frame)])


def mono(frame: AudioFrame) -> np.ndarray:
    """The mean of the channels of a decoded frame, (samples,) float32 in [-1, 1], as AVSBench takes it."""
    return _mean(_channels(frame))


def _mean(channels: np.ndarray) -> np.ndarray:
    """Of samples in the type they have, (channels, samples) -> (samples,) float32 in [-1, 1]."""
    if channels.dtype.kind == "f":
        return channels.mean(0, dtype=np.float32)
    if channels.dtype == np.uint8:
        return channels.mean(0, dtype=np.float32) / 128 - 1
    return channels.mean(0, dtype=np.float64).astype(np.float32) / np.float32(-float(np.iinfo(channels.dtype).min))


def _channels(frame: AudioFrame) -> np.ndarray:
    """The samples of a frame in the type they have, (channels, samples)."""
    values = frame.to_ndarray()
    return values if frame.format.is_planar else values.reshape(-1, len(frame.layout.channels)).T


class SoundPackets:
    """The undecoded packets of a sound track between ``start`` and ``end`` seconds, timed from ``start``.

    They end with the span as nearly as packets can, PCM to the sample. ``stream`` is the template a muxer needs; it
    lives until ``close``. ``length``: seconds of sound, None where the last packet decides.
    """

    def __init__(self, sound: Sound, start: float = 0.0, end: float | None = None) -> None:
        self.sound, self.damage = sound, Damage()
        self._container = open_input(sound.path)
        self.stream: Stream = self._container.streams.audio[sound.track - 1]
        self._offset = round((sound.zero + Fraction(start)) / tick_of(self.stream))
        self._from_start = start <= 0
        self.length = None if end is None else Fraction(end) - Fraction(start)
        if end is None and self._container.format.name == "gxf" and self.stream.duration:  # blocks reach past that
            declared = (self.stream.start_time or 0) + self.stream.duration
            self.length = (declared - self._offset) * tick_of(self.stream)
        self.lasting = 0.0 if self._from_start and end is None else packet_seconds(sound)  # a packet, about
        if start > 0:
            seek(self._container, sound.zero + Fraction(start - self.lasting))

    def __iter__(self) -> Iterator[Packet]:
        for packet in self.touched():
            assert packet.pts is not None  # as all that are touched
            first, left = -packet.pts * packet.time_base, None
            if self.length is not None:
                left = self.length + first
            if (first > 0 and not self._from_start) or (
                left is not None and left < (packet.duration or 0) * packet.time_base
            ):
                packet = self._cut(packet, max(Fraction(0), first), left)
            if packet is not None:
                yield packet

    def touched(self) -> Iterator[Packet]:
        """Whole, all packets of which some lies in the span; the first may begin before 0."""
        back, shift, due = round(SET_BACK / tick_of(self.stream)), 0, None  # ticks
        usual = round(self.lasting / tick_of(self.stream))
        for packet in demux(self._container, self.stream, self.damage):
            pts = packet.dts if packet.pts is None else packet.pts
            if pts is None:
                continue
            if due is not None and pts + shift < due - back:  # the file's clock was set back: go on where it was
                shift = due - pts
            pts += shift
            due = pts + (packet.duration or 0)
            if not self._from_start and pts < self._offset and pts + (packet.duration or usual) <= self._offset:
                continue
            if self.length is not None and (pts - self._offset) * tick_of(self.stream) >= self.length:
                return
            packet.dts = (pts if packet.dts is None else packet.dts + shift) - self._offset
            packet.pts = pts - self._offset
            yield packet

    def _cut(self, packet: Packet, first: Fraction, left: Fraction | None) -> Packet | None:
        """PCM from ``first`` to ``left`` seconds of the packet; others are there whole, if they do not begin early."""
        kind = PCM.fullmatch(self.stream.codec_context.name)
        if kind is None:
            return packet if first == 0 else None
        sample = self.stream.channels * int(kind[1]) // 8  # bytes
        begin = int(first * self.stream.rate) * sample
        end = packet.size if left is None else min(packet.size, int(left * self.stream.rate) * sample)
        if begin >= end or end - begin == packet.size:
            return packet if begin == 0 else None
        cut = Packet(bytes(packet)[begin:end])
        cut.stream, cut.time_base = packet.stream, packet.time_base
        assert packet.pts is not None and packet.dts is not None
        moved = round(first / packet.time_base)
        cut.pts, cut.dts = packet.pts + moved, packet.dts + moved
        cut.duration = round(Fraction((end - begin) // sample, self.stream.rate) / packet.time_base)
        return cut

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def packet_seconds(sound: Sound) -> float:
    """How much sound a packet holds, by the longest of the first few: milliseconds mostly, of WavPack up to 8 s."""
    with open_input(sound.path) as container:
        stream = container.streams.audio[sound.track - 1]
        frames = islice(decode(container, stream, Damage()), LOOKED_AT)  # packets do not say it of every codec
        return max((frame.samples / frame.sample_rate for frame in frames if frame.sample_rate), default=0.0)


def changes_form(sound: Sound) -> bool:
    """Whether AAC that tells its form in each packet, as in transport streams, changes rate or channels on the way.

    Other containers tell the form of AAC once, so that players lose what comes after the change.
    """
    with open_input(sound.path) as container:
        stream = container.streams.audio[sound.track - 1]
        if stream.codec_context.name != "aac" or stream.codec_context.extradata:
            return False
        forms = {_adts_form(packet) for packet in demux(container, stream, Damage())} - {None}
    return len(forms) > 1


def _adts_form(packet: Packet) -> tuple[int, int] | None:
    """Profile, rate and channels as an ADTS header has them; None where there is none."""
    data = memoryview(packet)
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
        return None
    return data[2] & 0xFD, data[3] & 0xC0
