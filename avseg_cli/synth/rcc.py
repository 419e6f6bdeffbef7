"""Qt resource archives (.rcc), read without Qt: a header, a tree of nodes, a name table and the data."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from avseg_cli.base.errors import DataError

_DIRECTORY = 2
_ZLIB = 1
_ZSTD = 4
_LARGEST = 128 << 20  # bytes that an archive may unpack to; the largest of gcompris has 5 MB
_NODE_SIZE = {1: 14, 2: 22, 3: 22}  # versions 2 and 3 append the time of last change


def read_rcc(path: Path) -> dict[str, bytes]:
    """Return every file of a Qt resource archive by its path inside the archive.

    Raises DataError when the file is no resource archive, is cut short, or uses an unknown compression.
    """
    archive = path.read_bytes()
    try:
        magic, version, tree, data, names = struct.unpack_from(">4sIIII", archive)
        if magic != b"qres" or version not in _NODE_SIZE:
            raise DataError(f"{path} is not a Qt resource archive of version 1 to 3; fetch the package again")
        files: dict[str, bytes] = {}
        pending, seen, room = [(0, "")], set(), _LARGEST
        while pending:
            node, folder = pending.pop()
            if node in seen:  # folders that share their content can be more than any memory holds
                raise DataError(f"{path} is damaged (a file in two folders); fetch the package again")
            seen.add(node)
            offset = tree + node * _NODE_SIZE[version]
            name_offset, flags = struct.unpack_from(">IH", archive, offset)
            name = f"{folder}/{_name(path, archive, names + name_offset)}" if node else ""
            if flags & _DIRECTORY:
                count, first = struct.unpack_from(">II", archive, offset + 6)
                if count > len(archive) or first <= node:  # a tree grows away from its root
                    raise DataError(f"{path} is damaged (no tree of files); fetch the package again")
                pending += [(child, name) for child in range(first, first + count)]
            else:
                (start,) = struct.unpack_from(">I", archive, offset + 10)
                content = files[name.lstrip("/")] = _content(path, archive, data + start, flags, room)
                room -= len(content)
        return files
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged ({error}); fetch the package again") from error


def _name(path: Path, archive: bytes, offset: int) -> str:
    (length,) = struct.unpack_from(">H", archive, offset)
    start = offset + 6  # the length and a hash come first
    if start + 2 * length > len(archive):
        raise DataError(f"{path} is cut short; fetch the package again")
    return archive[start : start + 2 * length].decode("utf-16-be")


def _content(path: Path, archive: bytes, offset: int, flags: int, room: int) -> bytes:
    (size,) = struct.unpack_from(">I", archive, offset)
    content = archive[offset + 4 : offset + 4 + size]
    if len(content) != size:
        raise DataError(f"{path} is cut short; fetch the package again")
    if flags & _ZSTD:
        raise DataError(f"{path} holds zstd-compressed files, which this reader does not know")
    if flags & _ZLIB:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(content[4:], room + 1)
        if not unpacker.eof and len(content) <= room:
            raise DataError(f"{path} is cut short; fetch the package again")
    if len(content) > room:
        raise DataError(f"{path} unpacks to more than {_LARGEST >> 20} MB (a zip bomb); fetch the package again")
    return content
