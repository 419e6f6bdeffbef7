"""From what a user names on the command line to the videos meant, and where their outputs go."""

from __future__ import annotations

import glob
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from avseg_cli.base.errors import InputError, OutputError, named
from avseg_cli.base.registry import Registry
from avseg_cli.base.text import counted
from avseg_cli.outputs.formats import FORMATS, Format
from avseg_cli.outputs.output_kind import Kind
from avseg_cli.segment.addresses import check_writable, exists, files_below, is_folder, is_url, location, plain_name

VIDEO_SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".asf",
    ".flv", ".ogv", ".3gp", ".3g2", ".mxf", ".vob", ".h264", ".264", ".h265", ".hevc", ".y4m",
))  # fmt: skip
Kinds = Registry[Format] | Mapping[str, Kind]  # what the names of formats stand for
OWN = ".avseg."  # in the names of our outputs; folders are searched without them
STDIN = "-"
OTHER_FILES = frozenset((".gif", ".webp", ".apng", ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".htm", ".txt",
                         ".zip", ".wav", ".mp3"))  # fmt: skip


@dataclass(frozen=True)
class InputVideo:
    """One video to segment, and its path relative to what was named (the tree that outputs keep)."""

    path: Path  # "-" is stdin
    relative: Path

    @property
    def is_stdin(self) -> bool:
        return str(self.path) == STDIN


def find_sources(inputs: list[str], recursive: bool) -> list[InputVideo]:
    """The videos that files, folders, patterns and ``-`` (stdin) stand for, each once, in order.

    Raises ``InputError`` for a name that stands for nothing.
    """
    return each_once(source for name in inputs for source in _sources_of(name, recursive))


def each_once(sources: Iterable[InputVideo]) -> list[InputVideo]:
    """The sources without those that are a file named before, by whatever name."""
    real, found = cache(os.path.realpath), dict[str, InputVideo]()
    for source in sources:
        found.setdefault(_identity(source, real), source)
    return list(found.values())


def names_one(inputs: list[str], sources: list[InputVideo]) -> bool:
    """Whether a user named one video, rather than several, a folder or a pattern."""
    return len(inputs) == len(sources) == 1 and str(sources[0].path) == str(location(inputs[0]))


def find_source(name: str) -> InputVideo:
    """The one video that a file or ``-`` (stdin) stands for; raises ``InputError`` for several, or a folder."""
    refuse_addresses([name])
    sources = find_sources([name], recursive=False)
    if len(sources) > 1 or Path(name).is_dir():
        raise InputError(f"{name}: stands for {counted(len(sources), 'video')}; give one")
    return sources[0]


def refuse_addresses(inputs: list[str]) -> None:
    """For commands that read files alone; raises ``InputError``."""
    for name in filter(is_url, inputs):
        raise InputError(f"{name}: this command reads files of this machine; copy it here first")


def _identity(source: InputVideo, real: Callable[[Path], str]) -> str:
    """Equal for two names of one file. real: of a folder, kept from one file in it to the next."""
    path = source.path
    if source.is_stdin or is_url(path):
        return str(path)
    return os.path.realpath(path) if os.path.islink(path) else os.path.join(real(path.parent), path.name)


def _sources_of(name: str, recursive: bool) -> list[InputVideo]:
    path = location(name)
    if name == STDIN:
        return [InputVideo(path, Path("stdin"))]
    if is_url(path):
        return _in_folder(path, recursive) if is_folder(path) else [InputVideo(path, Path(plain_name(path)))]
    if os.path.isdir(path):
        return _in_folder(path, recursive)
    if os.path.lexists(path) or not glob.has_magic(name):
        return [InputVideo(path, Path(path.name))]  # one that is missing fails in its turn, beside the others
    matches = [match for match in sorted(glob.glob(name, recursive=True)) if OWN not in Path(match).name]
    if not matches:
        raise InputError(f"{name}: no file matches this pattern")
    return [source for match in matches for source in _sources_of(match, recursive)]


def _in_folder(folder: Path, recursive: bool) -> list[InputVideo]:
    videos = videos_in(folder, recursive)
    if not videos:
        cure = "" if recursive else f"; add {named('recursive')} to look into its subfolders"
        raise InputError(f"{folder}: a folder without videos{cure}")
    return videos


def videos_in(folder: Path, recursive: bool) -> list[InputVideo]:
    """The videos in a folder, in order, without our own outputs and without what is hidden; perhaps none."""
    if is_url(folder):
        candidates = files_below(folder, recursive)
    else:
        candidates = sorted(folder.rglob("*") if recursive else folder.glob("*"))
    return [InputVideo(path, _below(path, folder)) for path in candidates if _is_video(path, folder)]


def _below(path: Path, folder: Path) -> Path:
    """The path from the folder on; raises ``InputError`` for a name that leads out of it (object stores allow such)."""
    relative = Path(str(path).removeprefix(str(folder)).lstrip("/")) if is_url(path) else path.relative_to(folder)
    if ".." in relative.parts or relative.is_absolute():
        raise InputError(f"{path}: a name that leads out of its folder; name the file itself")
    return relative


def _is_video(path: Path, folder: Path) -> bool:
    wanted = path.suffix.lower() in VIDEO_SUFFIXES and OWN not in path.name
    hidden = wanted and any(part.startswith(".") and part != ".." for part in _parts(path, folder))
    return wanted and not hidden and (is_url(path) or _is_file(path))


def _is_file(path: Path) -> bool:
    """Whether there is a file; what cannot be looked at counts as one, and fails in its turn, beside the others."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _parts(path: Path, folder: Path) -> tuple[str, ...]:
    return (
        tuple(str(path).removeprefix(str(folder)).strip("/").split("/"))
        if is_url(path)
        else (path.relative_to(folder).parts)
    )


def format_of(output: str | None) -> str:
    """The format that ``-o`` names by its end: x.json is json, x.webm a cutout; overlay where it says nothing."""
    suffix = Path(output or "").suffix.lower()
    names = ["overlay", suffix[1:], *FORMATS]
    return next((name for name in names if name in FORMATS and suffix in FORMATS[name].files), "overlay")


def formats_at(output: str | None) -> list[str]:
    """The formats that ``-o`` leaves to choose from: what a file's name says, all for a folder; an object store takes
    those of one file."""
    if output is not None and _names_a_file(output, {name: FORMATS[name] for name in FORMATS}):
        return [format_of(output)]
    stored = output is not None and is_url(output)
    return [name for name in FORMATS if not (stored and FORMATS[name].several)]


def plan_outputs(
    sources: list[InputVideo], output: str | None, formats: list[str], kinds: Kinds = FORMATS
) -> list[dict[str, Path]]:
    """Where the outputs of each source go: format -> path, no two alike.

    Without ``output`` they lie beside their source (stdin's in the current folder); a folder as ``output``
    keeps the tree; a file is for one source and one format. kinds: what the
    formats are. No sources stand for those to come. Raises ``OutputError`` where that does not work out.
    """
    chosen = {name: kinds[name] for name in formats}
    plan = _plan(sources, output, chosen)
    for outputs in plan:
        check_writable(outputs, chosen)
    return plan


def _plan(sources: list[InputVideo], output: str | None, formats: dict[str, Kind]) -> list[dict[str, Path]]:
    if output == STDIN:
        raise OutputError(f"{named('output')} -: outputs are files, not a stream; give the name of a file or a folder")
    if output is not None and _names_a_file(output, formats):
        if len(sources) != 1 or len(formats) > 1:
            raise OutputError(f"{output}: one file cannot take several outputs; give {named('output')} a folder")
        return [{name: location(output) for name in formats}]
    if output is not None and _looks_like_a_file(output):
        raise OutputError(
            f"{output}: nothing asked for is such a file ({_kinds(formats)}); give {named('output')} a folder"
        )
    stems = _stems(sources, None if output is None else location(output))
    return [{name: stem.with_name(stem.name + kind.suffix) for name, kind in formats.items()} for stem in stems]


def _names_a_file(output: str, formats: dict[str, Kind]) -> bool:
    if output.endswith(("/", os.sep)) or (not is_url(output) and Path(output).is_dir()):
        return False
    return any(Path(output).suffix.lower() in kind.files for kind in formats.values())


def _looks_like_a_file(output: str) -> bool:
    """Whether ``output``, which none of the formats writes, is a file's name all the same, not that of a folder."""
    if output.endswith(("/", os.sep)) or (not is_url(output) and Path(output).is_dir()):
        return False
    known = VIDEO_SUFFIXES.union(OTHER_FILES, *(FORMATS[name].files for name in FORMATS))
    return Path(output).suffix.lower() in known or (not is_url(output) and Path(output).is_file())


def _kinds(formats: dict[str, Kind]) -> str:
    """What the formats write, for a message."""
    return "; ".join(f"{name}: {', '.join(kind.files or ('a folder',))}" for name, kind in formats.items())


def _stems(sources: list[InputVideo], folder: Path | None) -> list[Path]:
    """The outputs' paths without what each format adds."""
    if folder is None:
        places = [Path("stdin") if source.is_stdin else source.path for source in sources]
    else:
        places = [folder / relative.as_posix() for relative in _relatives(sources)]
    without = [_without_suffix(place) for place in places]
    shared, twins = Counter(without), _twins(sources)
    return [
        place if shared[stem] > 1 or source.path in twins else stem
        for source, place, stem in zip(sources, places, without, strict=True)
    ]


def _without_suffix(place: Path) -> Path:
    """The name of a.mp4.mkv stays whole: what is left of it would be that of another video."""
    stem = place.with_suffix("") if _suffix_known(place) else place
    return place if _suffix_known(stem) else stem


def _suffix_known(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _twins(sources: list[InputVideo]) -> set[Path]:
    """Sources beside which another video has their name: clip.mkv beside clip.mp4.

    Their outputs keep the suffix, whichever of them is asked for today. Each folder is listed once.
    """
    here = [source.path for source in sources if not source.is_stdin and not is_url(source.path)]
    videos: dict[Path, dict[str, set[str]]] = {}  # folder -> name without suffix -> names
    for folder in {path.parent for path in here}:
        videos[folder] = defaultdict(set)
        with suppress(OSError):  # one that is missing or closed fails in its turn
            for name in os.listdir(folder):
                if _suffix_known(path := Path(name)):
                    videos[folder][path.stem].add(name)
    return {path for path in here if videos[path.parent].get(path.stem, set()) - {path.name}}


def _relatives(sources: list[InputVideo]) -> list[Path]:
    """Paths below the output folder; sources that would collide keep their path from a common folder.

    All keep it, where such a path is that of another source.
    """
    count = Counter(source.relative for source in sources)
    if max(count.values(), default=0) <= 1:
        return [source.relative for source in sources]
    absolute = [_absolute(source.path) for source in sources]
    common = os.path.commonpath([path.parent for path in absolute])
    whole = [path.relative_to(common) for path in absolute]
    some = [
        source.relative if count[source.relative] == 1 else path for source, path in zip(sources, whole, strict=True)
    ]
    return some if len(set(some)) == len(some) else whole


def _absolute(path: Path) -> Path:
    """The path from the root; an address without its scheme stands beside them."""
    return Path("/", *str(path).partition("://")[2].split("/")) if is_url(path) else Path(os.path.abspath(path))


def is_there(name: str, path: Path) -> bool:
    """Whether the output ``path`` of a format exists, whole: of several files, all of them."""
    if not exists(path):
        return False
    return FORMATS[name].is_whole(path)


KEEP_OR_REPLACE = f"use {named('overwrite')} to replace it, or {named('skip_existing')} to keep it"


def check_outputs(
    source: InputVideo, outputs: dict[str, Path], overwrite: bool, cure: str = KEEP_OR_REPLACE, kinds: Kinds = FORMATS
) -> None:
    """Refuse outputs that exist (unless ``overwrite``) or that are the input itself; raises ``OutputError``."""
    beside = [other for name, path in outputs.items() for other in kinds[name].beside(path)]
    for path in (*outputs.values(), *beside):
        if _same(path, source.path):
            raise OutputError(f"{path}: is the input itself; give {named('output')} another name")
        if exists(path) and not overwrite:
            raise OutputError(f"{path}: exists; {cure}")


def _same(one: Path, other: Path) -> bool:
    if is_url(one) or is_url(other):
        return str(one) == str(other)
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
