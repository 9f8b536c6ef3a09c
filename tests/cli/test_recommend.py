"""`tessera recommend` against a bundle that really answers."""

import json
import shutil

import pytest
from click.testing import CliRunner

from cli.recommend import recommend
from core.errors import BundleError, ConfigError, DataError
from core.feature_config import FeaturesConfig
from input_tables.config import DataConfig
from serving.recommend.lookup import find_user
from serving.recommend.question import HistoryEvent, typed_history
from tests.research.published import ITEMS, publish, write_tables


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("published")
    publish(path)
    return path


def ask(*arguments, **kwargs):
    result = CliRunner().invoke(recommend, [str(a) for a in arguments], **kwargs)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def ask_json(root, *arguments):
    return json.loads(ask("--bundle", root / "serving/demo", "--json", *arguments).stdout)


def test_a_user_is_answered_from_the_tables_with_reasons(root):
    answer = ask_json(root, "--user", "007", "-n", "6")
    assert [h["item_id"] for h in answer["history"]] == ["i1", "i2", "i0"]  # newest first, once
    assert answer["follows"] == ["odd"]  # `even` is not followed any more
    assert answer["now"] == 1700009001  # right after the newest event of the tables
    items = answer["items"]
    assert [item["rank"] for item in items] == [1, 2, 3, 4, 5, 6]
    assert not {"i0", "i1", "i2"} & {item["item_id"] for item in items}
    for item in items:
        number = int(item["item_id"][1:])
        assert item["title"] == f"Title i{number}"
        assert item["topics"][0] == ("even", "odd")[number % 2]
        if item["kind"] == "explicit":
            assert (item["topic"], item["reason"]) == ("odd", "follows odd")
        elif number % 2 == 0:
            assert item["reason"] == "because of Title i2, Title i0"
        else:
            assert item["reason"] == "because of Title i1"
    assert {item["kind"] for item in items} == {"implicit", "explicit"}
    shares = {i["slot"]: i["share"] for i in answer["interests"] if i["kind"] == "implicit"}
    assert shares == pytest.approx({0: 2 / 3, 1: 1 / 3}, abs=1e-5)
    assert sum(interest["items"] for interest in answer["interests"]) == 6


def test_the_keys_of_the_json_output_are_stable(root):
    answer = ask_json(root, "--user", "007")
    assert list(answer) == [
        "bundle", "user", "now", "time_unit", "history", "follows", "interests", "items", "notes",
    ]  # fmt: skip
    assert list(answer["items"][0]) == [
        "rank", "item_id", "title", "topics", "score", "slot", "kind", "topic", "reason",
    ]  # fmt: skip
    assert list(answer["interests"][0]) == [
        "slot", "kind", "topic", "share", "history", "items", "reason",
    ]  # fmt: skip
    assert answer["bundle"]["version"] == 1


def test_a_person_sees_a_table_with_reasons(root):
    result = ask("--bundle", root / "serving/demo/1", "--user", "007", "-n", "5")
    assert result.exit_code == 0
    assert "demo version 1 for user 007, as of 2023-11-15" in result.stdout
    assert "because of Title i1" in result.stdout and "follows odd" in result.stdout
    assert "interest 67%" in result.stdout
    assert result.stderr == ""


def test_a_typed_history_is_newest_first_and_knows_the_usual_action(root):
    answer = ask_json(root, "--history", "i4, i6", "-n", "3")
    assert [h["item_id"] for h in answer["history"]] == ["i4", "i6"]
    assert {h["action"] for h in answer["history"]} == {"click"}
    assert answer["history"][0]["timestamp"] > answer["history"][1]["timestamp"]
    assert {item["reason"] for item in answer["items"]} == {"because of Title i4, Title i6"}


def test_a_new_user_is_answered_by_a_follow(root):
    answer = ask_json(root, "--user", "nobody", "--follow", "even", "-n", "8")
    assert any(item["reason"] == "follows even" for item in answer["items"])
    assert any(item["reason"] == "for users without history" for item in answer["items"])
    assert any("no engagement" in note for note in answer["notes"])


def test_a_user_who_only_follows_is_known(root):
    assert ask_json(root, "--user", "fan")["follows"] == ["even"]


def test_an_unknown_user_is_an_error_that_says_what_to_do(root):
    with pytest.raises(DataError, match="'nobody' has neither") as caught:
        ask("--bundle", root / "serving/demo", "--user", "nobody")
    assert caught.value.exit_code == 2 and "--follow" in str(caught.value)


def test_unknown_items_and_topics_are_answered_and_noted(root):
    answer = ask_json(root, "--history", "i4,zzz", "--follow", "nothing", "-n", "20")
    notes = " ".join(answer["notes"])
    assert "'zzz'" in notes and "'nothing'" in notes and "not 20" in notes
    assert answer["items"]


@pytest.mark.parametrize("words", [[], ["--user", "007", "--history", "i1"]])
def test_contradicting_words_are_a_usage_error(root, words):
    result = ask("--bundle", root / "serving", *words)
    assert result.exit_code == 2 and "--history" in result.stderr


def test_titles_are_left_out_where_the_tables_are_gone(root, tmp_path):
    shutil.copytree(root / "serving/demo/1", tmp_path / "copy")
    arguments = ("--history", "i4", "-n", "1", "--data", tmp_path / "nowhere", "--json")
    answer = json.loads(ask("--bundle", tmp_path / "copy", *arguments).stdout)
    assert answer["items"][0]["title"] is None
    assert answer["items"][0]["reason"] == "because of i4"


def test_a_damaged_bundle_is_refused_before_it_is_asked(root, tmp_path):
    shutil.copytree(root / "serving/demo/1", tmp_path / "copy")
    (tmp_path / "copy/items.parquet").write_bytes(b"")
    with pytest.raises(BundleError, match=r"items\.parquet"):
        ask("--bundle", tmp_path / "copy", "--history", "i1")


def test_a_bundle_that_does_not_name_its_tables_asks_for_them(root, tmp_path):
    path = publish(tmp_path, data_root="", config={})
    with pytest.raises(ConfigError, match="--data"):
        ask("--bundle", path, "--user", "007")
    answer = ask("--bundle", path, "--user", "007", "--data", root / "tables", "--json")
    assert len(json.loads(answer.stdout)["items"]) == 9  # all but the three of the history


def test_events_at_or_after_the_moment_are_not_history(tmp_path):
    config = DataConfig(root=str(write_tables(tmp_path / "tables")))
    question = find_user(config, "seconds", "007", 10, now=1700000100)
    assert question.history == (HistoryEvent("i0", 1700000000, "click"),)
    assert question.follows == ("odd",)
    assert find_user(config, "seconds", "007", 10, now=1640000000).follows == ("even",)


def test_what_the_users_table_says_of_a_user_is_asked_with(tmp_path):
    root = write_tables(tmp_path / "tables")
    (root / "users.csv").write_text("user_id,age,region\n007,30,\n008,31,north\n")
    features = FeaturesConfig(users={"age": "number", "region": "category"})
    config = DataConfig(root=str(root))
    question = find_user(config, "seconds", "007", 10, features=features)
    assert question.features == ("age=30",)
    other = find_user(config, "seconds", "new", 10, extra_follows=("odd",), features=features)
    assert other.features == ()


def test_positions_count_from_the_users_own_last_event(tmp_path):
    (tmp_path / "engagements.csv").write_text(
        "user_id,item_id,timestamp,action\na,i1,0,x\na,i2,1,x\nb,i1,99,x\n"
    )
    (tmp_path / "items.csv").write_text("item_id,topics\ni1,t\ni2,t\n")
    question = find_user(DataConfig(root=str(tmp_path)), "order", "a", 10)
    assert (question.now, [e.timestamp for e in question.history]) == (2, [1, 0])


def test_a_request_without_history_and_follows_is_one_pad():
    arrays = typed_history([], [], "order", 0, "").arrays()
    assert {name: value.shape for name, value in arrays.items()} == {
        "timestamp": (1,),
        "history_item_id": (1, 1),
        "history_timestamp": (1, 1),
        "history_action": (1, 1),
        "followed_topic": (1, 1),
    }
    assert typed_history(ITEMS[:2], [], "order", 0, "x").history[0] == HistoryEvent("i0", 1, "x")
