"""Beam's Dask runner, made fit for graphs with several outputs.

`apache_beam.runners.dask.dask_runner.DaskRunner` of Beam 2.74 cannot run
RetrievalExampleGen (docs/beam.md has the list): it gives the elements of all tags to
every reader of a tagged output, computes the last step of the graph only, computes a
side input anew inside each task that reads it, and loses what `finish_bundle` yields.
This runner keeps Beam's options, result and `DoFn` machinery and translates the graph
itself: a PCollection is a list of Dask values, one per partition, a side input is an
argument of the task.

    --runner=pipeline.beam.dask_runner.DaskRunner --dask_client_address=tcp://host:8786
"""

from __future__ import annotations

import operator
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
import dask.distributed as distributed
from apache_beam import coders
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor, PTransformOverride
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.runners.common import DoFnSignature
from apache_beam.runners.dask import dask_runner as beams
from apache_beam.transforms.util import ReshufflePerKey
from apache_beam.transforms.window import GlobalWindows
from apache_beam.typehints import typehints
from dask.delayed import Delayed, delayed

from core.errors import ConfigError
from pipeline.beam import dask_steps as steps

Partitions = list[Delayed]


class _Leaf(beam.PTransform):
    """A composite of Beam that this runner carries out as one step."""

    def __init__(self, original: beam.PTransform) -> None:
        super().__init__()
        self.original = original

    def expand(self, input_or_inputs: Any) -> PCollection:
        return PCollection.from_(input_or_inputs)

    def get_windowing(self, inputs: Any) -> beam.Windowing:
        # The beginning of a graph has none to hand on; others are refused below.
        return beam.Windowing(GlobalWindows())


class _Create(_Leaf):
    pass


class _Reshuffle(_Leaf):
    pass


class _Read(_Leaf):
    pass


class _Replaced(PTransformOverride):
    def __init__(self, kind: type[beam.PTransform], leaf: type[_Leaf]) -> None:
        self._kind, self._leaf = kind, leaf

    def matches(self, applied_ptransform: AppliedPTransform) -> bool:
        return type(applied_ptransform.transform) is self._kind

    def get_replacement_transform_for_applied_ptransform(
        self, applied_ptransform: AppliedPTransform
    ) -> beam.PTransform:
        return self._leaf(applied_ptransform.transform)


class _Translation(PipelineVisitor):
    """Turns each primitive step into Dask tasks.

    Attributes:
      ends: what must be computed: one value per partition of each step.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._values: dict[tuple[AppliedPTransform, str | None], Partitions] = {}
        self.ends: list[Delayed] = []
        self._rules: list[tuple[type, Callable[[AppliedPTransform], Partitions | None]]] = [
            (beam.Impulse, self._impulse),
            (_Create, self._create),
            (_Read, self._read),
            (_Reshuffle, self._reshuffle),
            (beam.GroupByKey, self._group_by_key),
            (beam.Flatten, self._flatten),
            (beam.ParDo, self._par_do),
        ]

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        """See base class."""
        translate = next(
            (rule for kind, rule in self._rules if isinstance(transform_node.transform, kind)), None
        )
        if translate is None:
            raise NotImplementedError(_not_here(transform_node, "this kind of step"))
        for value in transform_node.inputs:
            windowing = getattr(value, "windowing", None)
            if windowing is not None and windowing.windowfn != GlobalWindows():
                raise NotImplementedError(_not_here(transform_node, "windows"))
        found = translate(transform_node)
        if found is not None:
            self._values[(transform_node, None)] = found

    def _of(self, value: PCollection) -> Partitions:
        return self._values[(value.producer, value.tag)]

    def _main(self, node: AppliedPTransform) -> Partitions:
        return self._of(node.inputs[0])

    def _impulse(self, node: AppliedPTransform) -> Partitions:
        return [_constant([b""], node.full_label)]

    def _create(self, node: AppliedPTransform) -> Partitions:
        # Several tasks that wait for nothing: Dask gives them to several workers, while
        # what depends on one value tends to run where that value is.
        parts = steps.deal(steps.Partition(node.transform.original.values), self._partitions, 0)
        return [_constant(part, node.full_label) for part in parts if part] or [_constant([])]

    def _read(self, node: AppliedPTransform) -> Partitions:
        source = node.transform.original.source
        # A source divides itself by bytes, so this gives about as many parts as wanted.
        size = max(1, (source.estimate_size() or 0) // self._partitions)
        return [
            _task(steps.read_source, bundle.source, label=node.full_label)
            for bundle in source.split(size)
        ] or [_constant([])]

    def _par_do(self, node: AppliedPTransform) -> None:
        transform = node.transform
        signature = DoFnSignature(transform.fn)
        if signature.is_stateful_dofn():
            raise NotImplementedError(_not_here(node, "state and timers"))
        if signature.is_splittable_dofn():
            raise NotImplementedError(_not_here(node, "splittable DoFns"))
        packed = steps.Step(
            label=node.full_label,
            fn=transform.fn,
            args=transform.args,
            kwargs=transform.kwargs,
            views=[(type(side), side._view_options()) for side in node.side_inputs],
            tags=list(node.outputs),
        ).packed()
        sides = [self._of(side.pvalue) for side in node.side_inputs]
        bundles = [
            _task(steps.run_bundle, packed, partition, *sides, label=node.full_label)
            for partition in self._main(node)
        ]
        for tag in node.outputs:
            self._values[(node, tag)] = [_task(steps.output, bundle, tag) for bundle in bundles]
        # Also of steps whose output somebody reads: who reads it may read one tag of many.
        self.ends += [_task(steps.done, bundle) for bundle in bundles]

    def _group_by_key(self, node: AppliedPTransform) -> Partitions:
        hint = typehints.coerce_to_kv_type(node.inputs[0].element_type, node.full_label)
        coder = coders.registry.get_coder(hint.tuple_types[0])
        coder = coder.as_deterministic_coder(node.full_label)
        pieces = [
            _task(steps.split_by_key, partition, coder, self._partitions)
            for partition in self._main(node)
        ]
        return [_task(steps.group, coder, part) for part in self._transposed(pieces)]

    def _reshuffle(self, node: AppliedPTransform) -> Partitions:
        pieces = [
            # Not all from list 0: partitions of one element each would meet there.
            _task(steps.deal, partition, self._partitions, number % self._partitions)
            for number, partition in enumerate(self._main(node))
        ]
        return [_task(steps.gather, part) for part in self._transposed(pieces)]

    def _transposed(self, pieces: Partitions) -> list[list[Delayed]]:
        return [
            [_task(operator.getitem, piece, part) for piece in pieces]
            for part in range(self._partitions)
        ]

    def _flatten(self, node: AppliedPTransform) -> Partitions:
        values = [v for v in node.inputs if not isinstance(v, PBegin)]
        found = [partition for value in values for partition in self._of(value)]
        return found or [_constant([])]


def _not_here(node: AppliedPTransform, what: str) -> str:
    return f"{node.full_label}: the Dask runner does not know {what}; use another runner"


def _task(function: Callable[..., Any], *args: Any, label: str = "") -> Delayed:
    """Returns a task that is never taken for another one with equal arguments."""
    # The part before the dash groups tasks in Dask's own displays.
    key = f"{label or function.__name__}-{uuid.uuid4().hex}"
    return delayed(function, pure=False)(*args, dask_key_name=key)


def _constant(values: list[Any], label: str = "") -> Delayed:
    """Returns a partition of given values, packed so that Dask looks for no tasks in them."""
    return _task(steps.unpacked, pickler.dumps(values), label=label)


class _Result(beams.DaskRunnerResult):
    """Closes the client when the pipeline has ended, and with it a cluster of its own."""

    def wait_until_finish(self, duration: int | None = None) -> str:
        """See base class."""
        try:
            return super().wait_until_finish(duration)
        finally:
            self.client.close()


class DaskRunner(beams.DaskRunner):
    """Runs bounded pipelines in the global window on a Dask cluster."""

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> _Result:
        """See base class.

        Raises:
          ConfigError: no scheduler answers.
          NotImplementedError: the graph has a step that this runner does not know.
        """
        settings = options.view_as(beams.DaskOptions).get_all_options(
            drop_default=True, current_only=True
        )
        wanted = beams.DaskOptions._extract_bag_kwargs(settings)
        try:
            client = distributed.Client(**settings)
        except OSError as error:
            raise ConfigError(f"beam.args: no Dask scheduler: {error}") from error
        try:
            pipeline.replace_all(_replacements())
            translation = _Translation(wanted.get("npartitions") or _threads(client))
            pipeline.visit(translation)
            futures = client.compute(translation.ends)
        except BaseException:
            client.close()
            raise
        return _Result(client, futures)


def _replacements() -> Sequence[PTransformOverride]:
    return [
        _Replaced(beam.Create, _Create),
        _Replaced(beam.Reshuffle, _Reshuffle),
        _Replaced(ReshufflePerKey, _Reshuffle),
        _Replaced(beam.io.Read, _Read),
    ]


def _threads(client: distributed.Client) -> int:
    return max(1, sum(client.nthreads().values()))
