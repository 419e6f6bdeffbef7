"""The attention of a whole video as a video: the picture and its sound on the left, a panel for each map beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from avseg_cli.attention.board import FAINT, PALE, Board, enlarged, grey, outlined, resized, scales, sound_strip
from avseg_cli.attention.instants import ClipLook
from avseg_cli.media.codecs import H264
from avseg_cli.media.movie import Movie
from avseg_cli.media.scale import scaled
from avseg_cli.media.video import BT709, LIMITED_RANGE, Picture, Video
from avseg_cli.motion.timeline import Timeline

MAIN = (640, 480)  # pixels at most, of the picture
PANEL = (256, 192)  # of a map
LEAST_PANEL = 90  # pixels of height
HEIGHT = 860  # of the rows of panels, at most
MARGIN, GAP, LABELS, TOP, LETTERS, SMALL = 24, 6, 150, 64, 20, 15
SOUND, BAR = 150, 16
HEADINGS = {"space": "Where the sound looks", "time": "When the sound looks", "listening": "Which sound pixels hear"}
NOTES = (
    "where: its own frame's pixels · when: its own frame among the clip's",
    "which sound: a pixel's own second among the clip's",
    "all in multiples of an even share: 1 means no preference",
)


@dataclass(frozen=True)
class _Moment:
    """What changes from frame to frame: a vector of the logits and all maps, to be mixed with the next moment's."""

    time: float
    values: np.ndarray


class Screen:
    """The layout of the video, and its pictures; laid out for the first clip, whose colour scales hold for all."""

    def __init__(self, looks: Iterator[ClipLook]) -> None:
        first = next(looks)
        self.rows = first.rows
        self.groups = [name for name in HEADINGS if getattr(first.rows[0], name) is not None]
        self.space, self.time = scales(first.rows)
        self.low, self.grid = first.instants[0].logits.shape, first.rows[0].space.shape[1]
        self._clips: list[ClipLook] = []
        self._strips: dict[int, np.ndarray] = {}
        self._timeline = Timeline(self._moments(first, looks))
        self._lay_out(first.instants[0].picture.shape[1::-1])

    def draw(self, picture: np.ndarray, time: float) -> np.ndarray:
        """The screen at ``time`` seconds, for the video's RGB picture then: uint8 RGB (H, W, 3)."""
        values = self._timeline.at(time).between(attrgetter("values"))
        split = self.low[0] * self.low[1]
        logits, maps = values[:split].reshape(self.low), values[split:].reshape(-1, self.grid, self.grid)
        screen = self._ground.copy()
        paste(screen, outlined(resized(picture, self.main), logits), (MARGIN, TOP))
        dark, large = grey(resized(picture, self.panel)), enlarged(maps, self.panel)
        for place, scale, values in zip(self._places, self._scales, large, strict=True):
            paste(screen, scale.paint(dark, values), place)
        self._draw_sound(screen, time)
        return screen

    def _moments(self, first: ClipLook, looks: Iterator[ClipLook]) -> Iterator[_Moment]:
        clip: ClipLook | None = first
        while clip is not None:
            self._clips = [*self._clips[-1:], clip]
            count = len(clip.instants)
            for index in range(count - clip.new, count):
                maps = [getattr(row, group)[index].ravel() for row in clip.rows for group in self.groups]
                instant = clip.instants[index]
                yield _Moment(instant.time, np.concatenate([instant.logits.ravel(), *maps]))
            clip = next(looks, None)

    def _lay_out(self, picture: tuple[int, int]) -> None:
        self.main = _fit(picture, MAIN)
        rows = max(LEAST_PANEL, min(PANEL[1], HEIGHT // len(self.rows) - GAP))
        self.panel = _fit(picture, (PANEL[0], rows))
        step, down = self.panel[0] + 3 * GAP, self.panel[1] + GAP
        first = MARGIN + MAIN[0] + MARGIN + LABELS
        below = TOP + self.main[1] + MARGIN
        width = first + max(len(self.groups) * step, 240) + MARGIN - 3 * GAP
        height = max(TOP + len(self.rows) * down, below + SOUND + 5 * LETTERS + BAR + 5 * SMALL) + MARGIN
        board = Board((width + width % 2, height + height % 2))
        board.write("what sounds is outlined", (MARGIN, TOP - 14), LETTERS, PALE, "ls")
        for column, group in enumerate(self.groups):
            board.write(HEADINGS[group], (first + column * step, TOP - 14), LETTERS, PALE, "ls")
        for number, row in enumerate(self.rows):
            place = first - 12, TOP + number * down + self.panel[1] // 2
            board.write(row.label, place, LETTERS - 2, PALE, "rm")
        self._sound_place = MARGIN, below
        self._key(board, below + SOUND + 3 * LETTERS)
        self.size, self._ground = board.image.size, board.array()
        pairs = [(number, column) for number in range(len(self.rows)) for column in range(len(self.groups))]
        self._places = [(first + column * step, TOP + number * down) for number, column in pairs]
        self._scales = [self.space if self.groups[column] == "space" else self.time for _, column in pairs]

    def _key(self, board: Board, top: int) -> None:
        bars = [(self.space, "where")] + ([(self.time, "when, which sound")] if len(self.groups) > 1 else [])
        for number, (scale, words) in enumerate(bars):
            left = MARGIN + 8 + number * (MAIN[0] // 2)
            board.bar(scale, (left, top), (150, BAR), SMALL)
            board.write(words, (left + 162, top), SMALL)
        for number, note in enumerate(NOTES):
            board.write(note, (MARGIN, top + BAR + 2 * SMALL + 8 + number * (SMALL + 6)), SMALL, FAINT)

    def _draw_sound(self, screen: np.ndarray, time: float) -> None:
        clip = next((clip for clip in self._clips if time < clip.instants[-1].end), self._clips[-1])
        if id(clip) not in self._strips:
            self._strips = {id(clip): self._strip(clip)}
        strip = self._strips[id(clip)]
        paste(screen, strip, self._sound_place)
        times = [*(instant.end - 1 for instant in clip.instants), clip.instants[-1].end]
        x = round(np.interp(time, times, np.linspace(0, MAIN[0] - 2, len(times))))
        left, top = self._sound_place
        screen[top : top + SOUND, left + x : left + x + 2] = 255

    def _strip(self, clip: ClipLook) -> np.ndarray:
        """Waveform and log-mel of a clip, with the seconds named below."""
        board = Board((MAIN[0], SOUND + 2 * SMALL))
        board.paste(sound_strip(clip.instants, (MAIN[0], SOUND)), (0, 0))
        for left, instant in zip(np.linspace(0, MAIN[0], len(clip.instants) + 1), clip.instants, strict=False):
            board.write(f"{instant.end - 1:.1f} s", (round(left), SOUND + 6), SMALL, FAINT)
        return board.array()


def _fit(picture: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the picture as large as the box takes it."""
    factor = min(box[0] / picture[0], box[1] / picture[1])
    return max(16, round(picture[0] * factor)), max(16, round(picture[1] * factor))


def paste(ground: np.ndarray, picture: np.ndarray, place: tuple[int, int]) -> None:
    """Copy a picture into a larger one, in place; (left, top) in pixels."""
    left, top = place
    ground[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


class AttentionMovie:
    """Writes the screens of one video to ``partial``, at the source's own times and with its sound."""

    def __init__(
        self, partial: Path, path: Path, video: Video, span: tuple[float, float | None], screen: Screen
    ) -> None:
        width, height = screen.size
        facts = {"matrix": BT709, "primaries": BT709, "transfer": BT709, "full_range": False}
        self._video = replace(video, width=width, height=height, rotation=0, aspect=1, **facts)
        self._screen = screen
        self.movie = Movie(partial, path, self._video, H264, span)

    def write(self, picture: Picture) -> None:
        """Draw and encode one picture of the video."""
        drawn = VideoFrame.from_ndarray(self._screen.draw(picture.rgb(), picture.time), format="rgb24")
        frame = scaled(drawn, drawn.width, drawn.height, "yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE)
        frame.pts, frame.time_base = picture.pts, self._video.time_base
        frame.colorspace = frame.color_primaries = frame.color_trc = BT709
        frame.color_range = LIMITED_RANGE
        self.movie.write(frame)
