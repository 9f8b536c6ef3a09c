"""Finds damaged files of transformed examples before TensorFlow reads them.

TensorFlow takes an empty file, or one that was cut at the end of a record, for
the end of the data, and its errors do not name the file.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, cast

import tensorflow as tf

from core.errors import TrainingError

_CHUNK_BYTES = 1 << 20
#: Length (uint64) and its checksum before each record, a checksum behind it.
_LENGTH = struct.Struct("<Q")
_HEAD_BYTES, _FRAME_BYTES = 12, 16
#: No transformed example comes near this size: a larger length is not one.
_MAX_RECORD_BYTES = 1 << 26


def check_files(paths: Iterable[str]) -> None:
    """Reads gzipped TFRecord files to their ends; gzip's checksum covers every byte.

    Args:
      paths: files to check.

    Raises:
      TrainingError: names each file that is empty, cut or damaged.
    """
    problems = [f"{path}: {problem}" for path in paths if (problem := _problem(path))]
    if problems:
        raise TrainingError(
            "transformed examples cannot be read:\n  "
            + "\n  ".join(problems)
            + "\nrun the pipeline again with --no-cache to make them anew"
        )


def _problem(path: str) -> str:
    """Returns what is wrong with one file, an empty string when nothing is."""
    try:
        if not tf.io.gfile.stat(path).length:
            return "the file has no bytes; even a split without examples has a gzip header"
        with tf.io.gfile.GFile(path, "rb") as stream:
            return _framing_problem(_chunks(cast(IO[bytes], stream)))
    except (OSError, EOFError, zlib.error, tf.errors.OpError) as error:
        return f"{type(error).__name__}: {error}"


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=stream) as plain:
        while chunk := plain.read(_CHUNK_BYTES):
            yield chunk


def _framing_problem(chunks: Iterator[bytes]) -> str:
    """Follows the lengths of the records to the end of the file."""
    held = b""
    for chunk in chunks:
        held += chunk
        at = 0
        while at + _HEAD_BYTES <= len(held):
            (length,) = _LENGTH.unpack_from(held, at)
            if length > _MAX_RECORD_BYTES:
                return f"a record of {length} bytes: this is not a TFRecord file"
            if at + _FRAME_BYTES + length > len(held):
                break
            at += _FRAME_BYTES + length
        held = held[at:]
    return f"its last record is cut after {len(held)} bytes" if held else ""
