"""``python -m tests.campaign --minutes 10 --seed 1``: faults, files for their readers, the corpus, then mutated ones.

Each part has its share of the time, and what the ones before it have not used; the last goes on until time is up. What
a part did not come to is told.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # the makers of test videos

from .cases import Maker  # noqa: E402
from .faults import LATE, inject  # noqa: E402
from .judge import Verdict  # noqa: E402
from .media import corpus  # noqa: E402
from .mutate import Seeds  # noqa: E402
from .readers import read_changed  # noqa: E402
from .watch import Watch  # noqa: E402

SHARES = {"faults": 0.35, "readers": 0.1, "corpus": 0.3, "mutations": 0.25}  # of the time, for each part in its turn


def main() -> int:
    options = _options()
    tiny = Path(__file__).parents[1] / "tiny.safetensors"
    os.environ.setdefault("AVSEG_DEFAULT_CHECKPOINT", str(tiny))  # what is tried is not the model: a quick one will do
    verdicts: list[Verdict] = []
    injected = 0
    left: Counter[str] = Counter()  # by part: what there was no time for
    until = partial(_until, options.parts, time.monotonic() + 60 * options.minutes)
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        base = Path(name)
        if "faults" in options.parts:

            def tell(fault: str, problems: list[str], skipped: str) -> None:
                nonlocal injected
                injected += not skipped
                left["faults"] += skipped == LATE
                became = f"not tried: {skipped}" if skipped else "; ".join(problems) or "nothing lost"
                print(f"{fault}: {became}", file=sys.stderr, flush=True)
                if problems:
                    verdicts.append(Verdict(None, "lost", problems))

            inject(base / "faults", options.seed, options.rounds, options.only, until("faults"), tell)
        read: Counter[str] = Counter()
        if "readers" in options.parts:
            for name, counts, broken in read_changed(
                base / "readers", options.seed, options.changes, options.only, until("readers")
            ):
                read += counts
                left["readers"] += not counts and not broken
                print(f"{name}: {broken or dict(counts) or LATE}", file=sys.stderr, flush=True)
                if broken:
                    verdicts.append(Verdict(None, "lost", [broken]))
        with Watch(base, options.patience) as watch:
            for kind, make in _inputs(base, options, until, left):
                verdict = watch.try_case(kind, make)
                verdicts.append(verdict)
                if verdict.problems or options.verbose:
                    print(
                        f"{kind}: {verdict.outcome} in {verdict.seconds:.1f} s, {'; '.join(verdict.problems)} "
                        f"[{verdict.said[:300]}]",
                        file=sys.stderr,
                        flush=True,
                    )
    print(_report(verdicts, read, injected, left))
    return int(any(verdict.problems for verdict in verdicts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="shared out between the parts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--parts", type=lambda text: text.split(","), default=[*SHARES], help=f"{','.join(SHARES)} or some of them"
    )
    parser.add_argument("--only", default="", help="faults, cases and readers whose name matches this")
    parser.add_argument("--changes", type=int, default=300, help="changed files for each reader")
    parser.add_argument("--rounds", type=int, default=10, help="kills of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutated case")
    parser.add_argument(
        "--patience", type=float, default=240, help="seconds of the processor after which a case counts as hung"
    )
    parser.add_argument("--verbose", action="store_true", help="a line for every case on stderr")
    return parser.parse_args()


def _until(parts: list[str], end: float, part: str) -> float:
    """When ``part``, which begins now, is to stop: its share of what is left for it and those after it."""
    waiting = [name for name in list(SHARES)[list(SHARES).index(part) :] if name in parts]
    now = time.monotonic()
    return now + (end - now) * SHARES[part] / sum(SHARES[name] for name in waiting)


def _inputs(
    base: Path, options: argparse.Namespace, until: Callable[[str], float], left: Counter[str]
) -> Iterator[tuple[str, Maker]]:
    if "corpus" in options.parts:
        cases = [(name, make) for name, make in corpus(options.seed).items() if re.search(options.only, name)]
        np.random.default_rng(options.seed).shuffle(cases)  # so that another seed comes to others first
        end = until("corpus")
        for done, case in enumerate(cases):
            if time.monotonic() > end:
                left["corpus"] = len(cases) - done
                break
            yield case
    if "mutations" in options.parts:
        (base / "seeds").mkdir()
        seeds = Seeds(base / "seeds")
        end = until("mutations")
        for number in count(options.first):
            if time.monotonic() > end:
                return
            yield seeds.makers(options.seed, number)


def _report(verdicts: list[Verdict], read: Counter[str], injected: int, left: Counter[str]) -> str:
    tried = [verdict for verdict in verdicts if verdict.case is not None]
    mutated = sum("mutated" in verdict.case.name for verdict in tried)
    given = f", {read.total()} given to their readers" if read else ""
    lines = [
        f"inputs tried      {len(tried) + read.total():6d}   "
        f"({len(tried) - mutated} of the corpus, {mutated} mutated{given})"
    ]
    outcomes = Counter(verdict.outcome for verdict in tried) + Counter(
        {f"{outcome} by its reader": number for outcome, number in read.items()}
    )
    lines += [f"  {outcome:24s}{number:6d}" for outcome, number in outcomes.most_common()]
    if tried:
        lines.append(f"slowest input     {max(v.seconds for v in tried):6.1f} s")
        lines.append(f"most memory added {max(v.peak for v in tried):6.0f} MB")
    lines.append(f"faults injected   {injected:6d}")
    lines += [f"no time for       {number:6d}   of the {part}" for part, number in left.items() if number]
    lines.append(f"losses            {sum(bool(verdict.problems) for verdict in verdicts):6d}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
