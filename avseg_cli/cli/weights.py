"""``avseg weights``: public weights in the cache, and checkpoints looked into and imported."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avseg_cli.base.errors import CheckpointError
from avseg_cli.base.say import say
from avseg_cli.base.text import printable
from avseg_cli.checkpoints.download_options import DownloadOptions
from avseg_cli.cli.completion import checkpoints, listed_weights, public_weights
from avseg_cli.cli.dry_run import DryRun, say_plan
from avseg_cli.cli.options import made_of, said

if TYPE_CHECKING:
    from rich.console import Console

    from avseg_cli.checkpoints.manifest import PublicFile

weights = typer.Typer(
    no_args_is_help=True,
    help="Get SAM's and VGGish's public weights, check them, and import checkpoints of other code.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def register(app: typer.Typer) -> None:
    app.add_typer(weights, name="weights")


@weights.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """Show the weights avseg knows by name: whether they are here, checked, and what they are for."""
    from avseg_cli.checkpoints.manifest import manifest, status

    rows = [_public_row(entry, status(entry)) for entry in manifest().values()] + _embedded_rows()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    _print_table(rows)


@weights.command()
@made_of(given=DownloadOptions)
def download(
    *,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…", autocompletion=public_weights, help='Names from "avseg weights list", or "all".'
        ),
    ],
    given: dict[str, Any],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Download public weights into the cache folder, checked by SHA-256.

    A download that was stopped goes on where it was. The folder is AVSEG_CACHE, or the system's usual one.
    """
    from avseg_cli.checkpoints.download import download as fetch
    from avseg_cli.checkpoints.manifest import manifest, public_file, status

    options = DownloadOptions(**given)
    for row in _embedded_rows():
        if row["name"] in names:
            raise CheckpointError(f"{row['name']} ships with avseg: {row['path']}; there is nothing to download")
    entries = list(manifest().values()) if names == ["all"] else [public_file(name) for name in names]
    if dry_run:
        say_plan(_download_plan(entry, status(entry), options) for entry in entries)
        return
    console = _stderr()
    try:
        for entry in entries:
            with _progress(console, f"downloading {entry.name}") as tell:
                path = fetch(entry, options, tell, lambda message: say(message, console=console))
            say(f"{entry.name} is in {path}, checked")
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same command goes on from here") from None
    if as_json:
        typer.echo(json.dumps([_public_row(entry, status(entry)) for entry in entries], indent=2))


@weights.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME…]", autocompletion=listed_weights, help="Only these; all that are here by default."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hash the weights in the cache and load the embedded ones; fails if any is damaged."""
    from avseg_cli.checkpoints.manifest import check, manifest, public_file

    console = _stderr()
    embedded = {row["name"] for row in _embedded_rows()}.intersection(names or ())
    public = [public_file(name) for name in names or () if name not in embedded]
    entries = public if names else list(manifest().values())
    rows = []
    for entry in entries:
        with _progress(console, f"hashing {entry.name}") as tell:
            size = entry.path.stat().st_size if entry.path.is_file() else 0
            rows.append(_public_row(entry, check(entry, _adding(tell, size), again=True)))
    rows += _embedded_rows(load=True, names=embedded if names else None)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _print_table(rows)
    wanted = ("damaged", "missing") if names else ("damaged",)
    bad = [row for row in rows if row["state"] in wanted]
    if bad:
        listed = ", ".join(f"{row['name']} ({row['state']})" for row in bad)
        ours = all(row["kind"] == "embedded" for row in bad)
        raise CheckpointError(
            f"not sound: {listed}; {'install avseg again' if ours else 'get them with `avseg weights download`'}"
        )


@weights.command()
def info(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", autocompletion=checkpoints, help="A checkpoint: a file, a name, or default."),
    ],
    as_json: AsJson = False,
) -> None:
    """Tell what a checkpoint is: configuration, origin, training, metrics, sizes, and what it stands on."""
    from avseg_cli.checkpoints.describe import describe

    about = describe(file)
    if as_json:
        typer.echo(json.dumps(about, indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("", "", show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _lines(about):
        table.add_row(Text(name, style="bold"), Text(value))  # Text: what a file says is not markup
    _stderr().print(table)


@weights.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .pth of the authors' code or SAMA-AVS.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to; FILE with .safetensors by default.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=8, max=4096, help="Side of the input in pixels, positions interpolated. [default: FILE's own]"
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Turn a checkpoint of the paper's published code (or of SAMA-AVS) into one avseg uses.

    Backbone, depth and adapters are read off the tensors; a file that does not fit is refused.
    """
    from avseg_cli.checkpoints.import_weights import check_output, convert, import_checkpoint
    from avseg_cli.checkpoints.manifest import size_text
    from avseg_cli.model.fusion import FUSIONS

    out = output or file.with_suffix(".safetensors")
    if dry_run:
        check_output(file, out, overwrite)
        found = import_checkpoint(file, image_size)
        say_plan([f"write {out}: {found.kind}, {found.config.backbone}, standing on {', '.join(found.base)}"])
        return
    imported = convert(file, out, overwrite, image_size)
    config, size = imported.config, out.stat().st_size
    if as_json:
        about = {"file": str(out), "bytes": size, "code": imported.kind}
        typer.echo(json.dumps(about | {"base": imported.base, "config": config.to_dict()}, indent=2))
        return
    fusion = "no fusion" if FUSIONS[config.fusion].build is None else f"fusion depth {config.fusion_depth}"
    adapters = "adapters" if config.adapters else "no adapters"
    parts = f"{imported.kind}, {config.backbone}, {adapters}, {fusion}, {size_text(size)}"
    say(f"{out}: {parts}; stands on {', '.join(imported.base)}")


def _download_plan(entry: PublicFile, state: str, options: DownloadOptions) -> str:
    from avseg_cli.checkpoints.download import address
    from avseg_cli.checkpoints.manifest import size_text

    size = size_text(entry.size) if entry.size else "of unknown size"
    if state == "verified":
        return f"keep {entry.name}: {entry.path} is there and checked"
    if options.folder is not None:
        return f"take {entry.name} ({size}) from {options.folder} into {entry.path}"
    if options.offline:
        return f"fail on {entry.name}: it is {state}, and --offline allows no network"
    return f"download {entry.name} ({size}) from {address(entry, options)} to {entry.path}"


def _public_row(entry: PublicFile, state: str) -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": "public",
        "bytes": entry.path.stat().st_size if state != "missing" else entry.size,
        "present": state != "missing",
        "state": state,
        "path": str(entry.path),
        "sha256": entry.sha256,
        "purpose": entry.purpose,
    }


def _embedded_rows(load: bool = False, names: Collection[str] | None = None) -> list[dict[str, Any]]:
    """The models and the face detector that ship with avseg, or those of ``names``; ``load`` tries them, strictly."""
    from avseg_cli.checkpoints.manifest import MODELS, faces_file, weights_dir

    purposes = dict.fromkeys(sorted(weights_dir().glob(MODELS)), "a model to segment with; ships with avseg")
    if faces_file().exists():
        purposes[faces_file()] = "finds the faces that voices belong to; ships with avseg"
    return [
        {
            "name": path.stem,
            "kind": "embedded",
            "bytes": path.stat().st_size,
            "present": True,
            "state": _loaded_state(path) if load else "unverified",
            "path": str(path),
            "purpose": purpose,
        }
        for path, purpose in purposes.items()
        if names is None or path.stem in names
    ]


def _loaded_state(path: Path) -> str:
    from avseg_cli.checkpoints.checkpoint import load_checkpoint
    from avseg_cli.checkpoints.face_weights import load_faces
    from avseg_cli.checkpoints.manifest import faces_file

    try:
        load_faces() if path == faces_file() else load_checkpoint(path)
    except CheckpointError as error:
        say(said(error))
        return "damaged"
    return "verified"


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from avseg_cli.checkpoints.manifest import cache_dir, size_text

    table = Table("Name", "Size", "Present", "Verified", "What it is for")
    colours = {"verified": "[green]yes", "damaged": "[red]damaged", "unverified": "not yet", "missing": ""}
    for row in rows:
        size = size_text(row["bytes"]) if row["bytes"] else "?"
        table.add_row(row["name"], size, "yes" if row["present"] else "no", colours[row["state"]], row["purpose"])
    console = _stderr()
    console.print(table)
    say(f"cache folder: {cache_dir()}")


def _lines(about: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """A nested record as flat lines for people."""
    for key, value in about.items():
        name = printable(f"{above}{key}").replace("_", " ")
        if isinstance(value, dict) and value:
            yield from _lines(value, f"{name} · ")
        else:
            yield name, _text(value)


def _text(value: Any) -> str:
    if value is None or value in ({}, []):
        return "none"
    return f"{value:,}" if type(value) is int and value > 9999 else printable(str(value))


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)


@contextmanager
def _progress(console: Console, title: str) -> Iterator[Any]:
    """A bar for bytes on a terminal, nothing elsewhere; gives a function (done, total)."""
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _adding(tell: Any, total: int) -> Any:
    done = 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        tell(done, total)

    return more
