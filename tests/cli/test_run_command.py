"""What `tessera run` prints when it ends."""

import pytest

from cli.run import _print_result
from components.bundle import Pins, write_pins
from components.pusher.push import push
from tests.components.bundle_fixtures import make_request

METRICS = {"recall@10": 0.1, "recall@50": 0.2, "recall@100": 0.3, "ndcg@10": 0.1, "coverage": 1.0}


@pytest.fixture
def bundle(tmp_path):
    push(make_request(tmp_path, "one"), blessed=True)
    return push(make_request(tmp_path, "two"), blessed=True).destination


def shown(report, tmp_path, capsys):
    base = {"metrics": METRICS, "baselines": {}, "config": {"model": {"name": "dcm"}}}
    _print_result({**base, **report}, tmp_path)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "said"),
    [({}, False), ({"stable": 2}, False), ({"stable": 1}, True), ({"stable": 1, "new": 2}, False)],
)
def test_a_version_that_labels_keep_from_being_served_is_announced(
    bundle, tmp_path, capsys, labels, said
):
    write_pins(bundle.parent, Pins(labels=labels))
    out = shown({"pushed_version": 2, "bundle": str(bundle)}, tmp_path, capsys)
    assert str(bundle) in out
    assert ("not served yet (stable is version 1): tessera promote 2" in out) is said


def test_unreadable_pins_do_not_turn_a_finished_run_into_an_error(bundle, tmp_path, capsys):
    (bundle.parent / "pins.json").write_text("no json")
    assert str(bundle) in shown({"pushed_version": 2, "bundle": str(bundle)}, tmp_path, capsys)


def test_a_reason_is_shown_as_it_is(tmp_path, capsys):
    reason = "a graph says [[{{node x}}]] [/] [red]"
    assert reason in shown({"not_pushed_reason": reason}, tmp_path, capsys)
