"""The JSON API of the page over real sockets, against a bundle that really answers."""

import json
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import Client

from components.bundle.model_config import server_configs, write_configs
from components.bundle.pins import Pins, write_pins
from serving.page.app import Page
from serving.server.engine import Engine
from serving.server.http import create_app
from serving.server.source import OneBundle
from tests.serving import page_world as world
from tests.serving.page_world import IMAGE, NOW, SCRIPT


@pytest.fixture(scope="module")
def served():
    with world.running(world.shared_world()) as (url, engine):
        yield url, engine


@pytest.fixture(scope="module")
def url(served):
    return served[0]


def call(url, path, body=None, method=None):
    """Returns status and JSON."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        url + path, data, {"Content-Type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def get(url, path, **query):
    status, found = call(url, f"{path}?{urllib.parse.urlencode(query)}")
    assert status == 200, found
    return found


def ask(url, **body):
    status, found = call(url, "/api/recommend", body)
    assert status == 200, found
    return found


def test_the_bundle_says_what_it_is(url):
    found = get(url, "/api/bundle")
    assert (found["name"], found["version"], found["versions"]) == ("mosaic", 1, [1])
    assert (found["items"], found["topics"], found["users"]) == (len(world.ITEMS), 6, 16)
    assert found["titles"] and found["time_unit"] == "seconds"
    assert (found["actions"], found["max_results"]) == (["read", "share"], 60)


def test_a_users_answer_is_the_engines_own(served):
    url, engine = served
    answer = ask(url, user="plain", num_results=9)
    history = ["i3", "i4", "i3", "i8"]
    inputs = {
        "timestamp": np.array([NOW], np.int64),
        "history_item_id": np.array([[i.encode() for i in history]], object),
        "history_timestamp": np.array([[NOW - 60 * n for n in range(1, 5)]], np.int64),
        "history_action": np.array([[b"read"] * 4], object),
        "followed_topic": np.array([[b"art"]], object),
        "num_results": np.array([9], np.int32),
    }
    direct = {k: v[0] for k, v in engine.predict(inputs, "retrieve").outputs.items()}
    assert [item["item_id"].encode() for item in answer["items"]] == list(direct["item_id"])
    assert [item["score"] for item in answer["items"]] == pytest.approx(
        list(direct["score"]), abs=1e-6
    )
    assert [item["slot"] for item in answer["items"]] == list(direct["slot"])
    bits = [sum(1 << slot for slot in item["found_by"]) for item in answer["items"]]
    assert bits == list(direct["found_by"])
    assert [e["slot"] for e in answer["history"]] == [0, 1, 0, 2] == list(direct["history_slot"])
    assert sum(i["items"] for i in answer["interests"]) == len(answer["items"]) == 9
    for interest in answer["interests"]:
        brought = [item for item in answer["items"] if item["slot"] == interest["slot"]]
        assert len(brought) == interest["items"]
        assert all(interest["slot"] in item["found_by"] for item in brought)
    shares = [i["share"] for i in answer["interests"] if i["kind"] == "implicit"]
    assert shares == pytest.approx([0.5, 0.25, 0.25])


def test_titles_come_from_the_tables_and_topics_from_the_bundle(url):
    topics = world.catalogue()
    for item in ask(url, user="plain", num_results=30)["items"]:
        assert item["title"] == world.TITLES.get(item["item_id"])
        assert item["topics"] == topics[item["item_id"]]


def test_a_user_of_the_tables_is_found_by_id(url):
    found = get(url, "/api/users/" + urllib.parse.quote("in the tables"))
    assert [event["item_id"] for event in found["history"]] == ["i39", "i38"]
    assert (found["now"], found["follows"]) == (NOW + 6, ["art"])
    answer = ask(url, user="in the tables")
    assert answer["now"] == NOW + 6 and answer["history"][1]["title"] == "Title of 38"


def test_an_unknown_user_is_not_found_and_the_places_are_named(url):
    for status, found in [
        call(url, "/api/users/nobody"),
        call(url, "/api/recommend", {"user": "nobody"}),
    ]:
        assert status == 404
        assert "'nobody' is not in the bundle's sample" in found["error"]
        assert str(world.shared_world().parents[1] / "tables") in found["error"]


@pytest.mark.parametrize("user", [SCRIPT, "two topics"])
def test_odd_ids_of_users_travel_in_a_path(url, user):
    found = get(url, "/api/users/" + urllib.parse.quote(user, safe=""))
    assert found["user_id"] == user and found["history"]


def test_suggestions(url):
    users = get(url, "/api/users", q="U1", limit=2)
    assert [u["user_id"] for u in users["users"]] == ["u1", "u10"] and users["total"] == 16
    items = get(url, "/api/items", q="title of 1", limit=2)["items"]
    assert [(i["item_id"], i["title"]) for i in items] == [
        ("i10", "Title of 10"),
        ("i12", "Title of 12"),
    ]
    assert [i["item_id"] for i in get(url, "/api/items", q="<script")["items"]] == [SCRIPT]
    assert get(url, "/api/topics", q="FILMS")["topics"] == [{"topic": "films & co", "items": 9}]
    assert len(get(url, "/api/items", limit=7)["items"]) == 7


def test_a_typed_history_is_newest_first_and_follows_the_usual_action(url):
    answer = ask(url, history=["i4", "i6", "made up"], now=NOW)
    assert [e["item_id"] for e in answer["history"]] == ["i4", "i6", "made up"]
    assert [e["timestamp"] for e in answer["history"]] == [NOW - 3600 * n for n in (1, 2, 3)]
    assert {e["action"] for e in answer["history"]} == {"read"}
    assert [e["known"] for e in answer["history"]] == [True, True, False]
    assert any("'made up'" in note for note in answer["notes"])
    assert answer["user"] is None and answer["now"] == NOW
    assert ask(url, history=["i4"], action="share")["history"][0]["action"] == "share"


def test_a_followed_topic_brings_a_band_whose_items_carry_it(url):
    answer = ask(url, history=["i4"], follows=["<b>bold</b>", "🎬"])
    for topic in ("<b>bold</b>", "🎬"):
        band = next(i for i in answer["interests"] if i["topic"] == topic)
        brought = [item for item in answer["items"] if item["slot"] == band["slot"]]
        assert band["reason"] == f"follows {topic}" and len(brought) == band["items"] > 0
        assert all(topic in item["topics"] for item in brought)


def test_topics_are_added_to_those_a_user_follows(url):
    assert ask(url, user="plain", follows=["cars"])["follows"] == ["cars", "art"]


def test_sources_can_be_switched_off(url):
    only = ask(url, user="plain", use_implicit=False)
    assert {item["kind"] for item in only["items"]} == {"explicit"}
    quiet = [interest for interest in only["interests"] if not interest["items"]]
    assert [interest["reason"] for interest in quiet] == ["was not asked in this request"] * 3
    only = ask(url, user="plain", use_explicit=False)
    assert {item["kind"] for item in only["items"]} == {"implicit"}
    nothing = ask(url, history=["i1"], use_implicit=False)
    assert nothing["items"] == []


def test_somebody_new_is_answered(url):
    answer = ask(url)
    assert {item["reason"] for item in answer["items"]} == {"for users without history"}


def test_more_items_than_there_are_is_said(url):
    answer = ask(url, history=["i1"], num_results=1000)
    assert len(answer["items"]) == len(world.ITEMS) - 1
    assert any("not 1000" in note for note in answer["notes"])


@pytest.mark.parametrize(
    ("path", "body", "method", "status", "text"),
    [
        ("/api/recommend", b"{", None, 400, "not JSON"),
        ("/api/recommend", b"\xff\xfe", None, 400, "not JSON"),
        ("/api/recommend", b"[" * 100_000, None, 400, "not JSON"),
        ("/api/recommend", b" " * (2 << 20), None, 413, "bytes"),
        ("/api/recommend", None, None, 405, "takes POST"),
        ("/api/bundle", b"{}", None, 405, "takes GET"),
        ("/api/recommend", {"version": 77}, None, 404, "77"),
        ("/api/recommend", {"label": "zzz"}, None, 400, "zzz"),
        ("/api/bundle?version=x", None, None, 400, "`version`"),
        ("/api/items?limit=-1", None, None, 400, "`limit`"),
        ("/api/items?limit=9999999999999999", None, None, 400, "`limit`"),
        ("/static/../app.py", None, None, 404, "no such file"),
        ("/static/nothing.js", None, None, 404, "no such file"),
        ("/static/", None, None, 404, "no such file"),
    ],
)
def test_mistakes_are_named_and_the_next_request_is_answered(url, path, body, method, status, text):
    found = call(url, path, body, method)
    assert found[0] == status and text in found[1]["error"]
    assert ask(url, user="plain")["items"]


def test_another_kind_of_body_is_refused(url):
    request = urllib.request.Request(f"{url}/api/recommend", b"{}", {"Content-Type": "text/plain"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert "application/json" in caught.value.read().decode()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/static/style.css", "text/css"),
        ("/static/app.js", "text/javascript"),
        ("/static/icon.svg", "image/svg+xml"),
    ],
)
def test_files_have_types_and_allow_no_other_host(url, path, kind):
    with urllib.request.urlopen(url + path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["Content-Type"].startswith(kind)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        text = answer.read().decode()
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    links = [line for line in text.splitlines() if "//" in line and "w3.org/2000/svg" not in line]
    assert not [line for line in links if "http:" in line or "https:" in line]


@pytest.mark.nightly
def test_a_swap_and_labels_show_at_the_next_request(tmp_path):
    folder = tmp_path / "serving/mosaic"
    shutil.copytree(world.shared_world(), folder)
    with world.running(folder, poll_s=0.05) as (url, _):
        assert ask(url, history=["i1"])["bundle"]["version"] == 1
        others = {f"n{number}": ["new"] for number in range(9)}
        world.publish(tmp_path, others, {"n1": "One"}, [world.row("newcomer", ["n1"], [])])
        wait_for(lambda: get(url, "/api/bundle")["versions"] == [2])
        answer = ask(url, user="newcomer")
        assert answer["bundle"]["version"] == 2
        assert {item["item_id"] for item in answer["items"]} <= set(others)
        assert get(url, "/api/items", q="One")["items"][0]["item_id"] == "n1"
        assert call(url, "/api/recommend", {"version": 1})[0] == 404
        write_pins(folder, Pins(labels={"stable": 1, "canary": 2}))
        write_configs(folder.parent, server_configs(folder.parent))
        wait_for(lambda: get(url, "/api/bundle")["labels"] == {"stable": 1, "canary": 2})
        assert ask(url, history=["i1"], label="stable")["bundle"]["version"] == 1
        assert ask(url, history=["n1"], label="canary")["bundle"]["version"] == 2
        assert ask(url, version=1)["bundle"]["version"] == 1
        assert get(url, "/api/bundle", label="stable")["items"] == len(world.ITEMS)
        assert ask(url, user="plain", version=1)["items"]


def wait_for(condition, seconds=300.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """An application in this process over a bundle whose tables are gone."""
    copy = tmp_path_factory.mktemp("alone") / "1"
    shutil.copytree(world.shared_world() / "1", copy)
    engine = Engine(OneBundle(copy))
    engine.start()
    page = Page(engine, data_root=copy / "nowhere")
    yield Client(create_app(engine, page.routes()))
    engine.stop()


def test_without_tables_ids_stand_for_titles(client):
    assert client.get("/api/bundle").json["titles"] is False
    answer = client.post("/api/recommend", json={"user": "plain"}).json
    assert answer["items"] and all(item["title"] is None for item in answer["items"])
    missing = client.get("/api/users/in%20the%20tables")
    assert missing.status_code == 404 and "cannot be read" in missing.json["error"]


def test_the_page_is_counted_apart(client):
    client.post("/api/recommend", json={"user": "plain"})
    text = client.get("/monitoring/prometheus/metrics").text
    assert 'api="page"' in text and 'signature="retrieve"' in text


names = st.sampled_from([*world.ODD, *world.TOPICS, "i1", "plain", "", "\x00", "\ud800", IMAGE])
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | names
bodies = st.dictionaries(
    st.sampled_from(
        ["user", "history", "follows", "action", "now", "num_results", "use_implicit", "version"]
    ),
    values | st.lists(values, max_size=4) | st.lists(names, max_size=4),
    max_size=5,
)


@settings(suppress_health_check=list(HealthCheck))
@given(bodies)
def test_whatever_is_asked_is_answered_or_refused(client, body):
    answer = client.post("/api/recommend", json=body)
    assert answer.status_code in (200, 400, 404)
    assert ("error" in answer.json) == (answer.status_code != 200)
