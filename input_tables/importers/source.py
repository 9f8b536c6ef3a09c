"""What an importer was given: a folder, an archive, or one file with its companions."""

from __future__ import annotations

import fnmatch
import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from core.errors import DataError
from input_tables.importers.content import ARCHIVES, COMPRESSED, clear, kind_of, plain_text


class Source:
    """The files of one data set, and which of them were read.

    One file is the set's main one: the file that was named, or the one that lies
    nearest the top of a folder or archive. Every other file must lie beside it, so
    that two sets are never mixed.

    Attributes:
      path: what was given.
      names: files that may be read, relative, with `/`.
      files_read: those that were, in order.
    """

    def __init__(self, path: str | Path) -> None:
        """Lists the files of the source; raises DataError when there is nothing to list."""
        self.path = Path(path)
        self.files_read: list[str] = []
        self._zip: zipfile.ZipFile | None = None
        self._tar: tarfile.TarFile | None = None
        self._only: str | None = None
        self._home: str | None = None
        self._root = self.path
        with clear(str(path), "read"):
            self.names = sorted(name for name in self._list() if not _is_hidden(name))

    def _list(self) -> list[str]:
        if self.path.is_dir():
            return [p.relative_to(self._root).as_posix() for p in self._root.rglob("*") if _file(p)]
        if not self.path.is_file():
            raise DataError(f"{self.path}: not found; expected a folder, an archive or a data file")
        if zipfile.is_zipfile(self.path):
            self._zip = zipfile.ZipFile(self.path)
            return [n for n in self._zip.namelist() if not n.endswith("/")]
        if _is_tar(self.path):
            self._tar = tarfile.open(self.path)  # noqa: SIM115 - read until the import ends
            return [m.name.removeprefix("./") for m in self._tar.getmembers() if m.isfile()]
        with open(self.path, "rb") as stream:
            kind = kind_of(stream.read(1024))
        if self.path.name.lower().endswith(ARCHIVES):
            named = self.path.name.lower().rsplit(".", 1)[-1]
            found = "damaged or cut short" if kind in (None, *_ZIPS) else kind
            raise DataError(f"{self.path}: is no {named} archive that can be read: it is {found}")
        self._only, self._root, self._home = self.path.name, self.path.parent, ""
        return [p.name for p in self._root.iterdir() if _file(p)]

    def main(self, *patterns: str) -> str:
        """Returns the file that says which set and which format this is.

        Raises:
          DataError: there is none, or several that lie equally near the top, or
            the named file is none of them.
        """
        found = [n for n in self.names if _matches(n, patterns)]
        if self._only is not None:
            if self._only not in found:
                raise DataError(
                    f"{self.path}: is none of the files to start from ({', '.join(patterns)})"
                )
            return self._only
        if not found:
            raise self._missing(patterns)
        top = min(n.count("/") for n in found)
        nearest = [n for n in found if n.count("/") == top]
        if len(nearest) > 1:
            raise DataError(f"{self.path}: several sets ({', '.join(nearest)}); name one of them")
        self._home = str(PurePosixPath(nearest[0]).parent).removeprefix(".")
        return nearest[0]

    def find(self, *patterns: str) -> str | None:
        """Returns the file beside the main one for the first pattern that any file matches.

        Raises:
          DataError: the file is there twice, for example plain and compressed.
        """
        for pattern in patterns:
            found = [n for n in self._beside() if _matches(n, [pattern])]
            if len(found) > 1:
                raise DataError(f"{self.path}: {' and '.join(found)} for one file; keep one")
            if found:
                return found[0]
        return None

    def require(self, *patterns: str) -> str:
        """Returns what `find` does; raises DataError when there is no such file."""
        found = self.find(*patterns)
        if found is None:
            raise self._missing(patterns)
        return found

    def _beside(self) -> list[str]:
        if self._home is None:
            return self.names
        return [n for n in self.names if n.rpartition("/")[0] == self._home]

    def _missing(self, patterns: Sequence[str]) -> DataError:
        names = self._beside()
        shown = ", ".join(names[:10]) or "nothing"
        more = ", ..." if len(names) > 10 else ""
        return DataError(
            f"{self.path}: none of {', '.join(patterns)} found (there is: {shown}{more})"
        )

    def open(self, name: str) -> BinaryIO:
        """Opens one file of the source, compression undone.

        Raises:
          DataError: it cannot be opened, or is no text (a page, an archive, ...).
        """
        if name not in self.files_read:
            self.files_read.append(name)
        where = self.where(name)
        with clear(where, "opened"):
            return plain_text(self._raw(name), where)

    def _raw(self, name: str) -> BinaryIO:
        if self._zip is not None:
            return io.BytesIO(self._zip.read(name))
        if self._tar is not None:
            members = {m.name.removeprefix("./"): m for m in self._tar.getmembers()}
            stream = self._tar.extractfile(members[name])
            return io.BytesIO(stream.read() if stream else b"")
        return open(self._root / name, "rb", buffering=0)  # type: ignore[return-value]

    def text(self, name: str) -> str:
        """Returns a whole small file; what is not UTF-8 is taken for Latin-1."""
        with self.open(name) as stream, clear(self.where(name), "read"):
            data = stream.read()
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return data.decode("latin-1")

    def where(self, name: str) -> str:
        """Returns what messages call a file."""
        if self._only is not None:
            return str(self._root / name)
        return f"{self.path}/{name}"


_ZIPS = ("a zip archive or an Excel workbook", "an empty zip archive")


def _file(path: Path) -> bool:
    return path.is_file()


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _is_tar(path: Path) -> bool:
    if path.stat().st_size == 0:
        return False
    try:
        return tarfile.is_tarfile(path)
    except (EOFError, OSError):  # cut short within its first bytes
        return False


def _matches(name: str, patterns: Sequence[str]) -> bool:
    base = PurePosixPath(name).name.lower()
    return any(
        fnmatch.fnmatchcase(base, pattern.lower() + end)
        for pattern in patterns
        for end in ("", *COMPRESSED)
    )
