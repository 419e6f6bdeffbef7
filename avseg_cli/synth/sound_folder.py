"""``avseg synth sounds``: recordings by kind from Debian packages, as ``avseg train --sounds`` reads them.

sound_packages.tsv says which files of which package are which kind. Recordings of one group (column source) were made
together. The same packages give the same bytes.
"""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfiltfilt

from avseg_cli.base.errors import DataError
from avseg_cli.base.whole_files import new_folder
from avseg_cli.synth.clip_material import read_composed, recordings_of
from avseg_cli.synth.licences import package_licence
from avseg_cli.synth.packages import Packages
from avseg_cli.synth.sound_archives import files_of
from avseg_cli.synth.sound_files import SAMPLE_RATE, decode_sound, wav_bytes

TABLE = Path(__file__).with_name("sound_packages.tsv")
COLUMNS = ("path", "kind", "source", "licence", "origin")
LONGEST, LONGEST_OF_MANY = 30.0, 12.0  # seconds a file
MANY = {"none": 1100.0, "speech": 400.0, "music": 500.0}  # seconds of the kinds with many sources
SECONDS_A_KIND, SECONDS_A_GROUP = 300.0, 60.0
GAP, JOINED, SHORT = 0.2, 5.0, 3.0  # seconds: between takes, of joined takes, of those that are joined
PAUSE = -45  # dB below the loudest: silence at both ends
UNFREE = re.compile(r"(?i)sampling|\bNC\b|non-?commercial|\bND\b|no-?deriv")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Rule:
    """A line of the table. group: stem (without the digits at its end), stem-each, folder, or =NAME; mode: file,
    engine (a loop, played on at changing speed), typing (key strokes) or pattern (drum strokes)."""

    package: str
    licence: str
    kind: str
    group: str
    mode: str
    limit: int
    every: int
    but: tuple[str, ...]
    patterns: tuple[str, ...]

    def covers(self, name: str) -> bool:
        """Whether the rule is about a file of its package."""
        return _any(name, self.patterns) and not _any(name, self.but)

    def names(self, files: dict[str, Path | bytes]) -> list[str]:
        """The files that the rule is about."""
        found = [name for name in files if self.covers(name)]
        return [name for name in found if not UNFREE.search(name)][:: self.every][: self.limit]

    def source(self, name: str) -> str:
        """The group of a file: package/group."""
        path = Path(name.split(":")[-1])
        if self.group.startswith("="):
            return f"{self.package}/{self.group[1:]}"
        if self.group == "folder":
            return f"{self.package}/{path.parent.name}"
        short = re.sub(r"[-_. ]*\d+$", "", path.stem)
        return f"{self.package}/{path.stem if self.group == 'stem-each' else short or path.stem}"


@dataclass(frozen=True)
class Take:
    """A recording in a package."""

    rule: Rule
    name: str
    licence: str
    content: Path | bytes

    def decoded(self) -> np.ndarray:
        return decode_sound(self.content)


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, f"*{pattern}") for pattern in patterns)


def rules() -> list[Rule]:
    """The table."""
    lines = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]]
    split = [
        (*line[:5], int(line[5]), int(line[6]), *(tuple(filter(None, c.split(";"))) for c in line[7:]))
        for line in lines
    ]
    return [Rule(*line) for line in split]


def group_of(package: str, name: str, kind: str, table: list[Rule]) -> str | None:
    """The source under which a file of a package stands in the folder, as one of a kind if it can; None if it does not.

    What was made of that very recording elsewhere shares it.
    """
    fitting = [rule for rule in table if rule.package == package and rule.covers(name)]
    chosen = next((rule for rule in fitting if rule.kind == kind), next(iter(fitting), None))
    return chosen and chosen.source(name)


def wanted_packages() -> list[str]:
    """The packages of the table, each once."""
    return list(dict.fromkeys(rule.package for rule in rules()))


def gather_sounds(
    out: Path, debs: Path | None = None, clips: Path | None = None, say: Say = lambda message: None
) -> dict[str, int]:
    """Fill ``out`` with a folder for each kind, and manifest.tsv; returns the number of files of each.

    debs: a folder that holds the .deb files; without it ``apt-get download`` gets them. clips: a folder that ``avseg
    synth`` made, whose sounds come too. The folder appears whole or not at all. Raises ``OutputError`` when it exists,
    ``DataError`` for clips that are none, ``DownloadError`` when a package cannot be had.
    """
    composed = read_composed(clips) if clips else []
    with new_folder(out) as root, tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        packages = Packages(Path(scratch, "packages"))
        takes: list[Take] = []
        for package in wanted_packages():
            say(f"unpacking {package}")
            packages.add(package, debs, Path(scratch))
            takes += takes_of(packages, package)
        rows = write_kinds(root, takes, say)
        if composed:
            rows += recordings_of(composed, root, partial(group_of, table=rules()))
        lines = ["\t".join(row) for row in (COLUMNS, *sorted(rows))]
        (root / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    kinds = [row[1] for row in rows]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def takes_of(packages: Packages, package: str) -> list[Take]:
    """The recordings that the table names in a package, each under its own licence."""
    files = files_of(packages.root / package)
    found = []
    for rule in (rule for rule in rules() if rule.package == package):
        for name in rule.names(files):
            licence = _licence(packages.root, rule, name)
            if not UNFREE.search(licence):
                found.append(Take(rule, name, licence, files[name]))
    return found


def _licence(root: Path, rule: Rule, name: str) -> str:
    """What the copyright file says of this very file, else the table of the package."""
    try:
        found, particular = package_licence(root, rule.package, name.replace(":", "/"))
    except OSError:  # a link into another package
        return rule.licence
    if not particular or not found["licence"]:
        return rule.licence
    holder = re.sub(r"\s+", " ", found["copyright"])[:60]
    return f"{found['licence'][:60]} ({holder})" if holder else found["licence"][:60]


def write_kinds(folder: Path, takes: list[Take], say: Say) -> list[tuple[str, ...]]:
    """The files of every kind, in turns over its groups until there is enough of it; their lines."""
    rows: list[tuple[str, ...]] = []
    for kind in sorted({take.rule.kind for take in takes}):
        (folder / kind).mkdir(parents=True)
        groups: dict[str, list[Take]] = {}
        for take in takes:
            if take.rule.kind == kind:
                groups.setdefault(take.rule.source(take.name), []).append(take)
        seconds = 0.0
        for source, turn, wave, parts in in_turns(groups):
            if seconds > MANY.get(kind, SECONDS_A_KIND):
                break
            path = f"{kind}/{re.sub(r'[^A-Za-z0-9]+', '-', source).strip('-')}-{turn:02d}.wav"
            (folder / path).write_bytes(wav_bytes(wave))
            inside = "; ".join(part.name for part in parts[:12]) + (" …" if len(parts) > 12 else "")
            licences = ", ".join(sorted({part.licence for part in parts}))
            rows.append((path, kind, source, licences, f"Debian {parts[0].rule.package}: {inside}"))
            seconds += len(wave) / SAMPLE_RATE
        say(f"{kind}: {seconds:.0f} s of {len(groups)} groups")
    return rows


def in_turns(groups: dict[str, list[Take]]) -> Iterator[tuple[str, int, np.ndarray, list[Take]]]:
    """One file of each group, then the next of each; decoded when its turn comes."""
    waiting = {source: pieces(takes) for source, takes in groups.items()}
    turn = 0
    while waiting:
        for source in list(waiting):
            piece = next(waiting[source], None)
            if piece is None:
                del waiting[source]
            else:
                yield source, turn, *piece
        turn += 1


def pieces(takes: list[Take]) -> Iterator[tuple[np.ndarray, list[Take]]]:
    """The takes of one group as files: short ones joined with gaps, long ones cut."""
    rng = np.random.default_rng(zlib.crc32(takes[0].rule.source(takes[0].name).encode()))
    if takes[0].rule.mode in ("typing", "pattern"):
        strokes = [trimmed(take.decoded()) for take in takes]
        laid = typed(strokes, rng) if takes[0].rule.mode == "typing" else beaten(strokes, rng)
        yield levelled(laid), takes
        return
    joined: list[np.ndarray] = []
    parts: list[Take] = []
    total = 0.0
    for take in takes:
        if total > SECONDS_A_GROUP:
            break
        wave = _one(take, rng)
        if wave is None:
            continue
        total += len(wave) / SAMPLE_RATE
        if len(wave) >= SHORT * SAMPLE_RATE:
            yield wave, [take]
            continue
        joined += [wave, np.zeros(int(GAP * SAMPLE_RATE), np.float32)]
        parts.append(take)
        if sum(map(len, joined)) > JOINED * SAMPLE_RATE:
            yield np.concatenate(joined[:-1]), parts
            joined, parts = [], []
    if parts:
        yield np.concatenate(joined[:-1]), parts


def _one(take: Take, rng: np.random.Generator) -> np.ndarray | None:
    """A take without silence at its ends, at one level; None for one that holds no sound."""
    try:
        wave = take.decoded()
    except DataError:
        return None
    if len(wave) < SAMPLE_RATE // 25 or float(np.abs(wave).max()) < 1e-3:
        return None
    wave = revved(wave, rng) if take.rule.mode == "engine" else trimmed(wave)
    longest = LONGEST_OF_MANY if take.rule.kind in MANY else LONGEST
    return levelled(wave[: int(longest * SAMPLE_RATE)])


def trimmed(wave: np.ndarray) -> np.ndarray:
    """Without the pauses at both ends."""
    size = SAMPLE_RATE // 50
    count = len(wave) // size
    if count < 2:
        return wave
    power = (wave[: count * size].reshape(count, size) ** 2).mean(1)
    loud = np.flatnonzero(power > power.max() * 10 ** (PAUSE / 10))
    return wave[max(loud[0] - 1, 0) * size : min(loud[-1] + 3, count + 1) * size] if len(loud) else wave


def levelled(wave: np.ndarray) -> np.ndarray:
    """Without rumble, at -1 dB peak."""
    if len(wave) > 200:
        wave = sosfiltfilt(butter(2, 25, "highpass", fs=SAMPLE_RATE, output="sos"), wave)
    return (wave * (0.9 / max(float(np.abs(wave).max()), 1e-6))).astype(np.float32)


def revved(loop: np.ndarray, rng: np.random.Generator, seconds: float = 9.0) -> np.ndarray:
    """The loop of an engine played on at a speed that wanders, as games play it."""
    count, fade = int(seconds * SAMPLE_RATE), min(len(loop) // 8, 1024)
    speed = np.exp(np.interp(np.linspace(0, 5, count), np.arange(6), rng.uniform(np.log(0.7), np.log(1.6), 6)))
    body, ramp = loop[: len(loop) - fade].copy(), np.linspace(0, 1, fade, dtype=np.float32)
    body[:fade] = body[:fade] * ramp + loop[len(loop) - fade :] * (1 - ramp)
    return np.interp(np.cumsum(speed) % len(body), np.arange(len(body) + 1), np.append(body, body[0]))


def typed(strokes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Key strokes at the pace of a typist: ten seconds."""
    wave, time = np.zeros(10 * SAMPLE_RATE, np.float32), 0.05
    while time < 9.2:
        _lay(wave, strokes[rng.integers(len(strokes))], time, rng.uniform(0.5, 1))
        time += float(rng.gamma(4, 0.035)) + (0.5 if rng.random() < 0.04 else 0.0)
    return wave


def beaten(strokes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Strokes of a drum on a grid, bars of different patterns: half a minute."""
    wave, bars = np.zeros(30 * SAMPLE_RATE, np.float32), 0.0
    while bars < 29:
        slot, length = 60 / rng.uniform(70, 170) / 2, int(rng.choice((6, 7, 8, 10, 16)))
        pattern = [int(rng.integers(len(strokes))) if rng.random() < 0.75 else None for _ in range(length)]
        for index in range(2 * length):
            if (chosen := pattern[index % length]) is not None and bars + index * slot < 29.5:
                _lay(wave, strokes[chosen], bars + index * slot, rng.uniform(0.4, 1))
        bars += 2 * length * slot
    return wave


def _lay(wave: np.ndarray, stroke: np.ndarray, time: float, gain: float) -> None:
    start = int(time * SAMPLE_RATE)
    part = stroke[: len(wave) - start]
    wave[start : start + len(part)] += part * np.float32(gain)
