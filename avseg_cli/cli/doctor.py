"""``avseg doctor``: does everything work here, and if not, what to do."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from avseg_cli.cli.completion import checkpoints
from avseg_cli.cli.model_options import DeviceName, PrecisionName
from avseg_cli.cli.options import said

if TYPE_CHECKING:
    from rich.console import Console

    from avseg_cli.doctor.examine import Finding

COLOURS = {"ok": "green", "note": "yellow", "failed": "red"}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    checkpoint: Annotated[
        str,
        typer.Option(metavar="NAME|FILE", help="The model to try: a name or a file.", autocompletion=checkpoints),
    ] = "default",
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON on stdout.")] = False,
) -> None:
    """Check versions, devices, weights, encoders and folders, and segment a clip of 10 seconds to see that it works.

    The exit code is 0 only if the tool works here.
    """
    from rich.console import Console

    from avseg_cli.base.errors import AvsegError
    from avseg_cli.cli.config_file import usual_files
    from avseg_cli.cli.version import library_versions
    from avseg_cli.doctor.examine import FAILED, examine

    console = Console(stderr=True, highlight=False)
    findings = []
    named = context.find_root().params.get("config")
    files = [named] if named else usual_files()
    for finding in examine(checkpoint, device, precision, library_versions(), files, said):
        findings.append(finding)
        _show(finding, console)
    bad = [finding for finding in findings if finding.state == FAILED]
    if as_json:
        print(json.dumps({"works": not bad, "findings": [asdict(finding) for finding in findings]}, indent=1))
    if bad:
        error = AvsegError(f"avseg does not work here: {', '.join(f.check for f in bad)} failed (see above)")
        error.exit_code = bad[0].exit_code
        raise error


def _show(finding: Finding, console: Console) -> None:
    from rich.text import Text

    colour = COLOURS[finding.state]
    line = Text.assemble((f"{finding.state:6} ", colour), (f"{finding.check}: ", "bold"), finding.text)
    console.print(line, soft_wrap=True)
    if finding.advice:
        console.print(Text(f"       {finding.advice}", "dim"), soft_wrap=True)
