"""Scenes composed of photographs and sounds: seconds in which things on a still picture sound, and seconds in which
nothing on it does.

A scene shows a picture, or the halves of two, and has a sound for every second: of a thing that is seen, perhaps of
another one too, for all of the time or for a part of it; of something that is not there; of nobody.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from avseg_cli.base.errors import DataError
from avseg_cli.data.dataset import Sample
from avseg_cli.data.photo_features import PhotoFeatures, View
from avseg_cli.data.photo_views import UNKNOWN
from avseg_cli.data.sound_features import SoundFeatures
from avseg_cli.model import kinds
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.kinds import NO_SOUND

DOUBTED = 253  # label of ground where a mask may not be complete: what sounds may be there as well
MADE_BY = 0.7  # likelihood from which a sound of a kind is one that a thing of a kind makes
VISIBLE = 0.003  # share of the picture
FEWEST_SECONDS, EVEN = 3, 60  # of a kind of sound that is used; views up to which all kinds come alike
PEOPLE = 3.0  # people are drawn so much more often: most films show some
CHOSEN, HALVES, SECOND_SOURCE, OFF_SCREEN = 0.82, 0.3, 0.4, 0.15  # how often
SILENT_PICTURE = 0.03  # of the scenes with a known thing: nothing sounds at all
ALL_ALONG = 0.4
UNSURE, TRACE = 0.5, 0.12  # how often a pause is not heard for sure as one, and how much of a sound is heard in it then


@dataclass
class SceneSample(Sample):
    """features: of the picture at strides 4, 8, 16, 32; sound: (T, H); truth: uint8 (T, 4g, 4g), 255 unknown."""

    features: list[Tensor] = field(default_factory=list)
    sound: Tensor | None = None
    truth: Tensor | None = None


@dataclass
class _Picture:
    features: list[Tensor]
    labels: Tensor
    complete: bool


@dataclass
class _Track:
    """A sound vector for every second, and the things that are to be marked in it."""

    sound: Tensor
    marked: list[set[str]]

    def play(self, vectors: Tensor, span: Sequence[int], things: set[str], over: bool = True) -> None:
        """Sound in the seconds ``span``; with what sounds there already, or in its place."""
        for second, vector in zip(span, vectors, strict=True):
            if not over:
                self.marked[second] = set()
            heard_too = self.marked[second] and things
            self.sound[second] = torch.maximum(self.sound[second], vector) if heard_too else vector
            self.marked[second] |= things


class Scenes:
    """Draws scenes from some views of photographs and the sounds of all kinds."""

    def __init__(
        self, photos: PhotoFeatures, views: Sequence[View], sounds: SoundFeatures, vectors: Tensor, config: ModelConfig
    ) -> None:
        self.photos, self.views, self.vectors = photos, list(views), vectors
        self.heard, self.seen, self.seconds = config.kinds, config.seen_kinds, config.clip_frames
        self.relation = kinds.relation(self.heard, self.seen)
        self.sounds = _by_source(sounds, self.heard)
        self.showing = {
            kind: [view for view in views if view.kinds.get(kind, 0) > VISIBLE] for kind in self.seen
        }  # fmt: skip
        self.makers = makers(self.sounds, config)
        self.things = composable([kind for kind in self.seen if self.showing[kind]], self.makers)
        weight = np.array(
            [min(len(self.showing[k]), EVEN) ** 0.5 * (PEOPLE if k == "person" else 1) for k in self.things]
        )
        self.chances = weight / weight.sum()
        self.complete = [view for view in self.views if view.complete] or self.views

    # --- pictures

    def _a_thing(self, rng: np.random.Generator) -> str:
        return self.things[rng.choice(len(self.things), p=self.chances)]

    def _showing(self, thing: str, rng: np.random.Generator) -> View:
        views = self.showing[thing]
        return views[rng.integers(len(views))]

    def _any(self, rng: np.random.Generator) -> View:
        return self.complete[rng.integers(len(self.complete))]

    def _read(self, view: View) -> _Picture:
        labels = self.photos.labels(view.row)
        if not view.complete:
            labels[labels == 0] = DOUBTED
        return _Picture(self.photos.features(view.row), labels, view.complete)

    def _visible(self, labels: Tensor) -> list[str]:
        shares = torch.bincount(labels.flatten().long(), minlength=UNKNOWN + 1) / labels.numel()
        return [kind for i, kind in enumerate(self.seen) if shares[1 + i] > VISIBLE]

    # --- sounds

    def _sound(self, kind: str, count: int, rng: np.random.Generator) -> Tensor:
        """So many seconds of a kind: of one source, or of any."""
        sources = self.sounds[kind]
        rows = sources[rng.integers(len(sources))]
        if len(rows) < FEWEST_SECONDS and rng.random() < 0.5:
            rows = np.concatenate(sources)
        return self.vectors[rng.choice(rows, count)]

    def _pause(self, rng: np.random.Generator) -> Tensor:
        """A second of the noise of a place: in films often heard less clearly, with a trace of this or that."""
        noise = self._sound(NO_SOUND, 1, rng)[0]
        if rng.random() >= UNSURE:
            return noise
        kind = list(self.sounds)[rng.integers(len(self.sounds))]
        return torch.maximum(noise * rng.random(), self._sound(kind, 1, rng)[0] * (TRACE * rng.random()))

    def _made_by(self, kind: str, visible: Sequence[str]) -> set[str]:
        row = self.relation[self.heard.index(kind)]
        return {thing for thing in visible if row[self.seen.index(thing)] >= MADE_BY}

    def _nowhere(self, visible: Sequence[str]) -> list[str]:
        """Kinds of sounds that nothing on the picture could make."""
        columns = [self.seen.index(thing) for thing in visible]
        silent = (self.relation[:, columns] == 0).all(1)
        return [k for k, alone in zip(self.heard, silent, strict=True) if alone and k != NO_SOUND and k in self.sounds]

    # --- scenes

    def draw(self, rng: np.random.Generator, number: int = 0) -> SceneSample:
        """A scene; the same from the same randomness."""
        thing = self._a_thing(rng) if rng.random() < CHOSEN else None
        view = self._showing(thing, rng) if thing else self._any(rng)
        picture = self._read(view)
        if rng.random() < HALVES:
            beside = self._any(rng) if rng.random() < 0.5 else self._showing(self._a_thing(rng), rng)
            picture = halves(picture, self._read(beside), rng)
        visible = self._visible(picture.labels)
        track = self._track(thing if thing in visible else None, visible, picture.complete, rng)
        truth = torch.stack([self._truth(picture.labels, marked) for marked in track.marked])
        features = picture.features
        if rng.random() < 0.5:
            features, truth = [feature.flip(-1) for feature in features], truth.flip(-1)
        return SceneSample(number, f"scene of view {view.row}", features=features, sound=track.sound, truth=truth)

    def _track(self, thing: str | None, visible: list[str], complete: bool, rng: np.random.Generator) -> _Track:
        """The noise of the place, and over it what sounds."""
        pauses = torch.stack([self._pause(rng) for _ in range(self.seconds)])
        track = _Track(pauses, [set() for _ in range(self.seconds)])
        span = self._span(rng)
        lot = rng.random()
        elsewhere = self._nowhere(visible) if complete else []
        if thing is not None and lot < 1 - OFF_SCREEN - SILENT_PICTURE:
            self._play(track, thing, span, visible, rng)
            others = [kind for kind in visible if kind != thing and self.makers[kind]]
            if others and rng.random() < SECOND_SOURCE:
                self._play_second(track, others[rng.integers(len(others))], span, visible, rng)
        elif elsewhere and lot < 1 - SILENT_PICTURE:
            kind = elsewhere[rng.integers(len(elsewhere))]
            track.play(self._sound(kind, len(span), rng), span, set())
        return track

    def _play(
        self, track: _Track, thing: str, span: Sequence[int], visible: list[str], rng: np.random.Generator,
        over: bool = True,
    ) -> None:  # fmt: skip
        kind = self.makers[thing][rng.integers(len(self.makers[thing]))]
        track.play(self._sound(kind, len(span), rng), span, self._made_by(kind, visible), over)

    def _play_second(
        self, track: _Track, thing: str, taken: Sequence[int], visible: list[str], rng: np.random.Generator
    ) -> None:
        """Another source: when the first is silent, or now and then over it or in its place."""
        if rng.random() < 0.5:
            self._play(track, thing, [s for s in range(self.seconds) if s not in taken], visible, rng)
            return
        for second in sorted(rng.choice(self.seconds, int(rng.integers(1, max(2, self.seconds - 1))), replace=False)):
            self._play(track, thing, [int(second)], visible, rng, over=bool(rng.random() < 0.5))

    def _span(self, rng: np.random.Generator) -> list[int]:
        """The seconds in which something sounds: all, or some in the middle."""
        if rng.random() < ALL_ALONG:
            return list(range(self.seconds))
        half = self.seconds // 2 + 1
        return list(range(int(rng.integers(half)), int(rng.integers(half, self.seconds + 1))))

    def _truth(self, labels: Tensor, marked: set[str]) -> Tensor:
        codes = torch.tensor([1 + self.seen.index(kind) for kind in sorted(marked)], dtype=labels.dtype)
        truth = torch.isin(labels, codes).to(torch.uint8)
        truth[labels == UNKNOWN] = UNKNOWN
        if marked:
            truth[labels == DOUBTED] = UNKNOWN
        return truth


def makers(heard: Container[str], config: ModelConfig) -> dict[str, list[str]]:
    """For each kind of thing, the kinds of sounds of ``heard`` that it makes."""
    columns = zip(config.seen_kinds, kinds.relation(config.kinds, config.seen_kinds).T, strict=True)
    return {
        thing: [kind for kind, likely in zip(config.kinds, column, strict=True) if likely >= MADE_BY and kind in heard]
        for thing, column in columns
    }


def composable(shown: Container[str], made: dict[str, list[str]]) -> list[str]:
    """The kinds of things that are shown and have sounds. Raises ``DataError`` where there is none."""
    found = [thing for thing, sounds in made.items() if thing in shown and sounds]
    if not found:
        raise DataError("no kind of thing has both photographs and sounds; list some of one kind in both folders")
    return found


def halves(one: _Picture, other: _Picture, rng: np.random.Generator) -> _Picture:
    """The left of one picture and the right of another, or the other way round; cut between tokens of stride 32."""
    coarsest = one.features[-1].shape[-1]
    cut = int(rng.integers(max(1, round(0.3 * coarsest)), max(2, round(0.7 * coarsest) + 1)))
    left, right = (one, other) if rng.random() < 0.5 else (other, one)

    def joined(a: Tensor, b: Tensor) -> Tensor:
        at = cut * a.shape[-1] // coarsest
        return torch.cat([a[..., :at], b[..., at:]], -1)

    features = [joined(a, b) for a, b in zip(left.features, right.features, strict=True)]
    return _Picture(features, joined(left.labels, right.labels), one.complete and other.complete)


def _by_source(sounds: SoundFeatures, heard: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """For each kind with enough seconds of it alone, the rows of each source."""
    alone = sounds.kinds.sum(1) == 1
    found: dict[str, list[np.ndarray]] = {}
    for number, kind in enumerate(heard):
        rows = torch.nonzero(alone & (sounds.kinds[:, number] > 0))[:, 0]
        if len(rows) > FEWEST_SECONDS:
            sources = sounds.sources[rows]
            found[kind] = [rows[sources == source].numpy() for source in sources.unique()]
    return found
