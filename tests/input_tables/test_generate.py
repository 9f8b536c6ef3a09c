import datetime as dt
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from input_tables.config import DataConfig
from input_tables.generate import GeneratorConfig, generate, write_generated
from input_tables.generate.pools import Pools
from input_tables.layout import check_headers, find_tables, fingerprint, read_settings
from input_tables.reading import read_table

SMALL = GeneratorConfig(users=400, items=1000, topics=18, days=10, engagements=10_000, seed=3)


@pytest.fixture(scope="module")
def tables():
    return generate(SMALL)


@pytest.fixture(scope="module")
def frames(tables):
    return {name: table.to_pandas() for name, table in tables._asdict().items()}


def test_equal_seeds_give_equal_tables_and_other_seeds_do_not(tables):
    again = generate(SMALL)
    other = generate(SMALL.model_copy(update={"seed": 4}))
    assert all(one.equals(two) for one, two in zip(tables, again, strict=True))
    assert not tables.engagements.equals(other.engagements)


def test_about_the_asked_number_of_engagements(tables):
    assert 0.7 * SMALL.engagements < tables.engagements.num_rows < 1.2 * SMALL.engagements


def test_no_engagement_before_its_item_exists(frames):
    joined = frames["engagements"].merge(frames["items"], on="item_id")
    assert (joined["created_at"] < joined["timestamp"]).all()


def test_engagements_lie_within_the_log(frames):
    times = frames["engagements"]["timestamp"]
    assert times.min() >= SMALL.start and times.max() < SMALL.end
    assert times.is_monotonic_increasing


def test_items_and_users_appear_over_time(frames):
    assert (frames["items"]["created_at"] >= SMALL.start).mean() > 0.15
    first = frames["engagements"].groupby("user_id")["timestamp"].min()
    assert (first > SMALL.start + 3 * 86_400).mean() > 0.1


def test_item_popularity_is_skewed(frames):
    counts = frames["engagements"]["item_id"].value_counts().to_numpy()
    tenth = counts[: len(counts) // 10].sum() / counts.sum()
    assert tenth > 0.25


def test_users_have_several_interests_of_unequal_weight(frames):
    truth = frames["user_truth"]
    number = truth.groupby("user_id").size()
    assert number.min() >= SMALL.interests_min and number.max() <= SMALL.interests_max
    assert np.allclose(truth.groupby("user_id")["weight"].sum(), 1.0)
    assert truth.groupby("user_id")["weight"].max().mean() > 1.3 / number.mean()
    assert truth.groupby("user_id")["topic"].nunique().equals(number)


def test_most_engagements_come_from_the_users_own_interests(frames):
    events = frames["engagement_truth"]
    own = events[events["driver"] == "interest"].merge(
        frames["user_truth"], on=["user_id", "interest"], how="left"
    )
    assert own["weight"].notna().all()
    assert (events["driver"] == "interest").mean() > 0.5


def test_follows_overlap_with_behaviour_only_partly(frames):
    follows = frames["follows"][["user_id", "topic"]]
    interests = frames["user_truth"][["user_id", "topic"]]
    both = follows.merge(interests)
    assert 0.2 < len(both) / len(interests) < 0.7
    assert 0.2 < len(both) / len(follows) < 0.9
    seen = frames["engagements"].merge(frames["items"].explode("topics"), on="item_id")
    seen = seen[["user_id", "topics"]].drop_duplicates().rename(columns={"topics": "topic"})
    assert len(follows.merge(seen)) < 0.95 * len(follows)


def test_follows_are_dated_undated_and_some_are_ended(frames):
    follows = frames["follows"]
    assert not follows.duplicated(["user_id", "topic"]).any()
    assert 0.05 < follows["timestamp"].isna().mean() < 0.3
    ended = follows.dropna(subset=["unfollowed_at"])
    assert 0 < len(ended) < 0.15 * len(follows)
    assert (ended["unfollowed_at"] > ended["timestamp"]).all()


def test_topic_feeds_show_a_topic_followed_at_that_time(frames):
    feed = frames["engagements"][frames["engagements"]["source"] == "topic_feed"]
    joined = feed.merge(
        frames["follows"],
        left_on=["user_id", "source_topic"],
        right_on=["user_id", "topic"],
        suffixes=("", "_follow"),
    )
    assert len(joined) == len(feed) > 0
    assert (joined["timestamp_follow"].fillna(0) < joined["timestamp"]).all()
    assert (joined["unfollowed_at"].fillna(np.inf) > joined["timestamp"]).all()
    topics = joined.merge(frames["items"], on="item_id")
    assert all(t in of for t, of in zip(topics["source_topic"], topics["topics"], strict=True))
    others = frames["engagements"]["source"] != "topic_feed"
    assert frames["engagements"].loc[others, "source_topic"].isna().all()


def test_several_actions_and_sources_are_logged(frames):
    assert set(frames["engagements"]["action"]) == {"click", "save", "share", "hide"}
    assert set(frames["engagements"]["source"]) == {"home", "topic_feed", "search", "related"}


def test_items_carry_a_few_correlated_noisy_topics(frames):
    number = frames["items"]["topics"].map(len)
    assert 1.5 < number.mean() < 3.5 and number.max() <= 4 and (number == 0).any()
    own = frames["item_truth"].merge(frames["items"], on="item_id")
    carried = [topic in of for topic, of in zip(own["topic"], own["topics"], strict=True)]
    assert 0.85 < np.mean(carried) < 1.0


@given(
    users=st.integers(1, 40),
    items=st.integers(1, 60),
    topics=st.integers(4, 30),
    days=st.integers(1, 4),
    engagements=st.integers(1, 600),
    seed=st.integers(0, 10_000),
    view_share=st.sampled_from([0.0, 0.5, 2.0]),
    search_share=st.sampled_from([0.0, 0.5]),
)
def test_any_size_gives_consistent_tables(**sizes):
    made = generate(GeneratorConfig(**sizes))
    known = set(made.items["item_id"].to_pylist())
    assert set(made.engagements["item_id"].to_pylist()) <= known
    pairs = pd.MultiIndex.from_frame(made.engagements.select(["user_id", "item_id"]).to_pandas())
    assert not pairs.duplicated().any()


@given(st.integers(0, 10**6))
def test_pools_draw_members_that_exist(seed):
    rng = np.random.default_rng(seed)
    groups, created = rng.integers(0, 5, 30), rng.integers(0, 50, 30)
    pools = Pools(groups, np.arange(30), created, rng.random(30) + 0.01)
    group, moment = rng.integers(0, 6, 200), rng.integers(-5, 60, 200)
    drawn = pools.draw(group, moment, rng.random(200))
    for g, m, item in zip(group, moment, drawn, strict=True):
        possible = np.flatnonzero((groups == g) & (created < m))
        assert (item in possible) if len(possible) else (item == -1)


def test_pools_follow_their_weights():
    pools = Pools(np.zeros(3, int), np.arange(3), np.zeros(3, int), np.array([1.0, 2.0, 7.0]))
    uniform = (np.arange(10_000) + 0.5) / 10_000
    drawn = pools.draw(np.zeros(10_000, int), np.ones(10_000, int), uniform)
    assert np.allclose(np.bincount(drawn) / 10_000, [0.1, 0.2, 0.7], atol=1e-3)


def rows(found, table):
    checks = read_settings(found, "seconds")
    batches = []
    for file in found.of(table):
        for batch, letters in read_table(file.path, table, checks):
            assert letters == []
            batches.append(batch.to_pandas())
    return pd.concat(batches)


@pytest.mark.parametrize("file_format", ["parquet", "csv", "csv.gz"])
def test_written_tables_keep_the_contract(tmp_path, tables, file_format):
    counts = write_generated(SMALL, tmp_path / "t", file_format)
    found = find_tables(DataConfig(root=str(tmp_path / "t")))
    check_headers(found)
    assert len(rows(found, "engagements")) == counts["engagements"] == len(tables.engagements)
    assert len(rows(found, "follows")) == counts["follows"] == len(tables.follows)
    assert rows(found, "items")["topics"].map(len).sum() > 0
    assert sorted(os.listdir(tmp_path / "t/truth")) == [
        f"{name}.parquet" for name in ("engagements", "items", "users")
    ]


def test_spans_hold_the_days_and_what_was_known_then(tmp_path, tables):
    write_generated(SMALL, tmp_path / "t", layout="spans")
    day = SMALL.end_date - dt.timedelta(days=2)
    found = find_tables(DataConfig(root=str(tmp_path / "t"), run_date=day, window_days=8))
    check_headers(found)
    end = SMALL.end - 2 * 86_400
    times = tables.engagements["timestamp"].to_numpy()
    assert len(rows(found, "engagements")) == (times < end).sum()
    assert (rows(found, "items")["created_at"] < end).all()
    follows = rows(found, "follows")
    assert follows["timestamp"].max() < end
    assert not (follows["unfollowed_at"] >= end).any()


def test_one_seed_gives_one_fingerprint(tmp_path):
    prints = []
    for name in ("a", "b"):
        write_generated(SMALL, tmp_path / name, "csv")
        prints.append(fingerprint(find_tables(DataConfig(root=str(tmp_path / name)))))
    assert prints[0] == prints[1]


def test_writing_over_a_folder_needs_force(tmp_path):
    write_generated(SMALL, tmp_path / "t")
    with pytest.raises(ConfigError, match="not empty"):
        write_generated(SMALL, tmp_path / "t")
    write_generated(SMALL, tmp_path / "t", "csv", force=True)
    assert not (tmp_path / "t" / "engagements.parquet").exists()
