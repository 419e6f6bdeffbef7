"""What every case is held to: an exit code of the list, one sentence, whole outputs or none, bounded memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import av

from avseg_cli.base.whole_files import HALF_WRITTEN

from .cases import DONE, REFUSED, Case
from .worker import Ran

CODES = {2: "input or option", 3: "checkpoint", 4: "device or memory", 5: "output", 6: "download", 7: "data set"}


@dataclass
class Verdict:
    """What became of a case. outcome: a class to be counted; problems: broken promises, none if all were kept."""

    case: Case
    outcome: str
    problems: list[str] = field(default_factory=list)
    said: str = ""
    seconds: float = 0.0
    peak: float = 0.0


def lost(case: Case, why: str) -> Verdict:
    """A case that did not end by itself."""
    return Verdict(case, "lost", [why])


def judge(case: Case, ran: Ran, folder: Path) -> Verdict:
    """Hold how ``case`` ended against the promises; its outputs are in ``folder``/out."""
    if ran.skipped:
        return Verdict(case, f"not tried: {ran.skipped}")
    done = ran.code == 0
    outcome = "came out" if done else f"refused: {CODES.get(ran.code, f'exit code {ran.code}')}"
    problems = [*_manners(case, ran), *_leftovers(folder)]
    if done and case.arguments[0] == "segment":
        problems += _outputs(folder / "out", case)
    elif not done and list((folder / "out").iterdir()):
        problems.append(f"refused, but left {sorted(path.name for path in (folder / 'out').iterdir())}")
    if (case.expect == DONE and not done) or (case.expect == REFUSED and done):
        problems.append(f"was to be {case.expect}")
    if case.said not in ran.err:
        problems.append(f"did not say {case.said!r}")
    if case.code is not None and ran.code != case.code:
        problems.append(f"exit code {ran.code}, not {case.code}")
    if ran.fds > 0:
        problems.append(f"left {ran.fds} more files open")
    if ran.peak > case.memory:
        problems.append(f"took {ran.peak:.0f} MB more, of {case.memory} allowed")
    return Verdict(case, outcome, problems, ran.err.strip(), ran.seconds, ran.peak)


def _manners(case: Case, ran: Ran) -> list[str]:
    problems = []
    if "Traceback" in ran.err or ran.code == -1:
        problems.append("a traceback")
    if ran.code != 0 and ran.code not in CODES:
        problems.append(f"exit code {ran.code} is none of those documented")
    if ran.code and case.arguments[0] == "segment" and "--recursive" not in case.arguments:
        sentence = ran.err.replace("\n", " ", ran.err.count("\n") - 1) if _has_newline(case) else ran.err
        if not sentence.startswith("avseg: ") or sentence.count("\n") != 1:
            problems.append(f"said {ran.err!r} and not one sentence")
    if ran.out:
        problems.append(f"wrote {ran.out[:80]!r} to stdout")
    return problems if case.arguments[0] == "segment" else [p for p in problems if "stdout" not in p]


def _has_newline(case: Case) -> bool:
    return any("\n" in part for part in case.arguments)


def _leftovers(folder: Path) -> list[str]:
    left = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.endswith(HALF_WRITTEN)]
    return [f"left {left}"] if left else []


def _outputs(out: Path, case: Case) -> list[str]:
    problems = []
    if "-o" in case.arguments and case.arguments[case.arguments.index("-o") + 1] == str(out):
        found = list(out.rglob("*.avseg.*"))
        if not found:
            problems.append("came out, but there is no output")
        for path in found:
            if path.suffix == ".json":
                problems += _json(path)
            elif path.suffix == ".mp4":
                problems += _movie(path, Path(case.arguments[1]))
    return problems


def _json(path: Path) -> list[str]:
    masks = json.loads(path.read_text())["masks"]
    times = [mask["time"] for mask in masks]
    return [] if masks and times == sorted(times) else [f"{path.name}: no masks, or out of order"]


def _movie(path: Path, source: Path) -> list[str]:
    try:
        with av.open(str(path)) as container:
            times = [frame.pts for frame in container.decode(video=0)]
    except av.FFmpegError as error:
        return [f"{path.name}: its pictures cannot be decoded ({error})"]
    # copied packet by packet, with the damage it came with; where nothing of it can be read, there is none to copy
    damaged = source.is_file() and (_sound_fails(source) or not _frames_of_sound(source))
    if not damaged and _sound_fails(path):
        return [f"{path.name}: its sound cannot be decoded, that of its source can"]
    return [] if times and times == sorted(set(times)) else [f"{path.name}: {len(times)} frames, or out of order"]


def _frames_of_sound(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(audio=0))


def _sound_fails(path: Path) -> bool:
    try:
        _frames_of_sound(path)
    except (av.FFmpegError, ValueError, IndexError):  # IndexError: it has none
        return True
    return False
