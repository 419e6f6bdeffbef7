"""``avseg`` as a user meets it: through ``main``, in this process."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest

from avseg_cli.cli import main


class Ran(NamedTuple):
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def run_avseg(capture: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Ran:
    """``avseg ARGUMENTS``; ``capture`` is capsys or capfd. A traceback is a failure."""
    monkeypatch.setattr(sys, "argv", ["avseg", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    captured = capture.readouterr()
    assert "Traceback" not in captured.err
    return Ran(code, captured.out, captured.err)
