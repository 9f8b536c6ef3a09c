"""The page in a real browser, against a server over a bundle that really answers."""

import json
import shutil
import urllib.parse

import pytest

from tests.serving import page_world as world
from tests.serving.page_world import IMAGE, NOW, SCRIPT
from tests.serving.test_page_api import ask, get

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.common.exceptions import SessionNotCreatedException  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DRIVER = shutil.which("chromedriver")
needs_a_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs Chromium and chromedriver on the PATH"
)
pytestmark = needs_a_browser
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--no-first-run", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--window-size=1280,1000",
)  # fmt: skip

#: Everything the page shows, read in one step.
SHOWN = """
return {
  busy: document.getElementById('result').getAttribute('aria-busy') === 'true',
  status: document.getElementById('status').textContent,
  error: document.querySelector('#error:not([hidden]) p')?.textContent ?? null,
  bands: [...document.querySelectorAll('.band')].map(band => ({
    title: band.querySelector('h2').textContent,
    facts: band.querySelector('.quiet').textContent,
    slot: Number(band.dataset.slot), kind: band.dataset.kind,
    colour: getComputedStyle(band.querySelector('h2')).color,
    items: [...band.querySelectorAll('.tile')].map(tile => tile.dataset.item),
    titles: [...band.querySelectorAll('h3')].map(title => title.textContent),
    topics: [...band.querySelectorAll('.tile')].map(tile =>
      [...tile.querySelectorAll('.topics button')].map(topic => topic.textContent)),
    others: [...band.querySelectorAll('.tile')].map(
      tile => tile.querySelectorAll('.dots i').length),
  })),
  history: [...document.querySelectorAll('.stones .stone')].map(stone => ({
    text: stone.querySelector('span').textContent, colour: getComputedStyle(stone).color})),
  stones: document.querySelectorAll('.overview i').length,
  notes: [...document.querySelectorAll('.box.note')].map(note => note.textContent),
  broken: window.broken,
};
"""


@pytest.fixture(scope="module")
def url():
    with world.running(world.shared_world()) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    for attempt in range(3):
        try:
            driver = started(tmp_path_factory.mktemp("profile"))
            break
        except SessionNotCreatedException:  # Chromium may end while it starts on a busy machine
            if attempt == 2:
                raise
    yield driver
    driver.quit()


def started(profile):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # The driver is named, so that selenium looks for nothing on the network.
    return webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))


@pytest.fixture(autouse=True)
def no_script_fails(browser):
    browser.get_log("browser")
    yield
    said = [entry["message"] for entry in browser.get_log("browser")]
    assert not [text for text in said if "/api/" not in text], said


def shown(browser, condition=lambda page: page["bands"], seconds=20):
    """Waits until the page is at rest and shows what is expected."""

    def ready(driver):
        page = driver.execute_script(SHOWN)
        return page if not page["busy"] and condition(page) else None

    return WebDriverWait(browser, seconds, 0.05).until(
        ready, str(browser.execute_script(SHOWN))[:900]
    )


def visit(browser, url, condition=lambda page: page["bands"], **query):
    browser.get(f"{url}/?{urllib.parse.urlencode(query, doseq=True)}")
    return shown(browser, condition)


def field(browser, name):
    return browser.find_element(By.ID, name)


def suggestions(browser, name, text):
    """Types into a field and returns its suggestions."""
    field(browser, name).send_keys(text)
    rows = f"#{name}-list [role=option] span"
    WebDriverWait(browser, 10, 0.05).until(
        lambda d: any(
            text.lower() in r.text.lower() for r in d.find_elements(By.CSS_SELECTOR, rows)
        )
    )
    return [row.text for row in browser.find_elements(By.CSS_SELECTOR, rows)]


def same_as(answer):
    """A condition: the bands are those of the API's answer."""
    expected = [
        [item["item_id"] for item in answer["items"] if item["slot"] == interest["slot"]]
        for interest in answer["interests"]
        if interest["items"]
    ]
    return lambda page: [band["items"] for band in page["bands"]] == expected


def test_the_first_user_of_the_sample_is_shown_at_once(browser, url):
    page = visit(browser, url)
    answer = ask(url, user="plain")
    assert same_as(answer)(page)
    assert "24 items" in page["status"] and "version 1" in page["status"]
    assert "user=plain" in browser.current_url
    assert page["stones"] == 24
    title = "User plain · mosaic · Tessera"
    assert browser.title == title


def test_picking_a_user_shows_the_apis_answer_by_interest(browser, url):
    visit(browser, url)
    field(browser, "user").clear()
    assert suggestions(browser, "user", "two") == ["two topics"]
    field(browser, "user").send_keys(Keys.ARROW_DOWN, Keys.ENTER)
    answer = ask(url, user="two topics")
    page = shown(browser, same_as(answer))
    interests = [interest for interest in answer["interests"] if interest["items"]]
    for band, interest in zip(page["bands"], interests, strict=True):
        brought = [item for item in answer["items"] if item["slot"] == interest["slot"]]
        assert band["title"].lower() == interest["reason"].lower()
        assert band["titles"] == [item["title"] or item["item_id"] for item in brought]
        assert band["topics"] == [item["topics"] for item in brought]
        assert band["others"] == [len(item["found_by"]) - 1 for item in brought]
        assert f"{len(brought)} of 24 items" in band["facts"]
        assert band["kind"] == interest["kind"]
    assert len({band["colour"] for band in page["bands"]}) == len(page["bands"]) == 3
    colours = {band["slot"]: band["colour"] for band in page["bands"]}
    assert [e["colour"] for e in page["history"]] == [colours[e["slot"]] for e in answer["history"]]


def test_a_history_is_typed_with_the_keyboard_alone(browser, url):
    visit(browser, url, history="")
    browser.find_element(By.CSS_SELECTOR, "body").click()
    assert suggestions(browser, "items", "Title of 1")[0] == "Title of 10"
    field(browser, "items").send_keys(Keys.ARROW_DOWN, Keys.ENTER)
    shown(browser, lambda page: [e["text"] for e in page["history"]] == ["Title of 10"])
    field(browser, "items").send_keys("i5", Keys.ENTER)
    page = shown(
        browser, lambda page: [e["text"] for e in page["history"]] == ["i5", "Title of 10"]
    )
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(browser.current_url).query)
    assert query["item"] == ["i5", "i10"]
    answer = ask(url, history=["i5", "i10"], now=int(query["now"][0]))
    assert same_as(answer)(page)
    assert page["bands"][0]["title"] == "Because of i5"
    assert browser.switch_to.active_element.get_attribute("id") == "items"
    field(browser, "items").send_keys(Keys.BACKSPACE)
    shown(browser, lambda page: [e["text"] for e in page["history"]] == ["Title of 10"])


def test_suggestions_close_on_escape_and_tell_what_is_marked(browser, url):
    visit(browser, url, history="")
    box = field(browser, "items")
    suggestions(browser, "items", "Title of 2")
    box.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ARROW_UP)
    marked = browser.find_element(By.CSS_SELECTOR, "#items-list [aria-selected=true]")
    assert box.get_attribute("aria-activedescendant") == marked.get_attribute("id")
    assert not marked.find_elements(By.XPATH, "following-sibling::*")  # up from the first: the last
    assert box.get_attribute("aria-expanded") == "true"
    box.send_keys(Keys.ESCAPE)
    assert box.get_attribute("aria-expanded") == "false"
    assert not field(browser, "items-list").is_displayed()


def test_a_followed_topic_gets_a_band_whose_tiles_carry_it(browser, url):
    visit(browser, url, item="i4")
    assert suggestions(browser, "topics", "films") == ["films & co"]
    field(browser, "topics").send_keys(Keys.ARROW_DOWN, Keys.ENTER)
    page = shown(browser, lambda page: any(b["kind"] == "explicit" for b in page["bands"]))
    band = next(band for band in page["bands"] if band["kind"] == "explicit")
    assert band["title"] == "Follows films & co"
    topics = world.catalogue()
    assert band["items"] and all("films & co" in topics[item] for item in band["items"])
    assert all("films & co" in named for named in band["topics"])
    browser.find_element(By.CSS_SELECTOR, "#topic-chips button").click()
    shown(browser, lambda page: all(b["kind"] == "implicit" for b in page["bands"]))


def test_nonsense_is_answered_with_an_error_and_can_be_mended(browser, url):
    visit(browser, url)
    field(browser, "user").clear()
    field(browser, "user").send_keys("<nobody>", Keys.ENTER)
    page = shown(browser, lambda page: page["error"])
    assert "user '<nobody>' is not in the bundle's sample" in page["error"]
    assert page["bands"] == []
    field(browser, "user").clear()
    field(browser, "user").send_keys("u3", Keys.ENTER)
    assert shown(browser)["error"] is None


def test_a_link_to_a_version_that_is_not_served_says_so(browser, url):
    page = visit(browser, url, lambda page: page["error"], user="plain", version=9)
    assert "9" in page["error"]
    chosen = Select(field(browser, "version"))
    assert chosen.first_selected_option.text == "9 (not served)"
    chosen.select_by_visible_text("version 1")
    assert shown(browser)["error"] is None


def test_odd_ids_are_text_and_nothing_else(browser, url):
    page = visit(browser, url, user=SCRIPT, n=60, follow="<b>bold</b>")
    assert [event["text"] for event in page["history"]] == [SCRIPT, IMAGE, "a&amp;b"]
    assert "Follows <b>bold</b>" in [band["title"] for band in page["bands"]]
    everything = {item for band in page["bands"] for item in band["items"]}
    assert {"😀é", "line\nbreak", 'it\'s "quoted"', "&lt;", "a/b?c#d%20"} <= everything
    assert page["broken"] is None
    assert not browser.find_elements(
        By.CSS_SELECTOR, "#result script, #result img, #result em, #result b"
    )
    visit(browser, url, item=world.ODD)
    chips = browser.find_elements(By.CSS_SELECTOR, "#item-chips span")
    assert [chip.get_attribute("textContent") for chip in chips] == world.ODD
    assert "<em>It & “they”</em> 😀" in suggestions(browser, "items", "<em>")
    assert browser.execute_script("return window.broken") is None


def test_a_link_shows_the_same_answer_and_back_goes_back(browser, url):
    query = {"item": ["i7", "😀é"], "follow": ["cars"], "n": 10, "now": NOW, "action": "share"}
    page = visit(browser, url, **query)
    body = {"history": query["item"], "follows": ["cars"], "num_results": 10, "now": NOW}
    assert same_as(ask(url, **body, action="share"))(page)
    assert field(browser, "count").get_attribute("value") == "10"
    assert field(browser, "action").get_attribute("value") == "share"
    browser.find_element(By.CSS_SELECTOR, "#item-chips li:nth-child(2) button").click()
    shown(browser, lambda page: len(page["history"]) == 1)
    browser.back()
    shown(
        browser,
        lambda page: (
            page["bands"]
            and page["history"][1:2]
            and same_as(ask(url, **body, action="share"))(page)
        ),
    )
    link = browser.current_url
    browser.get("about:blank")
    browser.get(link)
    assert shown(browser)["bands"] == page["bands"]


def test_sources_and_the_number_of_results(browser, url):
    visit(browser, url, user="plain")
    field(browser, "implicit").click()
    page = shown(browser, lambda page: {b["kind"] for b in page["bands"]} == {"explicit"})
    assert "only=follows" in browser.current_url
    field(browser, "explicit").click()  # one source stays on
    shown(
        browser, lambda page: page["bands"] and {b["kind"] for b in page["bands"]} == {"implicit"}
    )
    field(browser, "count").send_keys(Keys.CONTROL, "a", Keys.NULL, "5", Keys.TAB)
    page = shown(browser, lambda page: page["stones"] == 5)
    assert "5 items" in page["status"] and "n=5" in browser.current_url


def test_a_tile_can_be_added_to_the_history_and_its_topic_followed(browser, url):
    page = visit(browser, url, user="two topics", n=6)
    first = page["bands"][0]["items"][0]
    browser.find_element(By.CSS_SELECTOR, ".tile .add").click()
    page = shown(browser, lambda page: len(page["history"]) == 2)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(browser.current_url).query)
    assert query["item"] == [first, "i5"] and query["follow"] == ["cars", "<b>bold</b>"]
    assert first not in [item for band in page["bands"] for item in band["items"]]
    topic = browser.find_element(By.CSS_SELECTOR, ".topics button")
    name = topic.text
    topic.click()
    shown(browser, lambda page: any(b["title"] == f"Follows {name}" for b in page["bands"]))


def test_nothing_found_and_nobody_chosen_have_words_of_their_own(browser, url):
    visit(browser, url, lambda page: "0 items" in page["status"], item="i1", only="follows")
    assert "Nothing to recommend" in field(browser, "result").text
    browser.find_element(By.CSS_SELECTOR, "input[value=user] + span").click()
    shown(browser, lambda page: page["status"] == "")
    assert "Pick a user" in field(browser, "result").text


def test_what_takes_time_is_announced(browser, url):
    slow = {"offline": False, "latency": 700, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", slow)
    try:
        browser.get(f"{url}/?user=plain")
        seen = WebDriverWait(browser, 10, 0.05).until(
            lambda d: d.find_elements(By.CSS_SELECTOR, ".tile.ghost") and field(d, "status").text
        )
        assert seen == "Reading the bundle…"
        shown(browser)
        field(browser, "explicit").click()
        WebDriverWait(browser, 10, 0.02).until(lambda d: d.execute_script(SHOWN)["busy"])
        shown(browser, lambda page: {band["kind"] for band in page["bands"]} == {"implicit"})
    finally:
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**slow, "latency": 0})
        browser.execute_cdp_cmd("Network.disable", {})


def test_no_request_leaves_the_server(browser, url):
    browser.get_log("performance")
    visit(browser, url, user=SCRIPT, n=60)
    suggestions(browser, "topics", "art")
    hosts = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            hosts.add(urllib.parse.urlsplit(message["params"]["request"]["url"]).netloc)
    names = browser.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert len(names) >= 8
    assert hosts | {urllib.parse.urlsplit(name).netloc for name in names} == {
        urllib.parse.urlsplit(url).netloc
    }


@pytest.mark.parametrize("query", [{"user": "plain"}, {"item": ["i1", "i2"], "follow": "art"}])
def test_everything_that_takes_the_focus_has_a_name(browser, url, query):
    visit(browser, url, **query)
    browser.execute_cdp_cmd("Accessibility.enable", {})
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    browser.execute_cdp_cmd("Accessibility.disable", {})
    named = 0
    for node in nodes:
        focusable = any(
            p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", [])
        )
        if focusable and node["role"]["value"] not in ("RootWebArea", "main"):
            assert node.get("name", {}).get("value"), node
            named += 1
    assert named > 40


def test_the_keyboard_reaches_the_fields_in_order(browser, url):
    visit(browser, url, user="plain")
    browser.execute_script("document.activeElement.blur()")
    seen = []
    for _ in range(9):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        element = browser.switch_to.active_element
        seen.append(
            element.get_attribute("id") or element.get_attribute("class") or element.tag_name
        )
    assert seen == [
        "skip",
        "version",
        "input",
        "user",
        "next-user",
        "topics",
        "summary",
        "count",
        "implicit",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser, url, scheme):
    emulated = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
    try:
        visit(browser, url, user="plain", follow="cars")
        for contrast, text in browser.execute_script(CONTRASTS):
            assert contrast >= 4.5, text
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


#: Contrast (WCAG 2) of the texts of the page with the colour behind them.
CONTRASTS = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
function rgba(colour) {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
}
function light([r, g, b]) {
  const [x, y, z] = [r, g, b].map(v => v / 255).map(
    v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
}
function ground(element) {
  for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return rgba('white');
}
const texts = 'h1, h2, h3, p, label, button, .stone span, .rank, .score, legend, summary';
return [...document.querySelectorAll(texts)]
  .filter(e => e.offsetParent && e.textContent.trim())
  .map(e => {
    const [a, b] = [light(rgba(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 150)];
  });
"""


@pytest.mark.parametrize("width", [320, 390, 800])
def test_a_small_screen_needs_no_sideways_scrolling(browser, url, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        visit(browser, url, user=SCRIPT, n=60)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert not browser.find_element(By.ID, "count").is_displayed()  # options are folded
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.nightly  # a server of its own, as in test_page_api.py
def test_a_swap_shows_at_the_next_click_and_a_stop_is_told(browser, tmp_path):
    folder = tmp_path / "serving/mosaic"
    shutil.copytree(world.shared_world(), folder)
    with world.running(folder, poll_s=0.05) as (url, _):
        assert "version 1" in visit(browser, url, item="i1")["status"]
        world.publish(tmp_path, {f"n{n}": ["new"] for n in range(9)}, {}, [])
        WebDriverWait(browser, 20).until(lambda _: get(url, "/api/bundle")["versions"] == [2])
        again = browser.find_element(By.CSS_SELECTOR, "button.main")
        again.click()
        page = shown(browser, lambda page: "version 2" in page["status"])
        assert all(item.startswith("n") for band in page["bands"] for item in band["items"])
        assert any("'i1'" in note for note in page["notes"])
        newest = lambda d: Select(field(d, "version")).first_selected_option.text  # noqa: E731
        WebDriverWait(browser, 10).until(lambda d: newest(d) == "newest (2)")
    again.click()
    page = shown(browser, lambda page: page["error"])
    assert "does not answer" in page["error"]
    browser.get_log("browser")
