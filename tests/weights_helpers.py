"""A manifest of small files, a cache of one's own, and the command line as a user meets it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from command_line import Ran, run_avseg


def run_weights(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, *args: object) -> Ran:
    """``avseg weights ARGS`` in a wide terminal; what was said before is left out."""
    monkeypatch.setenv("COLUMNS", "300")
    capsys.readouterr()
    return run_avseg(capsys, monkeypatch, "weights", *args)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def manifest_entry(name: str, content: bytes | Path, pinned_digits: int = 64) -> dict:
    """A manifest line for a file with this content."""
    content = content.read_bytes() if isinstance(content, Path) else content
    return {
        "name": name,
        "file": f"{name}.pth",
        "url": f"https://example.invalid/{name}.pth",
        "size": len(content),
        "sha256": sha256(content)[:pinned_digits],
        "purpose": f"tests of {name}",
    }


def use_weights(monkeypatch: pytest.MonkeyPatch, folder: Path, entries: list[dict], cache: Path | None = None) -> Path:
    """Make ``entries`` the manifest and ``cache`` (or a new folder) the cache; returns the cache folder."""
    embedded = folder / "embedded"
    embedded.mkdir(parents=True, exist_ok=True)
    (embedded / "manifest.json").write_text(json.dumps({"files": entries}))
    monkeypatch.setattr("avseg_cli.checkpoints.manifest.weights_dir", lambda: embedded)
    cache = cache or folder / "cache"
    monkeypatch.setenv("AVSEG_CACHE", str(cache))
    for name in ("AVSEG_MIRROR", "AVSEG_OFFLINE", "AVSEG_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    return cache
