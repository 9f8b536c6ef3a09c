"""The Beam pipeline of RetrievalExampleGen.

    files ─ read ─┬─ engagements ┐ by item bucket
                  ├─ items ──────┴─ join catalogue ─┬─ corpus files
                  │                                 └─ engagements ┐ by user bucket
                  ├─ follows, users ──────────────────────────────────────┴─ build ─ example files
                  └─ dead letters, counts

No step holds a table: an item bucket holds its share of the catalogue while
engagements stream past, so an item that everyone engages with costs nothing
extra; a user bucket holds its users' engagements, capped per user.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsSingleton, TaggedOutput
from apache_beam.typehints import KV

from components.config import ExampleGenConfig
from components.example_gen.arrays import combined
from components.example_gen.attributes import write_attributes
from components.example_gen.catalogue import corpus, distinct_items, topics_named, topics_of
from components.example_gen.columns import example_schema
from components.example_gen.examples import build
from components.example_gen.lines import write_lines
from components.example_gen.partition import (
    EVENT,
    FOLLOW,
    ITEM,
    TOPICS,
    USER,
    encode,
    gathered,
    partition,
    rows_of,
)
from components.example_gen.parts import Part
from components.example_gen.periods import Periods, Seen, period_counts, periods_of, total
from components.example_gen.reading import letter_json, read
from components.example_gen.verdict import AddSurveys, verdict_json
from components.example_gen.writing import SplitWriters
from core.errors import DataError
from input_tables.contract import FOLLOWS, ITEMS, USERS, DeadLetter, ReadSettings
from input_tables.feature_survey import FeatureSurvey
from input_tables.survey import Survey
from input_tables.verdict import Rules
from trainer import features

_BY_ITEM, _BY_USER, _LETTERS, _COUNTS, _SEEN, _FAILED = (
    "by_item",
    "by_user",
    "letters",
    "counts",
    "seen",
    "failed",
)
_SURVEY = "survey"
#: Rows joined with the catalogue at a time.
_JOIN_ROWS = 262_144
#: Files of dead letters below a URL.
_LETTER_FILES = 16


class Plan(NamedTuple):
    """What the graph needs to know.

    Attributes:
      parts: the input files, large ones divided.
      settings: row checks.
      config: what makes an example.
      item_buckets: number of item buckets.
      user_buckets: number of user buckets.
      window_end: end (exclusive) of the eval period; None: one past the latest event.
      examples_uri: where the splits are written.
      letters: folder or URL of the dead letters.
      counts: folder or URL of the counts.
      failures: folder or URL of the messages about unreadable files.
      rules: what the tables as a whole must look like.
      verdict: folder or URL of the verdict on them.
    """

    parts: tuple[Part, ...]
    settings: ReadSettings
    config: ExampleGenConfig
    item_buckets: int
    user_buckets: int
    window_end: int | None
    examples_uri: str
    letters: str
    counts: str
    failures: str
    rules: Rules
    verdict: str


class _Read(beam.DoFn):
    """Reads one part; an unreadable one becomes a message, so that all are reported."""

    def __init__(self, plan: Plan) -> None:
        self._settings = plan.settings
        self._buckets = (plan.item_buckets, plan.user_buckets)

    def process(self, part: Part) -> Iterator[TaggedOutput]:
        counts: Counter[str] = Counter()
        file = part.file
        survey = Survey(features=FeatureSurvey(self._settings.features))
        tag = _BY_USER if file.table in (FOLLOWS, USERS) else _BY_ITEM
        try:
            for found in read(file, self._settings, self._buckets, counts, survey, part.rows):
                if isinstance(found, DeadLetter):
                    counts[f"letters:{file.table}"] += 1
                    counts[f"reason:{found.reason}"] += 1
                    yield TaggedOutput(_LETTERS, letter_json(file.table, found))
                elif isinstance(found, Seen):
                    yield TaggedOutput(_SEEN, found)
                else:
                    yield TaggedOutput(tag, found)
        except DataError as error:
            yield TaggedOutput(_FAILED, str(error))
        yield TaggedOutput(_SURVEY, survey)
        yield from _counted(counts)


class _JoinCatalogue(beam.DoFn):
    """Names the items of one bucket's engagements; writes the bucket's corpus."""

    def __init__(self, plan: Plan) -> None:
        self._user_buckets = plan.user_buckets
        self._uri = plan.examples_uri
        self._buckets = plan.item_buckets
        self._attributes = plan.settings.attributes
        self._schema = example_schema(plan.config.features)

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        bucket, rows = element
        counts: Counter[str] = Counter()
        items, letters = distinct_items(rows_of(rows, ITEM))
        ids, topics = combined(items.column("item_id")), topics_of(items)
        with SplitWriters(self._uri, _file_name(bucket, self._buckets)) as writers:
            for batch in corpus(items, self._schema):
                writers.write(features.CORPUS_SPLIT, batch)
        name = _file_name(bucket, self._buckets)
        write_attributes(self._uri, name, items, self._attributes)
        counts[f"examples:{features.CORPUS_SPLIT}"] += items.num_rows
        for letter in letters:
            counts[f"letters:{ITEMS}"] += 1
            counts[f"reason:{letter.reason}"] += 1
            yield TaggedOutput(_LETTERS, letter_json(ITEMS, letter))
        for events in gathered(rows_of(rows, EVENT), _JOIN_ROWS):
            for user_bucket, part in partition(events, "user_id", self._user_buckets):
                yield user_bucket, encode(part, EVENT)
                yield user_bucket, encode(topics_named(part, ids, topics), TOPICS)
        yield from _counted(counts)


class _Build(beam.DoFn):
    """Builds and writes the examples of one user bucket."""

    def __init__(self, plan: Plan) -> None:
        self._config = plan.config
        self._uri = plan.examples_uri
        self._buckets = plan.user_buckets

    def process(
        self, element: tuple[int, Iterable[bytes]], periods: Periods
    ) -> Iterator[tuple[str, int]]:
        bucket, rows = element
        config = self._config.model_copy(update={"split": periods.split})
        counts: Counter[str] = Counter()
        with SplitWriters(self._uri, _file_name(bucket, self._buckets)) as writers:
            events, topics, follows, users = (
                rows_of(rows, tag) for tag in (EVENT, TOPICS, FOLLOW, USER)
            )
            for split, batch in build(events, topics, follows, config, periods.end, counts, users):
                writers.write(split, batch)
        yield from counts.items()


def _file_name(bucket: int, buckets: int) -> str:
    return f"examples-{bucket:05d}-of-{buckets:05d}"


def _counted(counts: Counter[str]) -> Iterator[TaggedOutput]:
    for item in counts.items():
        yield TaggedOutput(_COUNTS, item)


def assemble(pipeline: beam.Pipeline, plan: Plan) -> None:
    """Adds the whole graph to a pipeline.

    Counts are written as lines `name<TAB>number`, dead letters as lines of JSON.
    """
    read_out = (
        pipeline
        | "Files" >> beam.Create(list(plan.parts), reshuffle=False)
        | "SpreadFiles" >> beam.Reshuffle()
        | "Read"
        >> beam.ParDo(_Read(plan)).with_outputs(
            _BY_ITEM, _BY_USER, _LETTERS, _COUNTS, _SEEN, _FAILED, _SURVEY
        )
    )
    joined = (
        read_out[_BY_ITEM]
        | "ToItemBuckets" >> beam.Map(_same).with_output_types(KV[int, bytes])
        | "GroupByItemBucket" >> beam.GroupByKey()
        | "JoinCatalogue"
        >> beam.ParDo(_JoinCatalogue(plan)).with_outputs(_LETTERS, _COUNTS, main=_BY_USER)
    )
    periods = (
        read_out[_SEEN]
        | "AddSeen" >> beam.CombineGlobally(total)
        | "Periods" >> beam.Map(periods_of, plan.config.split, plan.window_end)
    )
    built = (
        (joined[_BY_USER], read_out[_BY_USER])
        | "EventsAndFollows" >> beam.Flatten()
        | "ToUserBuckets" >> beam.Map(_same).with_output_types(KV[int, bytes])
        | "GroupByUserBucket" >> beam.GroupByKey()
        | "Build" >> beam.ParDo(_Build(plan), periods=AsSingleton(periods))
    )
    lengths = periods | "Lengths" >> beam.FlatMap(lambda found: period_counts(found.split))
    write_lines(
        (read_out[_LETTERS], joined[_LETTERS]) | "AllLetters" >> beam.Flatten(),
        "WriteLetters",
        plan.letters,
        _LETTER_FILES,
    )
    write_lines(read_out[_FAILED], "WriteFailures", plan.failures)
    write_lines(
        read_out[_SURVEY]
        | "AddSurveys" >> beam.CombineGlobally(AddSurveys())
        | "Judge" >> beam.Map(verdict_json, plan.rules),
        "WriteVerdict",
        plan.verdict,
    )
    write_lines(
        (read_out[_COUNTS], joined[_COUNTS], built, lengths)
        | "AllCounts" >> beam.Flatten()
        | "Sum" >> beam.CombinePerKey(sum)
        | "CountLines" >> beam.MapTuple(lambda name, number: f"{name}\t{number}"),
        "WriteCounts",
        plan.counts,
    )


def _same(element: tuple[int, bytes]) -> tuple[int, bytes]:
    return element
