"""The report of ``avseg bench`` as a table for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

Report = dict[str, Any]
WIDTH = 400  # columns, more than any table takes; narrower terminals wrap lines rather than lose figures


def print_report(report: Report, console: Console) -> None:
    """A heading that says what was measured on what, and a line per component."""
    machine, options = report["machine"], report["options"]
    console.print(
        f"{options['checkpoint'] or options['backbone']}, reference > ours, on "
        f"{machine.get('gpu', machine['processor'])}, {machine['threads']} threads, torch {machine['torch']}"
    )
    for precision, roofline in report["roofline"].items():
        console.print(
            f"roofline measured now: {roofline['flops_per_second'] / 1e9:,.0f} GFLOP/s in {precision}, "
            f"copies {roofline['copy_bytes_per_second'] / 1e9:.1f} GB/s"
        )
    if options["truncated"]:
        console.print(
            f"truncated: {options['truncated']}; the last column is what all blocks would take, the cut encoder's "
            "time scaled by its arithmetic"
        )
    for note in report["notes"]:
        console.print(note)
    if report["rows"]:
        console.print(_table(report["rows"]))
    for row in report["rows"]:
        if "against_fp32" in row:
            console.print(_distances(row))
    if "startup" in report:
        console.print(_started(report["startup"]))


def _distances(row: Report) -> str:
    sides = []
    for name, agreement in row["against_fp32"].items():
        iou = "" if agreement["mask_iou"] is None else f", IoU {agreement['mask_iou']:.5f}"
        sides.append(f"{name} {agreement['relative_error']:.0e}{iou}")
    return f"{row['part']} in bf16, distance from the reference in fp32: {'; '.join(sides)}"


def _started(startup: Report) -> str:
    return (
        f"--help {startup['help_seconds']:.2f} s; a video of one second, from the start of the command to its "
        f"masks, {startup['one_second_video_seconds']:.2f} s"
    )


def print_scaling(report: Report, console: Console) -> None:
    """What starting costs, every run, and the line through the runs of each rate."""
    console.print(_started(report["startup"]))
    table = Table("length", "--fps", "time", "processor time", "peak memory")
    for point in report["points"]:
        busy = "" if point["cpu_seconds"] is None else _time(point["cpu_seconds"])
        peak = "" if point["peak_bytes"] is None else f"{point['peak_bytes'] / 1e6:,.0f} MB"
        table.add_row(f"{point['video_seconds']:g} s", f"{point['fps']:g}", _time(point["seconds"]), busy, peak)
    console.print(table)
    for line in report["fits"]:
        growth = line["memory_growth"]
        memory = "" if growth is None else f"; largest memory {growth:.2f} times the smallest"
        console.print(
            f"--fps {line['fps']:g}: {_time(line['seconds_per_video_second'])} a second of video "
            f"and {_time(line['seconds_to_start'])} to start{memory}"
        )


HEADINGS = (
    "component", "precision", "time", "faster", "by CPU time", "peak memory", "less", "TFLOP", "of roofline", "error",
    "IoU",
)  # fmt: skip


def _table(rows: list[Report]) -> Table:
    table = Table()
    extrapolated = any("whole_by_arithmetic" in row for row in rows)
    compiled = any("compiled_reference" in row for row in rows)
    more = (("compiled reference",) if compiled else ()) + (("all blocks",) if extrapolated else ())
    for heading in HEADINGS + more:
        table.add_column(heading, no_wrap=True, justify="left" if heading == "component" else "right")
    for row in rows:
        cells = [
            row["part"],
            _pair(row, "precision", str),
            _pair(row, "seconds", _time),
            f"{row['speedup']:.1f}x",
            f"{row['cpu_speedup']:.1f}x",
            _pair(row, "peak_bytes", lambda count: f"{count / 1e6:,.0f} MB"),
            f"{row['memory_ratio']:.1f}x",
            _pair(row, "flops", lambda flops: f"{flops / 1e12:.3f}"),
            _pair(row, "share_of_roofline", lambda share: f"{share:.0%}"),
            f"{row['relative_error']:.0e}",
            "" if row["mask_iou"] is None else f"{row['mask_iou']:.5f}",
        ]
        table.add_row(*cells, *([_compiled(row)] if compiled else []), *([_whole(row)] if extrapolated else []))
    return table


def _compiled(row: Report) -> str:
    told = row.get("compiled_reference")
    return f"{_time(told['seconds'])}, ours {told['speedup']:.1f}x faster" if told else ""


def _whole(row: Report) -> str:
    told = row.get("whole_by_arithmetic")
    return f"{_time(told['reference'])} > {_time(told['ours'])}, {told['speedup']:.1f}x" if told else ""


def _pair(row: Report, figure: str, shown: Callable[[Any], str]) -> str:
    """The reference's figure, then ours."""
    pair = [row[side][figure] for side in ("reference", "ours")]
    return "" if None in pair else " > ".join(map(shown, pair))


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"
