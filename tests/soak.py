"""``python -m tests.soak --hours 2 --size 1920x1080`` and ``--videos 2000``: long and many, watched from outside.

One long video is made by looping a clip, many short ones by linking a few. While the real command works on them its
memory, open files and processor time are sampled; the many are killed half-way once, and started again.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent))  # the makers of test videos

import av  # noqa: E402
from media_files import Clip  # noqa: E402

ROOT = Path(__file__).parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
LOOP = 10  # seconds of the clip that is looped
GROWTH = 64  # MB that memory may grow by between the first and the last quarter
INDEX = 20  # MB more an hour: an MP4's index of its packets stays in memory until the file is closed
SLOWER = 1.25  # times more processor time the last quarter may take than the second


@dataclass
class Sample:
    """The process at one moment. done: how much is out, in units of the soak."""

    time: float
    memory: float  # MB resident
    files: int  # open
    processor: float  # seconds used
    done: float


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="soak-", dir=options.folder) as name:
        folder = Path(name)
        print(_many(folder, options) if options.videos else _long(folder, options))
    return int(bool(PROBLEMS))


PROBLEMS: list[str] = []


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0, help="length of the one long video")
    parser.add_argument("--size", default="1920x1080", help="of its pictures")
    parser.add_argument("--rate", type=int, default=25, help="frames a second")
    parser.add_argument("--videos", type=int, default=0, help="so many short videos instead of a long one")
    parser.add_argument("--folder", help="where the files go for the time being (default: the system's)")
    return parser.parse_args()


def _long(folder: Path, options: argparse.Namespace) -> str:
    size = tuple(map(int, options.size.split("x")))
    clip = Clip(size=size, rate=options.rate, seconds=LOOP, place=lambda time: (time / LOOP, 0.5))
    source = looped(clip.write(folder / "clip.mkv"), folder / "long.mkv", options.hours * 3600)
    out = folder / "out"
    samples, code = _watched(
        ["segment", str(source), "-o", str(out), "--format", "overlay,json", "--quiet"],
        lambda: sum(path.stat().st_size for path in out.glob(".*mp4*")) / 1e6,
    )
    with av.open(str(out / "long.avseg.mp4")) as container:
        hours = container.duration / av.time_base / 3600
    if code or abs(hours - options.hours) > 0.01:
        PROBLEMS.append(f"exit code {code}, {hours:.2f} hours came out")
    title = f"one video of {options.hours:g} h, {options.size} at {options.rate} frames/s"
    return _report(title, samples, GROWTH + INDEX * options.hours)


def looped(source: Path, target: Path, seconds: float) -> Path:
    """The packets of ``source`` over and over, until ``seconds`` are filled."""
    with av.open(str(target), "w") as writer:
        shift, streams = 0.0, None
        while shift < seconds:
            with av.open(str(source)) as reader:
                streams = streams or {s.index: writer.add_stream_from_template(s) for s in reader.streams}
                for packet in reader.demux():
                    if packet.dts is None or not 0 <= packet.pts * packet.time_base < LOOP:
                        continue  # a sound encoder's priming, and what is longer than the pictures
                    ticks = round(shift / packet.time_base)
                    packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                    packet.stream = streams[packet.stream.index]
                    writer.mux(packet)
            shift += LOOP
    return target


def _many(folder: Path, options: argparse.Namespace) -> str:
    videos, out = folder / "videos", folder / "out"
    videos.mkdir()
    kinds = [Clip(size=(160, 120), seconds=seconds).write(folder / f"{seconds}.mp4") for seconds in (1, 2, 3)]
    for number in range(options.videos):
        os.link(kinds[number % len(kinds)], videos / f"video{number:06d}.mp4")
    command = ["segment", str(videos), "-o", str(out), "--format", "overlay,json", "--quiet", "--skip-existing"]

    def finished() -> int:
        return len(list(out.glob("*.avseg.json")))

    before, _ = _watched(command, finished, until=lambda: finished() >= options.videos // 2)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("[!.]*.avseg.*")}  # what it was at is hidden
    after, code = _watched(command, finished)
    again = sum(path.stat().st_mtime_ns != stamp for path, stamp in kept.items())
    names = [path.name for path in out.iterdir()]
    if code or again or len(names) != 2 * options.videos:
        PROBLEMS.append(f"exit code {code}, {again} made again, {len(names)} files of {2 * options.videos}")
    text = [_report(f"{options.videos} videos, until killed half-way", before), _report("the rest", after)]
    return "\n".join([*text, f"made again after the kill: {again} of {len(kept)} outputs"])


def _watched(
    command: list[str], done: Callable[[], float], until: Callable[[], bool] = lambda: False
) -> tuple[list[Sample], int]:
    """Run avseg, a sample a second; killed when ``until`` says so."""
    process = subprocess.Popen([sys.executable, "-m", "avseg_cli", *command], cwd=ROOT)
    samples: list[Sample] = []
    while process.poll() is None:
        sample = _sample(process.pid, done())
        if sample and sample.done:  # what comes before is starting up
            samples.append(sample)
        if until():
            process.send_signal(signal.SIGKILL)
        time.sleep(1)
    return samples, process.wait()


def _sample(pid: int, done: float) -> Sample | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:  # it has just ended
        return None
    return Sample(time.monotonic(), resident, files, (int(stat[11]) + int(stat[12])) / TICKS, done)


def _report(title: str, samples: list[Sample], growth: float = GROWTH) -> str:
    """The figures of each quarter of the work, and what they break."""
    if len(samples) < 8:
        PROBLEMS.append(f"{title}: over too soon to be measured")
        return f"{title}: {len(samples)} samples"
    quarters = [
        [s for s in samples if low <= s.done / samples[-1].done < high]
        for low, high in ((0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.01))
    ]
    memory = [median(s.memory for s in quarter) for quarter in quarters if quarter]
    files = [median(s.files for s in quarter) for quarter in quarters if quarter]
    costs = [
        (q[-1].processor - q[0].processor) / (q[-1].done - q[0].done) for q in quarters if q and q[-1].done > q[0].done
    ]
    costs = [cost / costs[1] for cost in costs]
    if memory[-1] > memory[0] + growth:
        PROBLEMS.append(f"{title}: memory grew from {memory[0]:.0f} to {memory[-1]:.0f} MB")
    if files[-1] > files[0] + 2:
        PROBLEMS.append(f"{title}: open files grew from {files[0]} to {files[-1]}")
    if costs[-1] > SLOWER:
        PROBLEMS.append(f"{title}: the last quarter took {costs[-1]:.2f} times the processor time of the second")
    lines = [
        f"{title}: {(samples[-1].time - samples[0].time) / 60:.0f} min, {samples[-1].processor / 60:.1f} min of "
        "processor time; by quarters of the work"
    ]
    for name, values, form in (
        ("memory, MB", memory, "{:.0f}"),
        ("open files", files, "{:.0f}"),
        ("processor time, the second's = 1", costs, "{:.2f}"),
    ):
        lines.append(f"  {name:34s}" + " ".join(form.format(value).rjust(8) for value in values))
    return "\n".join([*lines, *PROBLEMS])


if __name__ == "__main__":
    sys.exit(main())
