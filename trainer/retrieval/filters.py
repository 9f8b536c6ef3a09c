"""Filters of a request: which items of the catalogue may be brought.

Conditions are texts, one comparison each: `region=de`, `created_at>=1700000000`. Several
values of one column are alternatives, several columns must all fit. Every column becomes a
variable beside the index, so that a new catalogue brings new attributes without training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from trainer.config import FILTER_NAME

if TYPE_CHECKING:
    from trainer.retrieval.delta import Delta

_CONDITION = rf"(?s)^({FILTER_NAME})(>=|<=|=)(.*)$"
_NUMBER = r"[ ]*[-+]?[0-9]+([.][0-9]*)?([eE][-+]?[0-9]+)?[ ]*"
#: An id of `allow_item_id` that the catalogue does not hold; -1 is a pad.
_UNKNOWN = -2


class Attributes(NamedTuple):
    """What items can be filtered by.

    Attributes:
      texts: column -> values of each item, `[items]` lists; none for a missing value.
      numbers: column -> `[items]` float64, NaN for a missing value.
    """

    texts: Mapping[str, Sequence[Sequence[bytes]]]
    numbers: Mapping[str, np.ndarray]


class RequestedFilters(NamedTuple):
    """The filters of a batch.

    Attributes:
      allow: `[batch, any]` int32 rows; -1 pads, -2 for ids that are not known.
      deny: `[batch, any]` int32 rows, -1 pads.
      conditions: `[batch, any]` string, '' pads.
    """

    allow: tf.Tensor
    deny: tf.Tensor
    conditions: tf.Tensor


class Groups(NamedTuple):
    """Rows of a batch with the same allowed items.

    Attributes:
      of_row: `[batch]` int32, number of the group.
      count: scalar int32; 1 for an empty batch.
      allow: `[groups, any]` int32, see `Asked`.
      conditions: `[groups, any]` string.
    """

    of_row: tf.Tensor
    count: tf.Tensor
    allow: tf.Tensor
    conditions: tf.Tensor


class _TextColumn(tf.Module):
    """Items by value."""

    def __init__(self, values: Sequence[Sequence[bytes]]) -> None:
        super().__init__(name="text_column")
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        row = np.repeat(np.arange(len(values), dtype=np.int32), lengths)
        flat = np.array([value for each in values for value in each], object)
        names, code = np.unique(flat, return_inverse=True) if len(flat) else (flat, flat)
        order = np.argsort(code, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(code.astype(np.int64)))])
        self.starts = tf.Variable(starts.astype(np.int32), trainable=False)
        self.rows = tf.Variable(row[order].astype(np.int32), trainable=False)
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(names if len(names) else np.array([b""], object), tf.string),
                tf.range(len(names)) if len(names) else tf.constant([-1]),
            ),
            default_value=-1,
        )

    def mask(self, values: tf.Tensor, items: int) -> tf.Tensor:
        code = self.table.lookup(values)
        code = tf.boolean_mask(code, code >= 0)
        places = tf.ragged.range(tf.gather(self.starts, code), tf.gather(self.starts, code + 1))
        rows = tf.gather(self.rows, places.flat_values)
        return marked(rows, items)


class ItemFilters(tf.Module):
    """Says which items satisfy a filter."""

    def __init__(self, items: int, attributes: Attributes, delta: Delta | None = None) -> None:
        """Loads the columns into variables.

        Args:
          items: size of the catalogue.
          attributes: of the items, in catalogue order.
          delta: what changes beside the index; its rows follow.
        """
        super().__init__(name="item_filters")
        self.items, self.delta = items, delta
        self.texts = {name: _TextColumn(values) for name, values in attributes.texts.items()}
        self.numbers = {
            name: tf.Variable(np.asarray(values, np.float64), trainable=False)
            for name, values in attributes.numbers.items()
        }

    def asked(
        self,
        rows: Callable[[tf.Tensor], tf.Tensor],
        allow: tf.Tensor,
        deny: tf.Tensor,
        filter_: tf.Tensor,
    ) -> RequestedFilters:
        """Reads the filters of a batch.

        Args:
          rows: gives the row of each id, -1 for unknown ids.
          allow: `[batch, any]` string, '' pads; a row of pads allows everything.
          deny: the same.
          filter_: `[batch, any]` string, conditions, '' pads.

        Raises:
          InvalidArgumentError: a condition that cannot be read, or of another column.
        """
        known = rows(allow)
        strange = (known < 0) & tf.not_equal(allow, "")
        well = tf.reduce_all(tf.strings.regex_full_match(filter_, self._pattern()))
        check = tf.debugging.Assert(
            well, [f"`filter` holds a condition that is not understood; {self.usage()}", filter_]
        )
        with tf.control_dependencies([check]):
            filter_ = tf.identity(filter_)
        return RequestedFilters(tf.where(strange, _UNKNOWN, known), rows(deny), filter_)

    def usage(self) -> str:
        """Returns in words what conditions there may be."""
        texts = [f"{name}=VALUE" for name in sorted(self.texts)]
        numbers = [f"{name}>=NUMBER (<=, =)" for name in sorted(self.numbers)]
        return "known: " + (", ".join([*texts, *numbers]) or "none")

    def groups(self, asked: RequestedFilters) -> Groups:
        """Puts rows with equal filters together, so that each is worked out once."""
        # A row more, so that an empty batch has a group as well.
        allow = tf.pad(asked.allow, [[0, 1], [0, 0]], constant_values=-1)
        conditions = tf.pad(asked.conditions, [[0, 1], [0, 0]])
        parts = tf.concat([tf.as_string(allow), conditions], axis=1)
        # Lengths before texts, so that different lists never make the same key.
        sized = tf.strings.join([tf.as_string(tf.strings.length(parts)), ":", parts])
        key = tf.strings.reduce_join(sized, axis=1)[:-1]
        names, of_row = tf.unique(key)
        count = tf.maximum(tf.size(names), 1)
        first = tf.math.unsorted_segment_min(tf.range(tf.size(key)), of_row, count)
        first = tf.minimum(first, tf.shape(allow)[0] - 1)
        return Groups(of_row, count, tf.gather(allow, first), tf.gather(conditions, first))

    @staticmethod
    def restricts(groups: Groups, group: tf.Tensor) -> tf.Tensor:
        """Returns whether a group leaves anything out, bool."""
        conditions = tf.not_equal(groups.conditions[group], "")
        return tf.reduce_any(tf.not_equal(groups.allow[group], -1)) | tf.reduce_any(conditions)

    def mask(self, groups: Groups, group: tf.Tensor) -> tf.Tensor:
        """Returns which items a group may get, `[items]` bool, those of the delta last."""
        allow, conditions = groups.allow[group], groups.conditions[group]
        size = self.items if self.delta is None else self.items + self.delta.size()
        listed = marked(tf.boolean_mask(allow, allow >= 0), size)
        mask = listed | ~tf.reduce_any(tf.not_equal(allow, -1))
        column, operator, value = (
            tf.strings.regex_replace(conditions, _CONDITION, part) for part in (r"\1", r"\2", r"\3")
        )
        for name in self.texts:
            own = tf.equal(column, name)
            mask = _narrowed(mask, own, self._carrying, name, tf.boolean_mask(value, own))
        for name in self.numbers:
            own = tf.equal(column, name)
            operators, bounds = tf.boolean_mask(operator, own), tf.boolean_mask(value, own)
            mask = _narrowed(mask, own, self._in_range, name, operators, bounds)
        return mask if self.delta is None else mask & self.delta.live

    def _carrying(self, name: str, values: tf.Tensor) -> tf.Tensor:
        """Returns `[items]` bool: those with one of the values in a text column."""
        found = self.texts[name].mask(values, self.items)
        if self.delta is None:
            return found
        changed = self.delta.texts[name].mask(values, self.delta.size())
        return tf.concat([found, changed], axis=0)

    def _in_range(self, name: str, operator: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        """Returns `[items]` bool: those whose number is within the bounds."""
        numbers = tf.convert_to_tensor(self.numbers[name])
        if self.delta is not None:
            numbers = tf.concat([numbers, self.delta.numbers[name]], axis=0)
        return _in_range(numbers, operator, value)

    def searched(
        self,
        asked: RequestedFilters,
        search: Callable[[tf.Tensor, tf.Tensor | None], tuple[tf.Tensor, tf.Tensor]],
        rank: int,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Searches for the rows with equal filters at a time, so that one mask is held at once.

        Args:
          asked: the filters of a batch.
          search: takes the rows of the batch, `[some, 1]` int64, and what they may get,
            `[items]` bool (None: everything); returns rows and scores, `[some, ...]`.
          rank: of what `search` returns.
        """
        groups = self.groups(asked)

        def body(
            group: tf.Tensor, batch: tf.TensorArray, rows: tf.TensorArray, scores: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray, tf.TensorArray]:
            where = tf.where(tf.equal(groups.of_row, group))
            found = tf.cond(
                self.restricts(groups, group),
                lambda: search(where, self.mask(groups, group)),
                lambda: search(where, None),
            )
            batch = batch.write(group, tf.cast(where[:, 0], tf.int32))
            return group + 1, batch, rows.write(group, found[0]), scores.write(group, found[1])

        def array(dtype: tf.DType, rank: int) -> tf.TensorArray:
            return tf.TensorArray(
                dtype, groups.count, element_shape=[None] * rank, infer_shape=False
            )

        _, batch, rows, scores = tf.while_loop(
            lambda group, *_: group < groups.count,
            body,
            (tf.constant(0), array(tf.int32, 1), array(tf.int32, rank), array(tf.float32, rank)),
            parallel_iterations=1,
        )
        back = tf.argsort(batch.concat(), stable=True)
        return tf.gather(rows.concat(), back), tf.gather(scores.concat(), back)

    def _pattern(self) -> str:
        parts = [rf"(?s:({'|'.join(sorted(self.texts))})=.*)"] if self.texts else []
        if self.numbers:
            parts.append(rf"({'|'.join(sorted(self.numbers))})(>=|<=|=){_NUMBER}")
        return f"({'|'.join(parts)})?"


def _narrowed(
    mask: tf.Tensor, asked: tf.Tensor, fits: Callable[..., tf.Tensor], *arguments: object
) -> tf.Tensor:
    """Returns the part of a mask that fits, where a column is asked for at all."""
    return tf.cond(tf.reduce_any(asked), lambda: mask & fits(*arguments), lambda: mask)


def _in_range(values: tf.Tensor, operator: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Returns `[items]` bool: within all bounds, and equal to one of the values, if any."""
    bound = tf.strings.to_number(tf.strings.strip(value), tf.float64)
    at_least = tf.reduce_max(tf.where(tf.equal(operator, ">="), bound, -np.inf))
    at_most = tf.reduce_min(tf.where(tf.equal(operator, "<="), bound, np.inf))
    equal = tf.boolean_mask(bound, tf.equal(operator, "="))
    within = (values >= at_least) & (values <= at_most)  # NaN never is
    return tf.cond(
        tf.size(equal) > 0,
        lambda: within & tf.reduce_any(tf.equal(values[:, None], equal[None, :]), axis=1),
        lambda: within,
    )


def marked(rows: tf.Tensor, items: tf.Tensor | int) -> tf.Tensor:
    """Returns `[items]` bool, true at the rows; a sum costs a quarter of a scatter."""
    return tf.math.unsorted_segment_sum(tf.ones_like(rows), rows, items) > 0
