"""A page for the browser: the video with its overlay on and off, what was heard, and what sounds when.

For several inputs also index.avseg.html, which leads to all of them.
"""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from avseg_cli.base.text import clock, counted
from avseg_cli.base.whole_files import discard
from avseg_cli.media.codecs import Codec
from avseg_cli.media.video import Picture, Video
from avseg_cli.outputs.borders import Borders
from avseg_cli.outputs.changes import Changes
from avseg_cli.outputs.formats import Format
from avseg_cli.outputs.formats.side_by_side import SideBySideWriter
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.snapshots import Snapshot, Snapshots
from avseg_cli.outputs.sound_picture import SoundPicture, sound_picture
from avseg_cli.outputs.source_rows import ROWS, source_rows
from avseg_cli.outputs.spans import HeardSecond, spans
from avseg_cli.outputs.unmarked import in_words
from avseg_cli.outputs.writers import Job, Writer
from avseg_cli.pages.html import lines_of_json, page, picture_uri, stamp, write

SUFFIX = ".avseg.html"
FLAG = True
EMBEDDED = 25_000_000  # bytes of video up to which a page carries it; longer ones lie beside the page
SHOWN = 60  # changes with a picture, at most
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)  # seconds between times written on the axis
STEPS = 4000  # of the drawn area, at most
NAMED = 3  # kinds of sounds told of one instant, at most


class _PageMovie(SideBySideWriter):
    """Original and overlay in one video, so that a page can switch between them without losing a frame."""

    box = (640, 640)
    codecs = (
        # key frames each two seconds of 25, so that a click on the timeline is answered at once
        Codec("libx264", "yuv420p", {"preset": "veryfast", "crf": "25", "g": "50"}),
        Codec("libopenh264", "yuv420p", {"b": "2M", "g": "50"}),
    )
    copied_sound = frozenset(("aac", "mp3", "opus", "flac"))  # what browsers play in MP4


@dataclass(frozen=True)
class Moment:
    """A change of what sounds: since when, the time of its picture, what happens, how much (0 to 1)."""

    since: float  # seconds
    time: float  # seconds
    what: str
    strength: float
    fraction: float
    heard: str  # in words
    picture: str  # a data: address


class Mask(NamedTuple):
    """What the page knows of each mask: its own time and where its stretch ends, in seconds, share of the picture,
    confidence, what is heard in words, and why nothing is marked where a rule says so."""

    time: float
    end: float
    fraction: float
    confidence: float
    heard: str
    unmarked: str


class ReportWriter(Writer):
    """One page of HTML. It carries its video up to ``EMBEDDED`` bytes; a larger one lies beside it."""

    draws = True

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        self._changes, self._snapshots = Changes(job.threshold), Snapshots(job, 320, 240)
        self._borders = Borders(job.span[0])
        self._named: dict[int, tuple[float, str, float]] = {}  # mask -> change, until its picture passes
        self._moments: list[Moment] = []  # where there are too many, the strongest
        self._count = 0  # of all moments
        self._poster: Snapshot | None = None  # where most of the picture sounds
        self._masks: list[Mask] = []
        self._heard: list[HeardSecond] = []
        self._linked = False
        self._movie = _PageMovie(report_video(path), job)

    def take(self, result: MaskResult) -> None:
        self._movie.take(result)
        fraction = result.area / result.mask.size
        heard, since, gone = (round(seconds, 3) for seconds in self._borders.step(result))
        if self._masks:
            self._masks[-1] = self._masks[-1]._replace(end=gone)
        end, sure = round(result.end, 3), round(result.confidence, 4)
        words = result.hears(NAMED), result.unmarked
        self._masks.append(Mask(round(result.time, 3), end, round(fraction, 5), sure, *words))
        self._heard.append(HeardSecond(heard, end, result.called, result.known[0][1] if result.known else None))
        change = self._changes.step(result)
        if change:
            self._named[result.index] = (since, *change)
        if change or result.index == 0:
            self._snapshots.want(result)

    def draw(self, picture: Picture, logits: np.ndarray, numbers: np.ndarray) -> VideoFrame:
        for snapshot in self._snapshots.look(picture):
            self._keep(snapshot)
        return self._movie.draw(picture, logits, numbers)

    def _keep(self, snapshot: Snapshot) -> None:
        if self._poster is None or snapshot.fraction > self._poster.fraction:
            self._poster = snapshot
        if snapshot.result.index not in self._named:
            return
        since, what, strength = self._named.pop(snapshot.result.index)
        picture = picture_uri(Image.fromarray(snapshot.pixels), quality=80)
        time, heard = snapshot.result.time, snapshot.result.hears(NAMED)
        self._moments.append(Moment(since, time, what, strength, snapshot.fraction, heard, picture))
        self._count += 1
        if len(self._moments) > 2 * SHOWN:
            self._moments = _strongest(self._moments)

    def write(self, frame: VideoFrame) -> None:
        self._movie.write(frame)

    def end(self) -> None:
        self._movie.end()

    @property
    def losses(self) -> list[str]:
        return self._movie.losses

    def finish(self, summary: dict[str, Any]) -> None:
        self._linked = self._movie.partial.stat().st_size > EMBEDDED
        start, end = self.job.span[0], max(mask.end for mask in self._masks)
        sound = sound_picture(self.job.video.sound, start, end)
        write(self.partial, self._page(sound, summary))

    def _page(self, sound: SoundPicture, summary: dict[str, Any]) -> str:
        video = self.job.video
        moments = _strongest(self._moments)
        listed = [
            {
                "since": m.since,
                "time": round(m.time, 3),
                "what": m.what,
                "fraction": round(m.fraction, 5),
                "heard": m.heard,
            }
            for m in moments
        ]
        facts = {
            "format": "avseg-report-1",
            **self.job.about,
            "video": video.to_dict(),
            **summary,
            "changes": listed,
        }
        rows = [mask._asdict() for mask in self._masks]
        movie = None if self._linked else base64.b64encode(self._movie.partial.read_bytes()).decode()
        return page(
            "segment.html",
            **stamp(), title=video.path.name,
            card=self._card(sound, summary), facts=lines_of_json(facts, "masks", rows), about=self._about(summary),
            warnings=summary["warnings"], moments=[asdict(moment) for moment in moments],
            start=sound.start, length=sound.end - sound.start, ticks=_ticks(sound),
            width=self._movie.half.width, height=self._movie.half.height, movie=movie,
            movie_file=self._movie.path.name, wave=_wave(sound), mel=_spectrogram(sound),
            area=_area(sound, self._masks), most=max(mask.fraction for mask in self._masks),
            spans=spans(self._heard), sources=source_rows(summary.get("tracks", []), self.job.style.color),
            unmarked=", ".join(summary["unmarked"]), untold=max(0, len(summary.get("tracks", [])) - ROWS),
        )  # fmt: skip

    def _card(self, sound: SoundPicture, summary: dict[str, Any]) -> dict[str, Any]:
        """What a list of reports says of this one."""
        assert self._poster is not None, "every video has a mask"
        poster = Image.fromarray(self._poster.pixels)
        poster.thumbnail((240, 180))
        return {
            "title": self.job.video.path.name, "length": round(sound.end - sound.start, 3),
            "masks": len(self._masks), "changes": self._count, "warnings": summary["warnings"],
            "sounding": round(float(np.mean([mask.fraction > 0 for mask in self._masks])), 4),
            "heard": ", ".join(name for name, _ in self._heard_most()),
            "poster": picture_uri(poster, "WEBP", quality=60),  # half of a JPEG; an index copies it
        }  # fmt: skip

    def _heard_most(self) -> list[tuple[str, int]]:
        """What is heard most, and in how many masks."""
        return Counter(second.name for second in self._heard if second.name).most_common(NAMED)

    def _about(self, summary: dict[str, Any]) -> list[tuple[str, str]]:
        """The facts a person asks for first."""
        video, settings = self.job.video, self.job.about["settings"]
        areas = np.array([mask.fraction for mask in self._masks])
        share, area = 100 * float((areas > 0).mean()), 100 * float(areas.mean())
        heard = ", ".join(f"{name} in {100 * count / len(areas):.0f} %" for name, count in self._heard_most())
        unmarked = in_words(summary["unmarked"], len(areas))
        return [
            ("video", f"{video.width} x {video.height}, {float(video.rate):g} frames/s, {video.codec}"),
            ("sound", _sound_facts(video)),
            ("model", self.job.about["model"]["told"]),
            ("masks", f"{settings['fps']:g} a second"),
            ("sounds", f"in {share:.0f} % of {counted(len(areas), 'mask')}; {area:.1f} % of the picture on average"),
            *([("unmarked", unmarked)] if unmarked else []),
            *([("heard most", f"{heard} of the masks")] if heard else []),
        ]

    def commit(self) -> None:
        if self._linked:
            self._movie.commit()
        else:
            discard(self._movie.partial)
            discard(self._movie.path)  # of an earlier page, now replaced
        super().commit()

    def abort(self) -> None:
        self._movie.abort()
        super().abort()


def _strongest(moments: list[Moment]) -> list[Moment]:
    """At most ``SHOWN`` moments, those of the greatest change, in order of time."""
    kept = sorted(moments, key=lambda moment: -moment.strength)[:SHOWN]
    return sorted(kept, key=lambda moment: moment.time)


def _sound_facts(video: Video) -> str:
    sound = video.sound
    other = "" if sound.path == video.path else f" of {sound.path.name}"
    return f"{sound.codec}, {sound.sample_rate} Hz, {sound.channels} channel{'s' * (sound.channels != 1)}{other}"


def _ticks(sound: SoundPicture) -> list[tuple[float, str]]:
    """(percent of the timeline, time) of at most eight labels."""
    length = sound.end - sound.start
    step = next((step for step in TICKS if length / step <= 7), TICKS[-1])
    first = int(np.ceil(sound.start / step)) * step
    return [(round(100 * (t - sound.start) / length, 3), clock(t)) for t in np.arange(first, sound.end, step)]


def _wave(sound: SoundPicture) -> str:
    """The waveform's outline as an SVG path in 1000 x 100."""
    across = np.round(np.linspace(0, 1000, len(sound.peaks)), 1)
    up = [f"{x:g},{50 - 48 * y:.0f}" for x, y in zip(across, sound.loudness, strict=True)]
    down = [f"{x:g},{50 + 48 * y:.0f}" for x, y in zip(across, sound.loudness, strict=True)]
    return "M" + " L".join([*up, *reversed(down)]) + "Z"


def _area(sound: SoundPicture, masks: list[Mask]) -> str:
    """The sounding area over time as steps, an SVG path in 1000 x 100; the greatest area is 96 high."""
    together = -(-len(masks) // STEPS)
    ends = [mask.end for mask in masks][together - 1 :: together]
    if len(ends) * together < len(masks):
        ends.append(masks[-1].end)
    fractions = np.array([mask.fraction for mask in masks])
    heights = [fractions[k : k + together].max() for k in range(0, len(fractions), together)]
    scale, length = 96 / max(float(fractions.max()), 1e-9), sound.end - sound.start
    path, left = "M0,100", 0.0
    for end, height in zip(ends, heights, strict=True):
        right = 1000 * (end - sound.start) / length
        path += f" L{left:.2f},{100 - scale * height:.1f} L{right:.2f},{100 - scale * height:.1f}"
        left = right
    return path + " L1000,100Z"


def _spectrogram(sound: SoundPicture) -> str:
    """The log-mel in colours, as a data: address."""
    from matplotlib import colormaps

    image = Image.fromarray(np.ascontiguousarray(sound.brightness))
    image.putpalette((255 * colormaps["magma"](np.arange(256))[:, :3]).astype(np.uint8).tobytes())
    return picture_uri(image, "PNG", optimize=True)


def report_video(page: Path) -> Path:
    """Where the video of a report lies that is too large to be part of the page."""
    return page.with_name(f"{page.stem.removesuffix('.avseg')}.avseg.video.mp4")


def is_whole(page: Path) -> bool:
    """Whether a report is there with its video."""
    return _carries_its_video(page) or report_video(page).exists()


def _carries_its_video(page: Path) -> bool:
    """Whether a report needs no video beside it; the place where it would name one comes early."""
    try:
        with open(page, "rb") as file:
            return b'<video id="video" playsinline preload="auto" src=' not in file.read(1 << 20)
    except OSError:
        return True


FORMAT = Format(
    writer=ReportWriter,
    suffix=SUFFIX,
    files=(".html",),
    several=True,
    indexed=True,
    beside=lambda page: (report_video(page),),
    is_whole=is_whole,
)
