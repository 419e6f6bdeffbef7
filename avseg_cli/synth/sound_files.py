"""Sound files in and out: 16 kHz mono float32 inside, 16-bit WAV on disk."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np

from avseg_cli.base.errors import DataError

SAMPLE_RATE = 16_000  # Hz, what VGGish hears


def decode_sound(source: Path | bytes) -> np.ndarray:
    """Decode any sound file (a path or its bytes) to float32 mono (samples,) at 16 kHz.

    Raises DataError when it holds no decodable sound.
    """
    import av
    from av.error import FFmpegError

    archived = isinstance(source, bytes)
    name, file = ("the archived sound", io.BytesIO(source)) if archived else (str(source), str(source))
    try:
        with av.open(file, metadata_errors="replace") as container:  # titles are in any encoding
            resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
            pieces = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
            pieces += [out.to_ndarray()[0] for out in resampler.resample(None)]
    except (FFmpegError, IndexError) as error:
        raise DataError(f"{name} holds no readable sound ({error}); remove or replace it") from error
    if not pieces:
        raise DataError(f"{name} has no sound behind its header; remove or replace it")
    return np.concatenate(pieces).astype(np.float32)


def read_wav(path: Path) -> np.ndarray:
    """Read a sound as float32 mono at 16 kHz; the fast path is the 16-bit WAV that ``write_wav`` makes."""
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, SAMPLE_RATE):
                return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    except (wave.Error, EOFError):
        pass  # not a plain WAV: let the decoder find out what it is
    return decode_sound(path)


def wav_bytes(waveform: np.ndarray) -> bytes:
    """Encode float32 mono (samples,) in [-1, 1] as a 16-bit WAV at 16 kHz."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
