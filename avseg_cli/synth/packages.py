"""Debian packages as a source of files: get them, unpack them, read what is inside and whose it is."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from avseg_cli.base.errors import DataError, DownloadError, named
from avseg_cli.synth.licences import Licence, folder_licence, package_licence, readme_licence, wallpaper_licence
from avseg_cli.synth.rcc import read_rcc


class Packages:
    """Unpacked packages under one folder.

    A source is a path inside its package, or ``archive.rcc:path`` for a file in a Qt resource archive.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.archive = cache(self._archive)  # (package, path) → files: each archive is read once

    def add(self, package: str, debs: Path | None, scratch: Path) -> None:
        """Get and unpack one package; from the folder ``debs`` if given, else by apt-get."""
        deb = _downloaded(package, scratch) if debs is None else _found(package, debs)
        _unpack(deb, self.root / package)
        if debs is None:
            deb.unlink()

    def path(self, package: str, source: str) -> Path:
        """Where a file or folder of a package lies."""
        return self.root / package / source

    def read(self, package: str, source: str) -> bytes:
        """The bytes of a source. Raises DataError when the package is another version and lacks it."""
        archive, colon, inside = source.rpartition(":")
        try:
            return self.archive(package, archive)[inside] if colon else self.path(package, source).read_bytes()
        except (KeyError, FileNotFoundError) as error:
            raise DataError(f"{package} has no {source}; use the package of Debian 12 by {named('debs')}") from error

    def licence(self, package: str, source: str) -> Licence:
        """The most particular notice about a source."""
        archive, colon, inside = source.rpartition(":")
        path = inside.partition("/")[2] if colon else source  # archives have one folder at their root
        by_package, particular = package_licence(self.root, package, path)
        if not colon:
            is_wallpaper = "/contents/" in source
            return (is_wallpaper and wallpaper_licence(self.path(package, source).parents[2])) or by_package
        files = self.archive(package, archive)

        def read(name: str) -> str | None:
            return files[name].decode("utf-8", "replace") if name in files else None

        beside = readme_licence(inside, read)
        return beside or (by_package if particular else folder_licence(inside, read) or by_package)

    def _archive(self, package: str, path: str) -> dict[str, bytes]:
        return read_rcc(self.path(package, path))


def _found(package: str, debs: Path) -> Path:
    found = sorted(debs.glob(f"{package}_*.deb"))
    if not found:
        raise DataError(f"{debs} has no {package}_*.deb; put it there or leave {named('debs')} out to download it")
    return found[-1]


def _downloaded(package: str, scratch: Path) -> Path:
    command = ["apt-get", "download", package]
    try:
        subprocess.run(command, cwd=scratch, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise DownloadError(f"apt-get is not here; name a folder with the .deb files by {named('debs')}") from error
    except subprocess.CalledProcessError as error:
        cause = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DownloadError(f"apt-get download {package} failed ({cause}); run apt-get update first") from error
    return _found(package, scratch)


def _unpack(deb: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    try:
        subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise DataError("dpkg-deb is not here; install dpkg to unpack Debian packages") from error
    except subprocess.CalledProcessError as error:
        raise DataError(f"{deb} cannot be unpacked ({error.stderr.strip()}); download it again") from error
