"""ZhihuRec (Tsinghua and Zhihu), the cleaned release of December 2022.

All files are CSV without a header; lists are ids joined by spaces; empty is null.
`inter_impression.csv`: user, answer, impression time, click time (0: no click).
`info_user.csv`: 27 columns, the last holds the topics the user follows.
`info_answer.csv`: 18 columns: answer, question (2nd), creation time (7th), topics (18th).
`info_question.csv` (may be absent): 8 columns, topics are the 8th.

Assumptions: a clicked impression is a `click` at its click time (at its impression
time where the click is dated earlier), any other a `skip` at its impression time;
an answer without topics takes those of its question; a creation time of 0 is
unknown; follows are undated. The release of 2021 (`zhihu1M.txt`) is not read.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from input_tables.importers.base import Imported, Importer, filled, whole_numbers
from input_tables.importers.delimited import read_columns
from input_tables.importers.meeting import unmet
from input_tables.importers.source import Source

_IMPRESSION = ("user_id", "item_id", "impression", "click")
_USER_COLUMNS, _ANSWER_COLUMNS, _QUESTION_COLUMNS = 27, 18, 8


def read(source: Source) -> Imported:
    """Reads the 100M set, or its first lines as the 20M and 1M sets are."""
    engagements = _engagements(source)
    users = _plain(source, "info_user.csv", _USER_COLUMNS, {0: "user_id", 26: "topics"})
    warnings: list[str | None] = []
    items = _items(source, warnings)
    raters = unmet(engagements["user_id"], users["user_id"], "users who engaged", "info_user.csv")
    told = tuple(warning for warning in (*warnings, raters) if warning)
    notes = ("use negative_actions: [skip] (or positive_actions: [click])",)
    return Imported(engagements, items, _follows(users), "seconds", notes, told)


def _plain(source: Source, file: str, width: int, wanted: dict[int, str]) -> pa.Table:
    names = [wanted.get(n, f"_{n}") for n in range(width)]
    return read_columns(source, source.require(file), list(wanted.values()), names=names)


def _engagements(source: Source) -> pa.Table:
    name = source.main("inter_impression.csv")
    table = read_columns(source, name, _IMPRESSION, names=_IMPRESSION)
    shown = whole_numbers(table, "impression", source.where(name))
    clicked_at = whole_numbers(table, "click", source.where(name))
    clicked = pc.greater(clicked_at, 0)
    return pa.table(
        {
            "user_id": filled(table, "user_id", source.where(name)),
            "item_id": filled(table, "item_id", source.where(name)),
            "timestamp": pc.max_element_wise(shown, clicked_at),
            "action": pc.if_else(clicked, "click", "skip"),
        }
    )


def _items(source: Source, warnings: list[str | None]) -> pa.Table:
    wanted = {0: "item_id", 1: "question", 6: "created", 17: "topics"}
    answers = _plain(source, "info_answer.csv", _ANSWER_COLUMNS, wanted)
    where = source.where(source.require("info_answer.csv"))
    created = whole_numbers(answers, "created", where)
    topics = answers["topics"]
    if source.find("info_question.csv"):
        columns = {0: "question", 7: "topics"}
        questions = _plain(source, "info_question.csv", _QUESTION_COLUMNS, columns)
        known = questions["question"]
        warnings.append(unmet(answers["question"], known, "questions", "info_question.csv"))
        row = pc.index_in(answers["question"], value_set=known.combine_chunks())
        inherited = pc.fill_null(questions["topics"].take(row), "")
        topics = pc.if_else(pc.equal(topics, ""), inherited, topics)
    return pa.table(
        {
            "item_id": answers["item_id"],
            "topics": _split(topics),
            "created_at": pc.if_else(pc.greater(created, 0), created, pa.scalar(None, pa.int64())),
        }
    )


def _split(joined: pa.ChunkedArray) -> pa.Array:
    """Splits at spaces; an empty text gives an empty list."""
    text = joined.combine_chunks() if joined.num_chunks else pa.array([], pa.string())
    lists = pc.split_pattern(text, " ")
    lengths = pc.list_value_length(lists).to_numpy()
    values = pc.list_flatten(lists)
    keep = pc.not_equal(values, "").to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(text)), lengths)[keep]
    offsets = np.zeros(len(text) + 1, np.int32)
    np.cumsum(np.bincount(row, minlength=len(text)), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values.filter(pa.array(keep)))


def _follows(users: pa.Table) -> pa.Table:
    topics = _split(users["topics"])
    row = pc.list_parent_indices(topics)
    followed = pc.list_flatten(topics)
    return pa.table(
        {
            "user_id": users["user_id"].take(row),
            "topic": followed,
            "timestamp": pa.nulls(len(followed), pa.int64()),
        }
    )


IMPORTER = Importer(
    "zhihurec", "ZhihuRec", "inter_impression.csv, info_user.csv, info_answer.csv", read
)
