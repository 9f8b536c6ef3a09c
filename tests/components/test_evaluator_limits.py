"""Oracle and feasible ranker on generated tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components.evaluator import metrics
from components.evaluator.examples import read_eval_examples
from components.evaluator.floors import Floors
from components.evaluator.items import Items
from components.evaluator.limits import rank_limits, read_truth
from components.evaluator.training_log import read_training_log
from input_tables.generate.config import GeneratorConfig
from input_tables.generate.write import write_generated
from tests.components.raw_examples import example, write_split
from trainer import features


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Generated tables; the last tenth of every user's events is held out."""
    root = tmp_path_factory.mktemp("limits")
    config = GeneratorConfig(users=150, items=200, topics=14, days=20, engagements=6000)
    write_generated(config, root / "tables")
    events = pd.read_parquet(root / "tables/engagements.parquet").sort_values("timestamp")
    rows = {"train": [], "eval": []}
    for user, own in events.groupby("user_id"):
        names = own["item_id"].tolist()
        for place in range(1, len(names)):
            split = "eval" if place >= 0.9 * len(names) else "train"
            rows[split].append(example(user, names[place], names[:place][::-1]))
    for split, examples in rows.items():
        write_split(root / "examples", split, examples)
    table = pd.read_parquet(root / "tables/items.parquet")
    items = Items(
        [name.encode() for name in table["item_id"]],
        [[topic.encode() for topic in topics] for topics in table["topics"]],
    )
    return root, items


def test_knowing_more_finds_more(world):
    root, items = world
    truth = read_truth(str(root / "tables/truth"), items)
    log = read_training_log(str(root / "examples"), items)
    examples = read_eval_examples(str(root / "examples"), items, 2000, 1, [features.USER_ID])
    lists = rank_limits(truth, log, examples, items, 20, 64)
    lists |= Floors(log, items, 20).rank(examples, 64)
    seen = examples.table[features.HISTORY_ITEM_ID].to_pylist()
    for name in ("oracle", "feasible"):
        assert all(len(set(found)) == 20 for found in lists[name].tolist())
        for found, history in zip(lists[name], seen, strict=True):
            assert not {items.ids[i] for i in found} & set(history)
    recall = {
        n: (metrics.target_ranks(found, examples.target) > 0).mean() for n, found in lists.items()
    }
    assert recall["oracle"] > recall["feasible"] > recall["popularity"]
    assert recall["oracle"] > max(
        recall[name] for name in ("item_cosine", "rp3beta", "als", "ease")
    )


def test_truth_is_read_by_id_and_only_where_it_is(world, tmp_path):
    root, items = world
    backwards = Items(items.ids[::-1], [[] for _ in items.ids])
    folder = root / "tables/truth"
    one, other = (read_truth(str(folder), known) for known in (items, backwards))
    np.testing.assert_array_equal(one.weight, other.weight[::-1])
    np.testing.assert_array_equal(one.of_item.toarray(), other.of_item.toarray()[::-1])
    np.testing.assert_allclose(one.interests.sum(axis=1), 1.0)
    assert read_truth("", items) is None
    assert read_truth(str(tmp_path), items) is None
    for name in ("users", "items"):
        pd.read_parquet(folder / f"{name}.parquet").drop(columns="weight").to_parquet(
            tmp_path / f"{name}.parquet"
        )
    assert read_truth(str(tmp_path), items) is None
