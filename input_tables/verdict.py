"""Whether tables can be used: one answer for `data check`, `--dry-run` and the run itself."""

from __future__ import annotations

import datetime as dt
import difflib
import json
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from pydantic import Field

from core.config import BaseConfig
from core.errors import DataError
from input_tables.contract import ENGAGEMENTS, FOLLOWS, ITEMS, TABLES, USERS
from input_tables.near import near_list, near_miss
from input_tables.survey import Survey, SurveyedEvent, odd_topics

_SECONDS_PER_DAY = 86_400
#: A gap of days before the latest engagements from which on these are taken for wrong.
_GAP_DAYS = 90
_LATE_SHARE, _LATE_ROWS = 0.001, 5
#: Below this share of keys that do not meet nobody looks for the cause.
_WORTH_A_LOOK = 0.001
_SHOWN = 5

Facts = dict[str, Any]


class TableChecks(BaseConfig):
    """From where on the tables as a whole are refused; below it, what is odd is a warning."""

    min_engagements_in_catalogue: float = Field(
        0.5, ge=0.0, le=1.0, description="least share of engagements whose item is in the catalogue"
    )
    min_followers_engaged: float = Field(
        0.01, ge=0.0, le=1.0, description="least share of following users that have engagements"
    )
    min_followed_topics_with_items: float = Field(
        0.1, ge=0.0, le=1.0, description="least share of followed topics that an item has"
    )
    max_near_misses: float = Field(
        0.05,
        ge=0.0,
        le=1.0,
        description="most keys that would meet the other table if both were written alike "
        "(blanks, quotes, case, zeros in front)",
    )
    max_odd_topics: float = Field(
        0.05, ge=0.0, le=1.0, description="most items whose topics look like another program's list"
    )
    max_odd_times: float = Field(
        0.01, ge=0.0, le=1.0, description="most rows with a time before 1990"
    )
    unmatched_actions: Literal["fail", "warn"] = Field(
        "fail", description="what follows when a pattern of actions matches none of the log"
    )
    late_rows: Literal["fail", "warn"] = Field(
        "fail", description="what follows when a few engagements lie long after all others"
    )


class Rules(NamedTuple):
    """What a run asks of its tables.

    Attributes:
      checks: bounds.
      time_unit: `order` switches what is known about times off.
      max_bad_share: dead letters per row of a table.
      positive: patterns of `examples.positive_actions`.
      negative: patterns of `examples.negative_actions`.
      topics_separator: what was set for `data.topics_separator`; None: nothing.
    """

    checks: TableChecks = TableChecks()
    time_unit: Literal["seconds", "order"] = "seconds"
    max_bad_share: float = 0.01
    positive: Sequence[str] = ("*",)
    negative: Sequence[str] = ()
    topics_separator: str | None = None


DEFAULT_RULES = Rules()


class TablesVerdict(NamedTuple):
    """What is wrong with tables.

    Attributes:
      errors: each with the mend; any of them stops a run.
      warnings: what is odd, but not too much of it.
      facts: counts and shares, for people.
    """

    errors: list[str]
    warnings: list[str]
    facts: Facts

    def refuse(self, root: str) -> None:
        """Raises one `DataError` with all errors, if there are any."""
        if self.errors:
            raise DataError(f"{root}: the tables cannot be used:\n  " + "\n  ".join(self.errors))


def judge(survey: Survey, rules: Rules) -> TablesVerdict:
    """Judges what was counted.

    Args:
      survey: counts over all tables. Repeated items count as bad rows as well.
      rules: what the run asks for.
    """
    verdict = TablesVerdict([], [], {})
    _judge_rows(survey, rules, verdict)
    _judge_keys(survey, rules.checks, verdict)
    _judge_topics(survey, rules, verdict)
    if rules.time_unit == "seconds":
        _judge_times(survey, rules.checks, verdict)
    _judge_actions(survey, rules, verdict)
    _judge_features(survey, verdict)
    return verdict


def judge_items(survey: Survey, topics_separator: str | None) -> TablesVerdict:
    """Judges the items table alone, for a refresh."""
    verdict = TablesVerdict([], [], {})
    _judge_topics(survey, Rules(topics_separator=topics_separator), verdict)
    _judge_features(survey, verdict)
    return verdict


def _judge_features(survey: Survey, verdict: TablesVerdict) -> None:
    found = survey.features.judge(survey.users)
    verdict.errors.extend(found.errors)
    verdict.warnings.extend(found.warnings)
    if found.facts:
        verdict.facts["features"] = found.facts


def _judge_rows(survey: Survey, rules: Rules, verdict: TablesVerdict) -> None:
    repeated = survey.rows[ITEMS] - survey.num_items
    read = (*TABLES, USERS) if survey.rows[USERS] + survey.bad[USERS] else TABLES
    rows = {table: survey.rows[table] + survey.bad[table] for table in read}
    bad = {**survey.bad, ITEMS: survey.bad[ITEMS] + repeated}
    verdict.facts.update(
        {
            "users": len(survey.users),
            "items": survey.num_items,
            "topics": len(survey.item_topics),
            "actions": {k.decode(): n for k, n in survey.actions.most_common(20)},
            "timestamps": list(survey.bounds) if survey.bounds else None,
            "lines": {table: survey.lines[table] for table in read if survey.lines[table]},
            "repeated item rows": repeated,
            "items without topics": survey.without_topics,
        }
    )
    for table in (ENGAGEMENTS, ITEMS):
        if not rows[table]:
            verdict.errors.append(f"{table}: no rows under the header; deliver the whole table")
    if not rows[FOLLOWS]:
        verdict.warnings.append("no follows table: nobody follows a topic")
    for table in read:
        count = bad.get(table, 0)
        if rows[table] and count > rules.max_bad_share * rows[table]:
            verdict.errors.append(
                f"{table}: {count:,} of {rows[table]:,} rows ({count / rows[table]:.2%}) break the "
                f"data contract; at most {rules.max_bad_share:.2%} may (examples.max_bad_share)"
            )


def _judge_keys(survey: Survey, checks: TableChecks, verdict: TablesVerdict) -> None:
    engagements, items = survey.rows[ENGAGEMENTS], survey.items
    if engagements and items:
        met = sum(n for item, n in survey.engaged.items() if item in items)
        _judge_share(
            "engagements whose item is in the catalogue",
            met / engagements,
            ("min_engagements_in_catalogue", checks.min_engagements_in_catalogue),
            (survey.engaged.keys(), items, checks.max_near_misses),
            verdict,
        )
    if survey.followers and survey.users:
        _judge_share(
            "following users with engagements",
            len(survey.followers & survey.users) / len(survey.followers),
            ("min_followers_engaged", checks.min_followers_engaged),
            (survey.followers, survey.users, checks.max_near_misses),
            verdict,
        )
    if survey.followed and items:
        _judge_share(
            "followed topics with items",
            len(survey.followed & survey.item_topics.keys()) / len(survey.followed),
            ("min_followed_topics_with_items", checks.min_followed_topics_with_items),
            (survey.followed, survey.item_topics.keys(), checks.max_near_misses),
            verdict,
        )


def _judge_share(
    what: str,
    share: float,
    least: tuple[str, float],
    keys: tuple[Collection[bytes], Collection[bytes], float],
    verdict: TablesVerdict,
) -> None:
    ours, others, max_near_misses = keys
    verdict.facts[what] = round(share, 4)
    near = near_miss(ours, others) if share < 1 - _WORTH_A_LOOK else None
    reason = f"; {near.text()}; write them alike in both tables" if near else ""
    key, bound = least
    if share < bound:
        verdict.errors.append(
            f"{what}: {share:.1%}, examples.checks.{key} asks for {bound:.1%}{reason}"
        )
    elif near and near.share > max_near_misses:
        verdict.errors.append(
            f"{what}: {share:.1%}{reason} (examples.checks.max_near_misses allows "
            f"{max_near_misses:.0%})"
        )
    elif near:
        verdict.warnings.append(f"{what}: {share:.1%}{reason}")


def _judge_topics(survey: Survey, rules: Rules, verdict: TablesVerdict) -> None:
    mends = {
        "list": "look like a list of another program",
        "joined": "hold several topics in one",
        "blanks": "have blanks around them",
    }
    odd = {} if rules.topics_separator else odd_topics(survey.item_topics)
    for what, (count, example) in odd.items():
        share = count / max(1, survey.num_items)
        text = (
            f"items: topics of {count:,} items ({share:.0%}) {mends[what]}, as {example!r}; join "
            "topics with | and nothing else, or say data.topics_separator"
        )
        bound = rules.checks.max_odd_topics
        (verdict.errors if share > bound else verdict.warnings).append(text)
    lone = survey.followed - survey.item_topics.keys()
    if lone and not odd and (found := near_list(lone, survey.item_topics.keys())):
        verdict.warnings.append(
            f"the followed topic {found[0]!r} is part of an item's topic {found[1]!r}; topics of "
            "an item are joined with |"
        )


def _judge_times(survey: Survey, checks: TableChecks, verdict: TablesVerdict) -> None:
    for (column, meaning), (count, example) in survey.early.items():
        rows = survey.rows[column.split(".")[0]]
        text = (
            f"{column}: {count:,} of {rows:,} values are before 1990, as {example}: {meaning}; "
            "write seconds since 1970, or set examples.time_unit to order where they are positions"
        )
        share = count / max(1, rows)
        (verdict.errors if share > checks.max_odd_times else verdict.warnings).append(text)
    late = late_events(survey)
    if late:
        shown = "; ".join(
            f"{_day(event.timestamp)} ({event.timestamp}) of user {event.user.decode()!r}, item "
            f"{event.item.decode()!r} in {event.file}"
            for event in late[:_SHOWN]
        )
        text = (
            f"engagements: {len(late)} row(s) lie long after all others and move the window: "
            f"{shown}; remove them, or set examples.checks.late_rows to warn"
        )
        (verdict.errors if checks.late_rows == "fail" else verdict.warnings).append(text)


def late_events(survey: Survey) -> list[SurveyedEvent]:
    """Returns the few engagements that a long time without any parts from all others."""
    days = sorted(survey.days, reverse=True)
    total, behind = sum(survey.days.values()), 0
    for later, earlier in pairwise(days):
        behind += survey.days[later]
        if behind > max(_LATE_ROWS, _LATE_SHARE * total) or 2 * behind > total:
            return []
        if later - earlier > max(_GAP_DAYS, (earlier - days[-1]) // 2):
            first = later * _SECONDS_PER_DAY
            return [event for event in survey.latest if event.timestamp >= first]
    return []


def _judge_actions(survey: Survey, rules: Rules, verdict: TablesVerdict) -> None:
    if not survey.actions:
        return
    known = [action.decode("utf-8", "replace") for action, _ in survey.actions.most_common()]
    for key, patterns in (("positive", rules.positive), ("negative", rules.negative)):
        for pattern in patterns:
            if any(fnmatchcase(action, pattern) for action in known):
                continue
            fails = rules.checks.unmatched_actions == "fail"
            (verdict.errors if fails else verdict.warnings).append(
                f"examples.{key}_actions: {json.dumps(pattern)} matches no action of the log"
                f"{_nearest(pattern, known)}"
            )
    for action in known:
        plain = action.strip().casefold()
        for pattern in rules.negative:
            if fnmatchcase(plain, pattern.casefold()) and not fnmatchcase(action, pattern):
                verdict.warnings.append(
                    f"action {json.dumps(action)} is nearly what examples.negative_actions "
                    f"{json.dumps(pattern)} matches, and counts as an engagement"
                )


def _nearest(pattern: str, known: Sequence[str]) -> str:
    plain = {action.strip().casefold(): action for action in reversed(known)}
    wanted = pattern.strip().casefold()
    near = difflib.get_close_matches(wanted, list(plain), n=3, cutoff=0.6)
    shown = [json.dumps(plain[each], ensure_ascii=False) for each in near]
    others = ", ".join(json.dumps(action, ensure_ascii=False) for action in known[:_SHOWN])
    return f"; nearest: {', '.join(shown)}" if shown else f"; the log has {others}"


def _day(timestamp: int) -> str:
    try:
        return dt.datetime.fromtimestamp(timestamp, dt.timezone.utc).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return "no day"
