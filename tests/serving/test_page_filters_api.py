"""Filters and similar items of the page's API."""

import pytest

from tests.serving import page_world as world
from tests.serving.test_page_api import ask, call, get

ART = ["topics=art"]


@pytest.fixture(scope="module")
def address():
    with world.running(world.shared_world()) as (found, _):
        yield found


def similar(url, **body):
    return call(url, "/api/similar", body)


def test_the_api_filters_answers_and_neighbours(address):
    assert get(address, "/api/bundle")["filters"] == ["topics", "created_at"]
    carriers = {item for item, names in world.catalogue().items() if "art" in names}
    answer = ask(address, history=["i5"], num_results=60, filters=ART)
    assert {item["item_id"] for item in answer["items"]} == carriers - {"i5"}
    status, found = similar(address, item="i5", num_results=60, filters=ART)
    assert status == 200 and found["known"] and found["item_id"] == "i5"
    assert {item["item_id"] for item in found["items"]} == carriers - {"i5"}
    scores = [item["score"] for item in found["items"]]
    assert scores == sorted(scores, reverse=True)
    assert len(similar(address, item="i5")[1]["items"]) == 12
    assert not similar(address, item="nobody")[1]["known"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"item": "i5", "filters": ["colour=red"]}, "topics=VALUE"),
        ({"item": "i5", "filters": ["colour"]}, "COLUMN=VALUE"),
        ({"item": "i5", "filters": [""]}, "empty"),
        ({"item": ""}, "item"),
        ({"item": "i5", "user": "u"}, "known: filters, item"),
    ],
)
def test_what_makes_no_sense_is_refused(address, body, words):
    status, found = similar(address, **body)
    assert status == 400 and words in found["error"]
