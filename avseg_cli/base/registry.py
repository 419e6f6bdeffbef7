"""Things of one kind, each declared in a file of its own: whoever puts a file into the folder has added one.

The names are those of the files, so that help texts and completion can list them without importing any.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

from avseg_cli.base.errors import AvsegError

Declared = TypeVar("Declared")


class Registry(Generic[Declared]):
    """The files of ``folder``, the package ``package``; each says in ``variable`` what it declares.

    what: the kind of thing, for messages. ``error`` is raised for names that nothing has. Files whose names begin
    with an underscore declare nothing; an underscore inside a file's name is a hyphen in that of the thing if
    ``hyphens``. prefix: what the names of files begin with and those of the things do not.
    """

    def __init__(
        self,
        package: str,
        folder: Path,
        variable: str,
        what: str,
        error: type[AvsegError],
        hyphens: bool = False,
        prefix: str = "",
    ) -> None:
        self._package, self._folder, self._variable = package, folder, variable
        self._what, self._error, self._hyphens, self._prefix = what, error, hyphens, prefix
        self.declared: dict[str, Declared] = {}  # those whose files have been imported

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names, in alphabetical order."""
        return tuple(sorted(self._files))

    @cached_property
    def _files(self) -> dict[str, Path]:
        """name -> its file."""
        files = {path.stem.removeprefix(self._prefix): path for path in self._folder.glob("[!_]*.py")}
        return {stem.replace("_", "-") if self._hyphens else stem: path for stem, path in files.items()}

    def summary(self, name: str) -> str:
        """The file's own description, its paragraphs run together; nothing is imported."""
        return " ".join((ast.get_docstring(self._tree(name)) or "").split())

    def constant(self, name: str, variable: str, default: Any = None) -> Any:
        """The literal that the file gives the module's ``variable``, ``default`` if none; nothing is imported."""
        for node in self._tree(name).body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == variable for t in node.targets):
                return ast.literal_eval(node.value)
        return default

    def __getitem__(self, name: str) -> Declared:
        """What the file of that name declares; raises ``error`` where there is none."""
        if name not in self.declared:
            if name not in self.names:
                raise self._error(f"no {self._what} named {name!r}; choose one of {', '.join(self.names)}")
            module = import_module(f"{self._package}.{self._files[name].stem}")
            self.declared[name] = getattr(module, self._variable)
        return self.declared[name]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def _tree(self, name: str) -> ast.Module:
        return ast.parse(self._files[name].read_text(encoding="utf-8"))
