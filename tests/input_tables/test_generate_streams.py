import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from input_tables.generate import GeneratorConfig, generate

BASE = GeneratorConfig(users=300, items=1500, topics=20, days=12, engagements=9_000, seed=5)
STREAMS = BASE.model_copy(update={"view_share": 1.0, "search_share": 0.3})
BOUNDED = BASE.model_copy(
    update={"items": 4000, "engagements": 30_000, "user_events_min": 50, "user_events_max": 120}
)


def frames(config):
    return {name: table.to_pandas() for name, table in generate(config)._asdict().items()}


@pytest.fixture(scope="module")
def plain():
    return frames(BASE)


@pytest.fixture(scope="module")
def with_streams():
    return frames(STREAMS)


def test_streams_leave_every_other_row_as_it_was(plain, with_streams):
    for table in ("items", "follows", "user_truth", "item_truth"):
        pd.testing.assert_frame_equal(plain[table], with_streams[table])
    kept = ~with_streams["engagements"]["action"].isin(["view", "search"])
    for table in ("engagements", "engagement_truth"):
        rest = with_streams[table][kept].reset_index(drop=True)
        pd.testing.assert_frame_equal(plain[table], rest)


def test_streams_have_about_their_share(plain, with_streams):
    counts = with_streams["engagements"]["action"].value_counts()
    wanted = (plain["engagements"]["action"] != "hide").sum()
    assert 0.7 * wanted < counts["view"] < 1.1 * wanted
    assert 0.2 * wanted < counts["search"] < 0.35 * wanted
    searched = with_streams["engagements"]["action"] == "search"
    assert (with_streams["engagements"].loc[searched, "source"] == "search").all()


def test_an_item_of_a_stream_is_in_no_other_row_of_its_user(with_streams):
    assert not with_streams["engagements"].duplicated(["user_id", "item_id"]).any()


def test_rows_of_streams_keep_time_order_and_the_log(with_streams):
    rows = with_streams["engagements"].merge(with_streams["items"], on="item_id")
    assert with_streams["engagements"]["timestamp"].is_monotonic_increasing
    assert (rows["created_at"] < rows["timestamp"]).all()
    assert rows["timestamp"].min() >= STREAMS.start and rows["timestamp"].max() < STREAMS.end


def own_share(tables, actions):
    truth = tables["engagement_truth"][tables["engagements"]["action"].isin(actions)]
    pairs = truth.merge(tables["user_truth"], on=["user_id", "interest"], how="left")
    return pairs["weight"].notna().mean()


def test_views_follow_interests_with_more_noise_than_clicks(with_streams):
    clicks = own_share(with_streams, ["click"])
    views, searches = own_share(with_streams, ["view"]), own_share(with_streams, ["search"])
    assert 0.4 < views < clicks - 0.1
    assert searches > views + 0.1


def test_streams_are_equal_for_equal_seeds(with_streams):
    again = frames(STREAMS)
    for table, made in with_streams.items():
        pd.testing.assert_frame_equal(made, again[table])


def test_engagements_per_user_keep_their_bounds():
    tables = frames(BOUNDED)
    count = tables["engagements"].groupby("user_id").size()
    assert len(count) == BOUNDED.users and count.max() <= 120
    assert count.quantile(0.05) >= 48
    unbounded = frames(BOUNDED.model_copy(update={"user_events_min": None}))
    shorter = unbounded["engagements"].groupby("user_id").size()
    assert shorter.quantile(0.05) < 40


def test_tail_interests_of_a_user_have_targets():
    """Without them, one embedding for the head interest would do."""
    events = frames(BOUNDED)["engagement_truth"]
    ranks = []
    for _, mine in events.groupby("user_id"):
        interests = mine["interest"].to_numpy()
        values, counts = np.unique(interests[:-5], return_counts=True)
        order = values[np.argsort(-counts, kind="stable")].tolist()
        ranks += [order.index(i) for i in interests[-5:] if i in order]
    ranks = np.array(ranks)
    assert (ranks == 0).mean() > 0.15
    assert (ranks > 2).mean() > 0.15


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"user_events_min": 9, "user_events_max": 8}, "must not exceed user_events_max"),
        ({"user_events_min": 600, "items": 900}, "a third of the items"),
    ],
)
def test_bounds_that_cannot_hold_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        GeneratorConfig(**wrong)
