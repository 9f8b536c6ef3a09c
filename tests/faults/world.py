"""Tables with odd ids taken through the real chain: ExampleGen to an index that answers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from components.config import IndexConfig
from components.index_builder.build import IndexPaths, build_index
from tests.components.example_gen_oracle import Event, Follow, Rules
from tests.components.example_gen_tables import config_for, ingest, rows_of, write_tables
from tests.trainer.tiny import TRANSFORM, Tiny, transform
from trainer import features
from trainer.config import RetrievalConfig
from trainer.retrieval.signature import bind
from trainer.run_fn import run_fn

#: Ids that programs like to break; each is an item and a user.
ODD = ["007", "7", "a,b", 'quo"te', "new\nline", "carriage\rreturn", " lead", "tab\t", "😀é", "0"]
LONGEST = "x" * 8192
TOO_LONG = "y" * 10_240
PLAIN = "an item without topics"
LATE = "an item that nobody engaged with"
NO_ITEMS = "a topic without items"
TOPICS = ["t0", "t1", 'com,ma "quoted"', "new\ntopic"]
ITEMS = {
    **{name: [TOPICS[place % 4]] for place, name in enumerate([*ODD, LONGEST])},
    **{f"i{n}": [TOPICS[n % 4]] for n in range(20)},
    PLAIN: [],
    LATE: ["t1"],
}
USERS = [*ODD, *(f"u{n}" for n in range(20))]
INTERESTS, HISTORY, RESULTS = 3, TRANSFORM.history_max_items, 12


def tables(root: Path) -> Path:
    """Writes the tables; two rows of engagements and one item break the contract."""
    chance = random.Random(8)
    engaged = [name for name in ITEMS if name != LATE]
    events = [
        Event(user, item, 10 * place + 1, "like", None, "t0" if place % 7 == 0 else None)
        for user in USERS
        for place, item in enumerate(chance.sample(engaged, 10))
    ]
    follows = [Follow(user, TOPICS[n % 4], n % 5) for n, user in enumerate(USERS)]
    follows += [Follow("u1", NO_ITEMS, 1), Follow("only follows", "t1", 1)]
    broken = [Event(TOO_LONG, "7", 5, "like"), Event("", "7", 6, "like")]
    return write_tables(root, events + broken, {**ITEMS, TOO_LONG: ["t0"]}, follows)


@dataclass(frozen=True)
class World:
    """What came out of each step.

    Attributes:
      report: the data report.
      raw: split -> raw examples.
      transformed: folders of the transformed examples.
      model: folder of the exported model.
      embedding, retriever: the loaded SavedModels.
    """

    report: dict[str, Any]
    raw: dict[str, list[dict[str, Any]]]
    transformed: Tiny
    model: Path
    embedding: Any
    retriever: Any

    def retrieve(self, **user: Any) -> dict[str, Any]:
        """Asks the served signature; see `request`."""
        return {
            k: v.numpy() for k, v in bind(self.retriever, "retrieve")(**request(**user)).items()
        }


def request(
    histories: list[list[str]], follows: list[list[str]] | None = None, now: int = 1_000
) -> dict[str, tf.Tensor]:
    """A request for several users; lists are newest first."""
    follows = follows or [[] for _ in histories]
    width = max(map(len, histories))
    names = max(map(len, follows))
    users = len(histories)
    stamps = [[now - 1 - n if n < len(h) else 0 for n in range(width)] for h in histories]
    return {
        features.TIMESTAMP: tf.fill([users], tf.constant(now, tf.int64)),
        features.HISTORY_ITEM_ID: _strings([h + [""] * (width - len(h)) for h in histories], width),
        features.HISTORY_TIMESTAMP: tf.constant(stamps, tf.int64, shape=(users, width)),
        features.HISTORY_ACTION: _strings(
            [["like"] * len(h) + [""] * (width - len(h)) for h in histories], width
        ),
        features.FOLLOWED_TOPIC: _strings([f + [""] * (names - len(f)) for f in follows], names),
    }


def _strings(rows: list[list[str]], width: int) -> tf.Tensor:
    return tf.constant(rows, tf.string, shape=(len(rows), width))


def build(folder: Path) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]], Tiny, Path]:
    """Runs every step once at the least size; `load` takes what this returns."""
    rules = Rules(history_max=HISTORY, follows_max=TRANSFORM.follows_max_topics, repeats="keep")
    report = ingest(config_for(tables(folder / "data"), rules, max_bad_share=0.1), folder)
    raw = {split: rows_of(folder, split) for split in features.SPLITS}
    (folder / "transform").mkdir()
    transformed = transform(str(folder / "transform"), raw)
    run_fn(
        transformed.fn_args(
            folder,
            model={"name": "dcm_cr", "num_interests": INTERESTS, "explicit_slots": 2},
            trainer={"epochs": 1, "steps_per_epoch": 4},
        )
    )
    model, index = folder / "Format-Serving", folder / "index"
    build_index(
        IndexPaths(str(model), str(folder / "examples"), str(index)),
        IndexConfig(kind="exact"),
        RetrievalConfig(num_results=RESULTS),
    )
    return report, raw, transformed, model


def load(built: tuple[dict[str, Any], dict[str, list[dict[str, Any]]], Tiny, Path]) -> World:
    """Loads the models of what `build` has made."""
    model = built[-1]
    retriever = model.with_name("index") / "retriever"
    return World(*built, tf.saved_model.load(str(model)), tf.saved_model.load(str(retriever)))
