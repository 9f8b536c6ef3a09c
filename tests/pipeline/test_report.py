"""`report.json` and `report.html`."""

import html.parser
import json
import re

import pytest

from core.errors import DataError
from pipeline.lineage import NodeState
from pipeline.report import figures
from pipeline.report.collect import ReportInputs, collect_report
from pipeline.report.inputs import report_inputs
from pipeline.report.render import render, write_report
from tests.markers import nightly
from tests.pipeline.report_sample import FLOORS, SERVING, sample_inputs

SECTIONS = {
    "metrics", "verdict", "serving", "retrieval", "slices", "training", "interests", "data",
    "timings", "index", "configuration",
}  # fmt: skip
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Checks that tags nest and gathers what the tests ask about."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.attributes, self.words = [], [], [], []
        self.figures = self.sections = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        self.figures += tag == "figure"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes <{self.open[-1:]}>"
        self.open.pop()

    def handle_data(self, data):
        if data.strip() and "style" not in self.open:
            self.words.append(data.strip())

    @property
    def text(self):
        return " ".join(self.words)


@pytest.fixture
def report(tmp_path):
    return collect_report(sample_inputs(tmp_path))


def check_page(text):
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids)), "ids repeat"
    assert set(page.ids) >= SECTIONS
    return page


def test_the_report_has_the_promised_keys(report):
    assert report.keys() >= {
        "run_id", "config", "data", "metrics", "slices", "baselines", "index", "timings_s",
        "blessed", "serving", "pushed_version", "bundle",
    }  # fmt: skip
    assert (report["blessed"], report["pushed_version"], report["status"]) == (True, 3, "pushed")
    assert report["data"]["rows"] == {"engagements": 979478, "items": 10000, "follows": 198000}
    assert report["data"]["dropped"]["duplicate_event"] == 1402
    assert report["metrics"]["recall@100"] == 0.28
    assert set(report["baselines"]) == {*FLOORS, "previous"}
    assert report["index"]["recall_vs_exact"] == 0.981
    assert report["not_pushed_reason"] == ""
    assert "files" not in report["manifest"]
    json.dumps(report, allow_nan=False)


def test_the_page_is_whole_and_refers_to_nothing_outside(report):
    text = render(report)
    page = check_page(text)
    assert not re.search(r"https?:|//[a-z]", text), "an outside reference"
    assert not re.search(r"@import|<script|<link|<img|<iframe", text)
    for name, value in page.attributes:
        if name in ("href", "src", "xlink:href"):
            assert value.startswith("#"), (name, value)
    assert not re.search(r"url\((?!#)", text)


def test_references_inside_the_page_lead_somewhere(report):
    page = check_page(text := render(report))
    targets = {value[1:] for name, value in page.attributes if name == "href"}
    targets |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert targets <= set(page.ids)


def test_every_part_is_shown(report):
    page = check_page(render(report))
    assert page.figures == 6
    assert "Not available" not in page.text
    for words in (
        "Blessed and published as version 3",
        "item-item cosine",
        "last-item transitions",
        "previous version",
        "0.2800",
        "wanted at least 0.2",
        "wrong number of columns",
        "979,478",
        "6 min 42 s",
        "scann",
        "num_leaves 100",
        "embedding_dim",
        "Against version 2: recall@100 +0.0084",
        "1.8 ms",
        "669 MB",
        "97.12% of the items",
        "2 checks passed",
        "balanced 0.15 (served)",
        "1,234 users, asked once",
        "53,424 of 183.8 days",
    ):
        assert words in page.text, words


def test_figures_say_what_they_show_to_those_who_cannot_see_them(report):
    text = render(report)
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', text)
    assert len(labels) == 6
    assert any("0.280 at k=100" in label for label in labels)


def test_figures_take_their_colours_from_the_page(report):
    text = render(report)
    figures = "".join(re.findall(r"<figure>.*?</figure>", text, flags=re.DOTALL))
    assert "var(--c1)" in figures
    assert not re.findall(r"#[0-9a-fA-F]{6}\b", figures)


def test_a_run_that_was_not_blessed_says_why(tmp_path):
    verdicts = [
        {"check": "threshold", "value": 0.1, "bound": 0.2, "passed": False,
         "reason": "recall@100 is 0.1000, wanted at least 0.2"},
    ]  # fmt: skip
    blessing = tmp_path / "no.json"
    blessing.write_text(json.dumps({"blessed": False, "verdicts": verdicts}))
    pushed = tmp_path / "nopush.json"
    pushed.write_text(json.dumps({"pushed": False, "version": None, "destination": ""}))
    report = collect_report(sample_inputs(tmp_path, blessing=blessing, pushed=pushed))
    assert (report["blessed"], report["status"]) == (False, "not_blessed")
    assert (report["pushed_version"], report["bundle"]) == (None, None)
    assert report["not_pushed_reason"] == "recall@100 is 0.1000, wanted at least 0.2"
    page = check_page(render(report))
    assert "Not blessed" in page.text and "✗ failed" in page.text


def test_a_run_that_does_not_serve_says_why(tmp_path):
    checks = [
        *SERVING["checks"],
        {"name": "latency", "model": "retriever_scann", "passed": False, "value": 612.0,
         "reason": "median 612.0 ms of 50 single requests, budget 250 ms"},
    ]  # fmt: skip
    validation = tmp_path / "no.json"
    validation.write_text(json.dumps({**SERVING, "validated": False, "checks": checks}))
    pushed = tmp_path / "nopush.json"
    pushed.write_text(json.dumps({"pushed": False, "version": None, "destination": ""}))
    report = collect_report(sample_inputs(tmp_path, serving=validation, pushed=pushed))
    assert (report["blessed"], report["status"]) == (True, "not_validated")
    assert report["serving"]["validated"] is False
    reason = "ScaNN: median 612.0 ms of 50 single requests, budget 250 ms"
    assert report["not_pushed_reason"] == reason
    page = check_page(render(report))
    assert "it does not serve" in page.text and "✗ failed" in page.text


def test_a_refresh_shows_the_figures_of_the_version_whose_model_it_is(tmp_path):
    inputs = sample_inputs(tmp_path, config={"name": "books", "pipeline": "refresh"})
    report = collect_report(inputs)
    assert "the published version, whose model this is" in check_page(render(report)).text
    report["manifest"]["model_version"] = 7
    assert "Figures of version 7" in check_page(render(report)).text


def test_the_files_of_a_refresh_are_found(tmp_path):
    from pipeline.config import RunConfig

    nodes = {
        "BundleSource": NodeState(
            True, "COMPLETE", {"evaluation": tmp_path / "e", "blessing": tmp_path / "b"}
        ),
        "CatalogueGen": NodeState(True, "COMPLETE", {"report": tmp_path / "c"}),
        "ServingValidator": NodeState(True, "COMPLETE", {"validation": tmp_path / "v"}),
    }
    config = RunConfig.model_validate({"data": {"root": "x"}})
    inputs = report_inputs(config, "r1", nodes, {}, None)
    assert inputs.data_report == tmp_path / "c/data_report.json"
    assert inputs.blessing == tmp_path / "b/blessing.json"
    assert inputs.evaluation == tmp_path / "e/evaluation.json"
    assert inputs.serving == tmp_path / "v/validation.json"


def test_a_run_that_failed_early_still_has_a_page(tmp_path):
    inputs = ReportInputs(run_id="r", config={"name": "books"}, error="no tables <here>")
    report = collect_report(inputs)
    assert (report["blessed"], report["status"]) == (None, "failed")
    page = check_page(text := render(report))
    assert "The run failed" in page.text and "no tables <here>" in page.text
    assert "&lt;here&gt;" in text
    assert page.text.count("Not available") == 9 + 1
    assert page.figures == 0


@pytest.mark.parametrize(
    "part", ["data_report", "verdict", "evaluation", "blessing", "serving", "index", "history",
             "pushed", "baseline"]
)  # fmt: skip
@pytest.mark.parametrize("content", [None, "{broken", *nightly("[]", "{}", '"text"', "null")])
def test_any_part_may_be_missing_or_broken(tmp_path, monkeypatch, part, content):
    # What is drawn is tested above; drawing takes most of the time.
    monkeypatch.setattr(figures, "chart", lambda *_, **__: "<svg></svg>")
    path = None
    if content is not None:
        path = tmp_path / "odd.json"
        path.write_text(content)
    report = collect_report(sample_inputs(tmp_path, **{part: path}))
    check_page(render(report))
    if content == "{broken":
        assert "odd.json" in report["notes"][0]


def test_numbers_that_are_not_finite_become_null(tmp_path):
    history = tmp_path / "nan.json"
    history.write_text('[{"epoch": 1, "loss": NaN, "val_recall@50": 0.1}]')
    report = collect_report(sample_inputs(tmp_path, history=history))
    assert report["training"] == [{"epoch": 1, "loss": None, "val_recall@50": 0.1}]
    json_path, html_path = write_report(report, tmp_path / "out")
    assert json.loads(json_path.read_text()) == report
    check_page(html_path.read_text())


def test_text_of_the_data_cannot_break_the_page(tmp_path):
    evil = "<script>alert(1)</script>"
    report = collect_report(sample_inputs(tmp_path, config={"name": evil, "x": "</pre>" + evil}))
    report["baselines"][evil] = report["baselines"]["popularity"]
    report["slices"][evil] = {evil: {"n": 3, "recall@100": 0.1}}
    text = render(report)
    check_page(text)
    assert "<script" not in text


def test_the_files_of_a_run_are_found_by_component(tmp_path):
    from pipeline.config import RunConfig

    history = tmp_path / "model/Format-Serving/warm_start/history.json"
    history.parent.mkdir(parents=True)
    history.write_text("[]")
    nodes = {
        "RetrievalExampleGen": NodeState(True, "CACHED", {"report": tmp_path / "report"}),
        "Trainer": NodeState(
            True, "COMPLETE", {"model": tmp_path / "model", "model_run": tmp_path / "run"}
        ),
        "Pusher": NodeState(False, "FAILED", {"pushed": tmp_path / "pushed"}),
    }
    config = RunConfig.model_validate({"data": {"root": "x"}})
    inputs = report_inputs(config, "r1", nodes, {"Trainer": 1.0}, DataError("bad rows"))
    assert inputs.data_report == tmp_path / "report/data_report.json"
    assert inputs.history == history
    assert (inputs.pushed, inputs.evaluation) == (None, None)
    assert (inputs.cached, inputs.error) == (("RetrievalExampleGen",), "bad rows")
    assert inputs.config["data"]["root"] == "x"
