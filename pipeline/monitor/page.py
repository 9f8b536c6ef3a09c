"""Writes `monitor.json` and `monitor.html`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.files import staged_file, write_json
from pipeline.monitor.policy import VERDICTS
from pipeline.report import render
from pipeline.report.figures import bars
from pipeline.report.view import FILTERS
from serving.request_log.record import KINDS

JSON_NAME = "monitor.json"
HTML_NAME = "monitor.html"
_FOLDER = Path(__file__).parent
_STYLE = Path(render.__file__).with_name("style.css")
_TONES = {"ok": "good", "warn": "warn", "fail": "bad"}
_HEADLINES = {
    "ok": "What is served is like what was trained on",
    "warn": "Worth a look",
    "fail": "What is served has left what was trained on",
}
#: Figure -> what it says.
MEANINGS = {
    "requests": "requests that are compared",
    "other_versions": "share of the log that other versions answered",
    "answers.empty": "answers without an item",
    "answers.implicit": "items shown from slots made of the history",
    "answers.explicit": "items shown from slots made for followed topics",
    "answers.explored": "items shown to explore",
    "answers.neighbour": "items that neighbours of the history brought",
    "answers.follows_answered": "requests with followed topics whose answer holds an explicit item",
    "drift.history_item_id": "largest change in the share of one history item",
    "drift.history_action": "largest change in the share of one action",
    "drift.followed_topic": "largest change in the share of one followed topic",
    "drift.history_length": "largest change in the share of one length of history",
    "drift.follows_length": "largest change in the share of one number of followed topics",
    "drift.newest_age": "divergence of the time since the newest engagement (logarithm)",
    "unknown.items": "history items outside the catalogue",
    "unknown.topics": "followed topics outside the catalogue",
    "unknown.items_rise": "unknown items above those of the training",
    "unknown.topics_rise": "unknown topics above those of the training",
    "shown.coverage": "catalogue that was shown at all",
    "shown.top_share": "impressions of the 1 % of the catalogue shown most",
    "shown.head_share": "impressions of the 1 % of the catalogue most frequent in histories",
    "shown.unknown": "items shown that the bundle's catalogue lacks",
    "later.counted": "later engagements of logged users",
    "later.recall": "later engagements with an item that had been shown",
}


def write_page(found: Mapping[str, Any], directory: Path) -> tuple[Path, Path]:
    """Writes both files and returns their paths (JSON, HTML).

    Args:
      found: what `collect` returned.
      directory: made if needed.
    """
    json_path, html_path = directory / JSON_NAME, directory / HTML_NAME
    write_json(json_path, dict(found))
    with staged_file(html_path) as staging:
        staging.write_text(page(found), encoding="utf-8")
    return json_path, html_path


def page(found: Mapping[str, Any]) -> str:
    """Returns one HTML page that refers to nothing outside itself."""
    from markupsafe import Markup

    templates = render.environment(_FOLDER)
    templates.filters.update(FILTERS)
    hours = found["requests_per_hour"]
    checks = sorted(found["checks"], key=lambda check: -VERDICTS.index(check["verdict"]))
    text: str = templates.get_template("page.html.j2").render(
        found=found,
        tone=_TONES[found["verdict"]],
        headline=_HEADLINES[found["verdict"]],
        tones=_TONES,
        checks=checks,
        meanings=MEANINGS,
        kinds=KINDS,
        hours_svg=bars(
            list(hours.values()), [hour[-2:] for hour in hours], "hours", "hour (UTC)", "requests"
        ),
        style=Markup(_STYLE.read_text(encoding="utf-8")),
    )
    return text
