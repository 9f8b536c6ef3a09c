"""Filters and similar items on the page, in a real browser."""

import urllib.parse

import pytest

from tests.serving import page_world as world
from tests.serving.test_page_api import ask
from tests.serving.test_page_browser import (  # noqa: F401
    By,
    Keys,
    browser,
    field,
    needs_a_browser,
    no_script_fails,
    same_as,
    shown,
    url,
    visit,
)
from tests.serving.test_page_filters_api import ART, similar

pytestmark = [needs_a_browser, pytest.mark.nightly]


@pytest.fixture(scope="module", autouse=True)
def warm(url):  # noqa: F811
    """The first call of a graph takes seconds, on a busy machine more than a page waits."""
    ask(url, history=["i5"], filters=ART)
    similar(url, item="i5", filters=ART)


def test_a_condition_is_typed_and_taken_away_again(browser, url):  # noqa: F811
    visit(browser, url, history="", item="i5")
    field(browser, "filters").send_keys("topics=art", Keys.ENTER)
    answer = ask(url, history=["i5"], filters=ART)
    page = shown(browser, same_as(answer))
    assert all("art" in topics for band in page["bands"] for topics in band["topics"])
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(browser.current_url).query)
    assert query["filter"] == ART
    hint = field(browser, "filters-hint").text
    assert "topics=" in hint and "created_at>=" in hint
    browser.find_element(By.CSS_SELECTOR, "#filter-chips button").click()
    shown(browser, same_as(ask(url, history=["i5"])))
    assert "filter" not in browser.current_url


def test_a_link_holds_the_conditions_and_a_wrong_one_is_told(browser, url):  # noqa: F811
    page = visit(browser, url, item="i5", filter=["topics=art", "created_at>=20"])
    assert same_as(ask(url, history=["i5"], filters=[*ART, "created_at>=20"]))(page)
    page = visit(browser, url, lambda page: page["error"], item="i5", filter="colour=red")
    assert "topics=VALUE" in page["error"]


def test_a_click_shows_similar_items_under_the_same_conditions(browser, url):  # noqa: F811
    page = visit(browser, url, item="i5", filter=ART)
    item = page["bands"][0]["items"][0]
    browser.find_element(By.CSS_SELECTOR, "#result .tile button.near").click()

    def neighbours(driver):
        tiles = driver.find_elements(By.CSS_SELECTOR, "#similar .tile")
        return [tile.get_attribute("data-item") for tile in tiles]

    wanted = [each["item_id"] for each in similar(url, item=item, filters=ART)[1]["items"]]
    shown(browser, lambda _: neighbours(browser) == wanted)
    assert len(wanted) == 12
    heading = browser.find_element(By.CSS_SELECTOR, "#similar h2").text
    assert heading.split() == f"Similar to {world.TITLES.get(item, item)}".split()
    browser.find_element(By.CSS_SELECTOR, "#similar .tile button.near").click()  # and so on
    further = [each["item_id"] for each in similar(url, item=wanted[0], filters=ART)[1]["items"]]
    shown(browser, lambda _: neighbours(browser) == further)
    browser.find_element(By.CSS_SELECTOR, "#similar .head .plain").click()
    assert not browser.find_element(By.ID, "similar").is_displayed()
