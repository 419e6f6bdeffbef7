"""The rooms of the package: what is in each may stand on rooms below it, never above, and no two files lean on each
other. Imports inside functions count too."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import avseg_cli

PACKAGE = Path(avseg_cli.__file__).parent
ROOMS = (  # from the ground up
    "base", "model", "checkpoints", "media", "motion", "pages", "tracks", "outputs", "segment", "attention", "data",
    "scoring", "training", "ablation", "synth", "bench", "doctor", "cli",
)  # fmt: skip
APART = {  # further than the order above says: these rooms know nothing of each other
    "model": {"checkpoints", "media", "pages", "outputs", "data"},
    "checkpoints": {"media", "pages", "outputs", "data"},
    "media": {"checkpoints", "data", "outputs", "pages"},
    "outputs": {"checkpoints", "data"},
    "tracks": {"model", "checkpoints", "media", "motion", "pages"},
    "data": {"pages", "outputs", "segment", "attention"},
    "synth": {"model", "checkpoints", "segment", "attention", "training", "scoring"},
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


REGISTRIES = {"avseg_cli.model.fusion", "avseg_cli.training.stages"}  # of what is built from the options naming them


def imports(module: str, types: bool = True) -> set[str]:
    """The modules of the package that ``module`` imports, anywhere in its text; those for ``types`` alone, if asked."""
    tree = ast.parse(MODULES[module].read_text())
    for_types = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    left_out = set() if types else {id(node) for branch in for_types for node in ast.walk(branch)}
    found = set()
    for node in (node for node in ast.walk(tree) if id(node) not in left_out):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in inside}
    return {name for name in found if name in MODULES and name != module}


def room(module: str) -> str:
    return module.split(".")[1]


INSIDE = [module for module in MODULES if module.count(".") and module != "avseg_cli.__main__"]
IMPORTS = {module: imports(module) for module in INSIDE}


def test_nothing_stands_loose_beside_the_rooms() -> None:
    loose = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert loose <= {"__init__.py", "__main__.py", "py.typed"}
    assert {room(module) for module in INSIDE} == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_arrows_run_downwards_only(name: str) -> None:
    below = ROOMS[: ROOMS.index(name) + 1]
    for module in (module for module in INSIDE if room(module) == name):
        for imported in IMPORTS[module]:
            assert imported.count("."), f"{module}: the public library is for others; import from the room"
            assert room(imported) in below, f"{module} imports {imported} from above"
            assert room(imported) not in APART.get(name, ()), f"{module} is to know nothing of {imported}"


def test_no_imports_in_a_circle() -> None:
    """Those for types alone count, but for a registry's: options name what is built from those options."""
    done: set[str] = set()

    def walk(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above[above.index(module) :], module))
        if module not in done:
            for imported in sorted(imports(module, types=module not in REGISTRIES)):
                walk(imported, (*above, module))
            done.add(module)

    for module in INSIDE:
        walk(module, ())


def test_files_of_one_name_are_about_one_thing() -> None:
    """Only a command of `cli` shares its name with the file or the room that does its work."""
    places = defaultdict(list)
    for module in INSIDE:
        if MODULES[module].name != "__init__.py" and room(module) != "cli":
            places[MODULES[module].stem].append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def public_classes(module: str) -> list[str]:
    body = ast.parse(MODULES[module].read_text()).body
    return [node.name for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]


def test_public_classes_of_one_name_are_about_one_thing() -> None:
    """Who reads ``Row`` or ``Source`` in one room is not to think of another room's."""
    places = defaultdict(list)
    for module in INSIDE:
        for name in public_classes(module):
            places[name].append(module)
    assert "Source" in places
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def sentences(module: str) -> list[str]:
    """The texts of a file but for docstrings and the help of options, f-strings as wholes."""
    tree = ast.parse(MODULES[module].read_text())
    docstrings = [
        node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    helps = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("option")
    ]
    whole = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    left_out = {id(inside) for node in (*docstrings, *helps) for inside in ast.walk(node)}
    parts = {id(inside) for node in whole for inside in ast.walk(node) if inside is not node}
    found = []
    for node in (node for node in ast.walk(tree) if id(node) not in left_out | parts):
        pieces = node.values if isinstance(node, ast.JoinedStr) else [node]
        values = [piece.value if isinstance(piece, ast.Constant) else "{}" for piece in pieces]
        if isinstance(node, ast.JoinedStr | ast.Constant):
            found.append("".join(value for value in values if isinstance(value, str)))
    return found


def flags_said(module: str) -> list[str]:
    """Flags of the command line in a file's sentences, outside of whole commands: in backticks, or of pip."""
    said = " ".join(text for text in sentences(module) if not text.startswith("pip "))
    return re.findall(r"(?<![\w-])(?:--[a-z][a-z0-9-]*|-o)(?![\w-])", re.sub(r"`[^`]*`", "", said))


def test_sentences_of_the_library_name_fields_and_the_command_line_flags() -> None:
    """``named("out")`` in a message is ``out`` to callers and ``--out`` on the command line."""
    ours = [module for module in INSIDE if room(module) not in ("cli", "bench")]  # bench runs commands
    found = {module: flags_said(module) for module in ours if module != "avseg_cli.pages.plots"}  # var(--quiet) of CSS
    assert {module: flags for module, flags in found.items() if flags} == {}
    assert flags_said("avseg_cli.cli.train"), "a command's own may"
