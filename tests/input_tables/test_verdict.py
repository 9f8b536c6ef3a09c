"""What is an error by default is a warning where the bounds say so."""

import pytest

from input_tables.checking import check_tables
from input_tables.config import DataConfig
from input_tables.verdict import Rules, TableChecks
from tests.input_tables.field import changed, write

LATE = changed(
    "engagements", "timestamp", lambda value, n: str(int(value) - (n != 5) * 300_000_000)
)
DAYS = changed("engagements", "timestamp", lambda value, n: "19700" if n == 5 else value)
TOPICS = changed("items", "topics", lambda value, _: value.replace("|", ";"))
CASE = changed("follows", "user_id", lambda value, n: value.upper() if n % 4 == 0 else value)


@pytest.mark.parametrize(
    ("tables", "loose", "strict", "word"),
    [
        (LATE, {"late_rows": "warn"}, {}, "long after all others"),
        (DAYS, {}, {"max_odd_times": 0.0}, "days since 1970"),
        (TOPICS, {"max_odd_topics": 1.0, "min_followed_topics_with_items": 0.0}, {}, "join topics"),
        (CASE, {"max_near_misses": 1.0}, {}, "upper and lower case"),
        ({}, {"unmatched_actions": "warn"}, {}, "matches no action"),
    ],
)
def test_bounds_decide_between_warning_and_error(tmp_path, tables, loose, strict, word):
    config = DataConfig(root=str(write(tmp_path, tables or None)))
    for checks, place, other in ((loose, "warnings", "errors"), (strict, "errors", "warnings")):
        found = check_tables(config, Rules(checks=TableChecks(**checks), negative=("dislike",)))
        assert any(word in text for text in found[place]), found[place]
        assert not any(word in text for text in found[other]), found[other]
