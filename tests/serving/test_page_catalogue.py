"""What the page knows without a model: the catalogue, the sample, and checked questions."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BundleError
from serving.page.query import Query, parse_query
from serving.page.sample import Sample
from serving.recommend.catalogue import ItemCatalogue
from serving.server.errors import RequestError
from tests.serving.page_world import NOW, row

IDS = ["a1", "A2", "b<1>", "b&a", "😀", "a"]
TITLES = {"a1": "The Sea", "A2": "Seaside", "b<1>": "Over the sea", "b&a": "100% <b>", "a": "Ash"}
TOPICS = [["x", "y"], ["x"], [], ["Y & z"], ["x"], []]


def build(folder, ids=IDS, topics=TOPICS, titles=TITLES):
    pq.write_table(pa.table({"item_id": ids, "topics": topics}), folder / "items.parquet")
    columns = pa.table({"item_id": list(titles), "title": list(titles.values())})
    return ItemCatalogue.read(folder).with_titles(columns["item_id"], columns["title"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A2", ["A2"]),
        ("a", ["a", "a1", "A2", "b<1>", "b&a"]),  # the id itself, beginnings, then the middle
        ("sea", ["A2", "a1", "b<1>"]),  # the title's beginning before later words
        ("the sea", ["a1", "b<1>"]),
        ("<b>", ["b&a"]),
        ("%", ["b&a"]),
        (".*", []),
        ("😀", ["😀"]),
        ("  ", ["a1", "A2"]),
    ],
)
def test_a_search_finds_ids_and_titles_better_hits_first(tmp_path, text, found):
    hits = build(tmp_path).search(text, 2 if not text.strip() else 5)
    assert [hit.item_id for hit in hits] == found


def test_topics_are_found_by_frequency_and_word(tmp_path):
    catalogue = build(tmp_path)
    assert catalogue.search_topics("", 9) == [("x", 3), ("Y & z", 1), ("y", 1)]
    assert catalogue.search_topics("Y", 9) == [("y", 1), ("Y & z", 1)]
    assert catalogue.num_topics == 3


def test_facts_are_about_known_items_and_topics_only(tmp_path):
    facts = build(tmp_path).facts(["a1", "nobody", "😀"], ["x", "w"])
    assert facts.topics == {"a1": ["x", "y"], "😀": ["x"]}
    assert facts.titles == {"a1": "The Sea"} and facts.carried == ["x"]


def test_of_repeated_titles_the_last_counts_and_strangers_are_left_out(tmp_path):
    catalogue = build(tmp_path, titles={})
    assert not catalogue.has_titles
    ids, titles = pa.chunked_array([["a1", "z", "a1"]]), pa.chunked_array([["old", "no", "new"]])
    assert catalogue.with_titles(ids, titles).facts(["a1", "z"]).titles == {"a1": "new"}


def test_an_empty_catalogue_answers(tmp_path):
    empty = pa.table(
        {"item_id": pa.array([], pa.string()), "topics": pa.array([], pa.list_(pa.string()))}
    )
    pq.write_table(empty, tmp_path / "items.parquet")
    catalogue = ItemCatalogue.read(tmp_path)
    assert (len(catalogue), catalogue.search("a", 5), catalogue.search("", 5)) == (0, [], [])
    assert catalogue.facts(["a"]).topics == {}


def test_a_broken_catalogue_is_named(tmp_path):
    (tmp_path / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(BundleError, match=r"items\.parquet"):
        ItemCatalogue.read(tmp_path)


@given(
    st.lists(st.text(max_size=6), min_size=1, max_size=12, unique=True),
    st.text(max_size=3),
    st.integers(1, 5),
)
def test_a_search_returns_exactly_the_items_that_hold_the_text(ids, text, limit):
    table = pa.table({"item_id": pa.array(ids, pa.large_string())})
    topics = pa.array([[]] * len(ids), pa.large_list(pa.large_string()))
    catalogue = ItemCatalogue(table["item_id"], pa.chunked_array([topics]), None)
    wanted = text.strip().lower()
    # Arrow and Python write a few letters in lower case differently; ASCII is what must agree.
    if wanted.isascii() and all(item.isascii() for item in ids):
        hits = [hit.item_id for hit in catalogue.search(text, limit)]
        assert len(hits) == min(limit, sum(wanted in item.lower() for item in ids))
        assert all(wanted in hit.lower() for hit in hits)


def sample_of(folder, rows):
    pq.write_table(pa.Table.from_pylist(rows), folder / "requests.parquet")
    return Sample.read(folder)


def test_the_sample_gives_a_users_latest_request(tmp_path):
    rows = [row("b", ["i1"], [], NOW - 5), row("A", [], ["t"]), row("b", ["i2", "i3"], ["t"], NOW)]
    sample = sample_of(tmp_path, rows)
    found = sample.find("b")
    assert [event.item_id for event in found.history] == ["i2", "i3"]
    assert (found.now, found.follows, found.user) == (NOW, ("t",), "b")
    assert [(u.user_id, u.history, u.follows) for u in sample.users("", 9)] == [
        ("b", 2, 1),
        ("A", 0, 1),
    ]
    assert [user.user_id for user in sample.users("a", 9)] == ["A"]
    assert sample.find("nobody") is None


def test_a_bundle_without_a_sample_has_no_users(tmp_path):
    sample = Sample.read(tmp_path)
    assert (sample.num_users, sample.users("", 5), sample.find("a")) == (0, [], None)


def test_a_file_that_is_no_sample_is_refused(tmp_path):
    pq.write_table(pa.table({"user_id": ["a"]}), tmp_path / "requests.parquet")
    with pytest.raises(BundleError, match=r"requests\.parquet"):
        Sample.read(tmp_path)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "must be a JSON object, not list"),
        (None, "not NoneType"),
        ({"users": "a"}, "`users`: no such key; known: action, filters, follows"),
        ({"user": ""}, "`user`: String should have at least 1 character"),
        ({"user": 7}, "`user`: Input should be a valid string"),
        ({"user": "\ud800"}, "`user`"),
        ({"history": ["a", "\udfff"]}, "half of a surrogate pair"),
        ({"history": ["a", ""]}, "holds an empty string"),
        ({"history": "a"}, "`history`: Input should be a valid list"),
        ({"history": ["a"] * 1001}, "at most 1000 items"),
        ({"user": "a", "history": ["b"]}, "not both"),
        ({"version": 1, "label": "stable"}, "not both"),
        ({"version": "1"}, "`version`"),
        ({"num_results": 0}, "`num_results`"),
        ({"num_results": True}, "`num_results`"),
        ({"num_results": 1e9}, "`num_results`"),
        ({"now": 2**60}, "`now`"),
        ({"use_implicit": 1}, "`use_implicit`"),
        ({"use_implicit": False, "use_explicit": False}, "nothing would be searched"),
    ],
)
def test_a_wrong_question_is_refused_and_the_key_named(body, message):
    with pytest.raises(RequestError) as caught:
        parse_query(body)
    assert message in str(caught.value) and caught.value.code.http == 400


def test_names_count_once_and_keep_their_order():
    query = Query(history=["b", "a", "b"], follows=["t", "t"])
    assert (query.history, query.follows) == (["b", "a"], ["t"])
