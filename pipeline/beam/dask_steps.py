"""What a Dask worker does for one partition of one step.

A partition is a list of plain values: every step of a bounded pipeline is in the
global window, so windows and timestamps are only put on while a `DoFn` runs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from apache_beam.coders import Coder
from apache_beam.internal import pickler
from apache_beam.io.iobase import BoundedSource
from apache_beam.runners.common import DoFnRunner, Receiver
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.sideinputs import SideInputMap
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue


class Partition(list[Any]):
    """Elements. A type of its own: Dask sends plain lists element by element, this whole."""


class Pieces(list[Partition]):
    """A partition divided for the partitions of a next step."""


class Outputs(dict[str | None, Partition]):
    """Elements per tag; the main output has the tag None."""


class Step(NamedTuple):
    """A `ParDo`, as it is sent to the workers.

    Attributes:
      label: its full name, for errors.
      fn: the `DoFn`.
      args: positional arguments, placeholders where side inputs go.
      kwargs: keyword arguments, likewise.
      views: class and options of each side input.
      tags: the outputs that somebody reads.
    """

    label: str
    fn: Any
    args: Sequence[Any]
    kwargs: dict[str, Any]
    views: list[tuple[type, dict[str, Any]]]
    tags: list[str | None]

    def packed(self) -> bytes:
        """Returns the step as bytes.

        Each bundle unpacks its own `DoFn`: threads of one worker must not share one.
        """
        return pickler.dumps(tuple(self))


class _Collected(Receiver):
    """Keeps the values it is given."""

    def __init__(self) -> None:
        self.values = Partition()

    def receive(self, windowed_value: WindowedValue) -> None:
        self.values.append(windowed_value.value)


class _Dropped(Receiver):
    """The output of a tag that nobody reads."""

    def receive(self, windowed_value: WindowedValue) -> None:
        pass


class _Receivers(dict):
    def __missing__(self, tag: str) -> Receiver:
        return self.setdefault(tag, _Dropped())


def run_bundle(packed: bytes, elements: Partition, *sides: list[Partition]) -> Outputs:
    """Runs one partition through a `DoFn`, from its setup to its teardown.

    Args:
      packed: a `Step`.
      elements: the partition.
      *sides: the partitions of each side input.
    """
    step = Step(*pickler.loads(packed))
    maps = [
        SideInputMap(view, options, list(_windowed(_chained(side))))
        for (view, options), side in zip(step.views, sides, strict=True)
    ]
    outputs = {tag: _Collected() for tag in step.tags}
    receivers = _Receivers(outputs)
    runner = DoFnRunner(
        step.fn,
        step.args,
        step.kwargs,
        maps,
        Windowing(GlobalWindows()),
        tagged_receivers=receivers,
        step_name=step.label,
    )
    runner.setup()
    try:
        runner.start()
        for element in _windowed(elements):
            runner.process(element)
        runner.finish()
    finally:
        runner.teardown()
    return Outputs((tag, output.values) for tag, output in outputs.items())


def _windowed(values: Iterable[Any]) -> Iterator[WindowedValue]:
    return map(GlobalWindows.windowed_value, values)


def _chained(partitions: Iterable[Partition]) -> Iterator[Any]:
    for partition in partitions:
        yield from partition


def output(outputs: Outputs, tag: str | None) -> Partition:
    """Returns the elements of one tag."""
    return outputs[tag]


def split_by_key(elements: Partition, coder: Coder, parts: int) -> Pieces:
    """Returns `(encoded key, value)` in `parts` lists, by the key.

    Python's own `hash` may differ between processes, Beam's encoding of a key does not;
    keys are equal when their encodings are.
    """
    found = Pieces(Partition() for _ in range(parts))
    for key, value in elements:
        encoded = coder.encode(key)
        found[zlib.crc32(encoded) % parts].append((encoded, value))
    return found


def group(coder: Coder, pieces: list[Partition]) -> Partition:
    """Returns `(key, [values])` of what `split_by_key` put into one part."""
    groups: dict[bytes, list[Any]] = {}
    for encoded, value in _chained(pieces):
        groups.setdefault(encoded, []).append(value)
    return Partition((coder.decode(encoded), values) for encoded, values in groups.items())


def deal(elements: Partition, parts: int, first: int) -> Pieces:
    """Returns the elements in turn to `parts` lists, beginning with list `first`."""
    return Pieces(Partition(elements[(part - first) % parts :: parts]) for part in range(parts))


def unpacked(packed: bytes) -> Partition:
    """Returns the elements that were pickled as a list."""
    return Partition(pickler.loads(packed))


def gather(pieces: list[Partition]) -> Partition:
    """Returns the elements of all pieces."""
    return Partition(_chained(pieces))


def read_source(source: BoundedSource) -> Partition:
    """Returns the records of a bounded source."""
    return Partition(source.read(source.get_range_tracker(None, None)))


def done(outputs: Outputs | Partition) -> int:
    """Ends a branch: whoever waits for it gets a number, not its elements."""
    return len(outputs)
