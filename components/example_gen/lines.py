"""Lines of text that workers write: dead letters, counts, messages."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import apache_beam as beam
from apache_beam.typehints import KV

from core.storage import ObjectStore, is_remote

_SUFFIX = ".jsonl"


def write_lines(lines: beam.PCollection, label: str, place: str, shards: int = 1) -> None:
    """Writes lines to files below a folder or a URL.

    Args:
      lines: texts.
      label: of the step.
      place: a folder, written by Beam; or a URL, where each file appears whole and under the
        same name when a bundle is run again.
      shards: files below a URL at most; those without a line are not made.
    """
    if not is_remote(place):
        _ = lines | label >> beam.io.WriteToText(f"{place}/rows", file_name_suffix=_SUFFIX)
        return
    _ = (
        lines
        | f"{label}Shard"
        >> beam.Map(lambda line: (zlib.crc32(line.encode()) % shards, line)).with_output_types(
            KV[int, str]
        )
        | f"{label}Group" >> beam.GroupByKey()
        | label >> beam.ParDo(_Upload(place, shards))
    )


class _Upload(beam.DoFn):
    def __init__(self, url: str, shards: int) -> None:
        self._url = url
        self._shards = shards

    def process(self, element: tuple[int, Iterable[str]]) -> None:
        shard, lines = element
        with tempfile.TemporaryDirectory(prefix="tessera-lines-") as folder:
            path = Path(folder) / f"rows-{shard:05d}-of-{self._shards:05d}{_SUFFIX}"
            with open(path, "w", encoding="utf-8") as sink:
                sink.writelines(f"{line}\n" for line in lines)
            ObjectStore(self._url).upload(path, path.name)


def read_lines(place: str) -> Iterator[str]:
    """Yields the lines of all files of a folder or below a URL, file by file."""
    if is_remote(place):
        store = ObjectStore(place)
        for name in store.list():
            yield from store.read(name).decode().splitlines()
        return
    for path in sorted(Path(place).iterdir()):
        yield from path.read_text(encoding="utf-8").splitlines()
