"""Opening media files: every container is opened here, and what goes wrong is said in one sentence."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition, Stream

from avseg_cli.base.errors import InputError, NoSoundError, named
from avseg_cli.base.text import counted

if TYPE_CHECKING:
    from av.frame import Frame
    from av.packet import Packet

# a file of these kinds is a list of other files or addresses: what it names was not given to us to read
REFERRING = ("concat", "hls", "applehttp", "dash", "imf", "sdp", "rtsp", "rtp", "lavfi", "image2", "tty")
LOCAL = {"protocol_whitelist": "file"}
MAX_DEMUX_ERRORS = 200  # in a row; beyond this nothing more can be read


def tick_of(opened: Stream | Packet | Frame) -> Fraction:
    """The seconds in which an open stream, and what was read from it, counts: there is always one."""
    assert opened.time_base is not None
    return opened.time_base


@dataclass
class Damage:
    """What could not be read as it should have been, counted while reading."""

    packets: int = 0  # could not be decoded
    frames: int = 0  # decoded with errors, shown as the decoder concealed them
    timestamps: int = 0  # frames left out because their time repeated
    out_of_order: int = 0  # frames whose time ran backwards, before times were sorted
    resets: int = 0  # times that the file's clock was set back
    passed_over: float = 0.0  # seconds at the end of pictures held for too long to be looked at all the time
    encrypted: bool = False  # so that nothing was read
    notes: list[str] = field(default_factory=list)

    def warnings(self) -> list[str]:
        """One sentence for each kind of damage met."""
        found = list(self.notes)
        if self.encrypted:
            found.append("it is encrypted, so nothing of it could be read")
        if self.packets:
            found.append(f"{counted(self.packets, 'damaged packet')} could not be decoded")
        if self.frames:
            found.append(f"{counted(self.frames, 'frame')} decoded with errors")
        if self.timestamps:
            found.append(f"{counted(self.timestamps, 'frame')} with repeated timestamps left out")
        if self.resets:
            found.append(f"the file's clock was set back ({self.resets} x); what follows goes on where it was")
        if self.out_of_order:
            found.append(f"{counted(self.out_of_order, 'frame')} had timestamps out of order, which were sorted")
        if self.passed_over >= 0.1:
            found.append(
                "a picture is held for more than a minute: no mask is made for the rest of that, "
                f"{self.passed_over:.1f} s in all, whatever sounds"
            )
        return found


def open_input(path: Path) -> InputContainer:
    """Open ``path`` for reading; raises ``InputError`` saying why it cannot be read."""
    facts = _facts(path)
    if stat.S_ISDIR(facts.st_mode):
        raise InputError(f"{path}: is a folder, not a video")
    if not stat.S_ISREG(facts.st_mode):
        raise InputError(f"{path}: is a pipe or a device, which can be read only once; write it to a file first")
    if facts.st_size == 0:
        raise InputError(f"{path}: the file is empty")
    try:
        # the absolute path cannot be mistaken for a protocol ("a:b.mp4") nor for an option
        container = av.open(os.path.abspath(path), metadata_errors="replace", options=LOCAL)
    except InvalidDataError as error:
        raise InputError(f"{path}: not a video, or a file cut off before its index; get a whole copy of it") from error
    except PermissionError as error:
        if _can_be_read(path):  # FFmpeg's own refusal of what a list of files names
            raise _refers(path) from error
        raise InputError(f"{path}: may not be read (permission denied)") from error
    except (FFmpegError, OSError) as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror or error})") from error
    if not {*container.format.name.split(",")}.isdisjoint(REFERRING):
        container.close()
        raise _refers(path)
    return container


def _can_be_read(path: Path) -> bool:
    """Whether it can be opened: permissions alone do not tell, as of a network's drive, or in a container."""
    try:
        with open(path, "rb"):
            return True
    except OSError:
        return False


def _refers(path: Path) -> InputError:
    return InputError(f"{path}: is a list of other files or addresses, not a video; give those it names")


def _facts(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        raise InputError(f"{path}: {'no such file' if missing else f'may not be read ({error.strerror})'}") from error


@contextmanager
def spooled(source: str | Path) -> Iterator[Path]:
    """A seekable file with the bytes of ``source``: itself, or a temporary copy of a pipe or of stdin (``-``).

    A pipe cannot be read twice, nor an MP4 whose index is at its end from one.
    """
    path = Path(source)
    mode = 0 if str(source) == "-" else _facts(path).st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise InputError(f"{path}: is a device, not a video; record it to a file first")
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="avseg-") as folder:
        copy = Path(folder) / ("stdin" if str(source) == "-" else path.name or "pipe")
        pipe = 0 if str(source) == "-" else str(path)
        with open(pipe, "rb", closefd=pipe != 0) as reader, open(copy, "wb") as writer:
            while block := reader.read(1 << 20):
                writer.write(block)
        yield copy


def video_stream(container: InputContainer, path: Path) -> Stream:
    """The main picture track, never the cover of a song. Raises ``InputError`` when there is none."""
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        raise InputError(f"{path}: has no video stream, so there is nothing to segment; give a video file")
    best = container.streams.best("video")
    return best if best in moving else moving[0]


def audio_stream(container: InputContainer, path: Path, track: int | None, related: Stream | None) -> Stream:
    """The sound track to use: number ``track`` (from 1), or the one that belongs to the picture.

    Raises ``NoSoundError`` when there is none, ``InputError`` when there are not that many.
    """
    tracks = container.streams.audio
    if not tracks:
        raise NoSoundError(f"{path}: has no sound; give it with {named('audio')} FILE (a recording, or another video)")
    if track is None:
        return container.streams.best("audio", related=related) or tracks[0]
    if not 1 <= track <= len(tracks):
        raise InputError(
            f"{path}: has {counted(len(tracks), 'sound track')}, so there is no {named('audio_track')} {track}"
        )
    return tracks[track - 1]


def clock_zero(container: InputContainer) -> Fraction:
    """The container's time, in seconds, that counts as 0: when its first picture or sound starts."""
    streams = [
        s for s in (*container.streams.video, *container.streams.audio) if s.start_time is not None and s.time_base
    ]
    streams = [s for s in streams if not s.disposition & Disposition.attached_pic]
    starts = [(s.start_time or 0) * tick_of(s) for s in streams]
    if starts and min(starts) >= 0:
        return min(starts)
    # a sound encoder's priming comes before 0 without being heard: only pictures can move the clock there
    return min([(s.start_time or 0) * tick_of(s) for s in streams if s.type == "video"], default=Fraction(0))


def demux(container: InputContainer, stream: Stream, damage: Damage) -> Iterator[Packet]:
    """The packets of one stream, going on after damage where the container can; the last one is the flush.

    Those of an encrypted stream end at once.
    """
    packets = container.demux(stream)
    failures = 0
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except IndexError:  # PyAV's, for a packet of a track that the file had not named at its beginning
            packets = container.demux(stream)
            continue
        except FFmpegError:
            damage.packets += 1
            failures += 1
            if failures > MAX_DEMUX_ERRORS:
                return
            packets = container.demux(stream)
            continue
        failures = 0
        if packet.has_sidedata("encryption_info"):
            damage.encrypted = True
            return
        yield packet


def decode(container: InputContainer, stream: Stream, damage: Damage) -> Iterator:
    """The frames of one stream; a packet that cannot be decoded is counted, and the next one is tried."""
    for packet in demux(container, stream, damage):
        try:
            frames = packet.decode()
        except (FFmpegError, ValueError):
            damage.packets += 1
            continue
        yield from frames


def seek(container: InputContainer, seconds: Fraction) -> None:
    """Move to a key frame at or before ``seconds`` of the container's own time, where the format can."""
    try:
        container.seek(int(seconds * av.time_base), backward=True)
    except FFmpegError:
        container.seek(0)
