"""Tables that are almost right, as people who do this job have reported them."""

import csv
import json
import shutil

import pytest

from tests.input_tables.field import (
    HEADERS,
    changed,
    dry_run,
    good,
    lines,
    passes,
    refused,
    text_of,
    write,
)


def test_the_good_tables_are_good(tmp_path):
    said = passes(write(tmp_path), "800 rows", "of 801 lines", "120 rows", "of 121 lines")
    assert "warning" not in said


# 1. Quotes that swallow rows


def test_two_titles_that_open_a_quote_swallow_no_items(tmp_path):
    rows = lines("items")
    rows[11] = rows[11].replace("Title 10", '"Open')
    rows[41] = rows[41].replace("Title 40", '"Also')
    root = write(tmp_path, items="\n".join(rows) + "\n")
    refused(root, "items.csv:12", "quote", "swallows rows", "look like rows of items")


def test_the_same_in_a_further_text_column_of_the_log(tmp_path):
    rows = [f"{line},note" for line in lines("engagements")]
    rows[100] = rows[100].replace("note", '"so')
    rows[700] = rows[700].replace("note", '"and')
    refused(write(tmp_path, engagements="\n".join(rows)), "engagements.csv:101", "swallows rows")


def test_a_missing_quote_where_every_text_is_quoted_swallows_no_items(tmp_path):
    rows = text_of(HEADERS["items"], good()["items"], csv.QUOTE_ALL).splitlines()
    for n in (11, 41):
        rows[n] = rows[n].removesuffix('"')
    root = write(tmp_path, items="\n".join(rows) + "\n")
    refused(root, "items.csv:12", "swallows rows")


def test_a_byte_that_is_no_utf_8_moves_no_quote(tmp_path):
    rows = [line.encode() for line in lines("items")]
    rows[5] = rows[5].replace(b"Title", b"\xff\xfe\xfd" * 9)
    rows[11] = rows[11].replace(b"Title 10", b'"two\nlines"')
    passes(write(tmp_path / "a", items=b"\n".join(rows) + b"\n"), "1 x items: title is not valid")
    rows[41], rows[45] = (rows[n].replace(b"Title", b'"Title') for n in (41, 45))
    refused(write(tmp_path / "b", items=b"\n".join(rows) + b"\n"), "items.csv:43", "swallows rows")


def test_a_stray_quote_in_the_last_third_is_never_closed(tmp_path):
    rows = lines("items")
    rows[48] = rows[48].replace("Title", '"Title')
    refused(write(tmp_path, items="\n".join(rows)), "items.csv:49", "not closed", "hides")


def test_a_swallowing_quote_beyond_one_block(tmp_path):
    tables = good()
    tables["engagements"] = [[*row] for _ in range(100) for row in tables["engagements"]]
    rows = text_of(HEADERS["engagements"], tables["engagements"]).splitlines()
    rows[10] = rows[10].replace("click", '"click')
    refused(write(tmp_path, tables, engagements="\n".join(rows)), "engagements.csv:11", "quote")


@pytest.mark.parametrize("title", ['"two\nlines"', '"a, b\nc, d and ""e"""', '"\n"', '12" vinyl'])
def test_a_title_that_really_holds_a_line_break_is_read(tmp_path, title):
    rows = lines("items")
    rows[11] = rows[11].replace("Title 10", title)
    passes(write(tmp_path, items="\n".join(rows) + "\n"), "120 rows")


# 3. The check says what the run will say


@pytest.mark.parametrize(
    ("tables", "word"),
    [
        ({"items": lambda rows: [*rows[2:], *rows[2:4]]}, "duplicate item_id"),
        ({"items": lambda rows: []}, "items: no rows under the header"),
        ({"engagements": lambda rows: []}, "engagements: no rows under the header"),
        (
            {"engagements": lambda rows: [[u, i, "20240630", a] for u, i, _, a in rows]},
            "YYYYMMDD",
        ),
    ],
)
def test_check_and_dry_run_give_one_verdict(tmp_path, tables, word):
    every = good()
    for table, change in tables.items():
        every[table] = change(every[table])
    root = write(tmp_path / "data", every)
    refused(root, word)
    code, said = dry_run(root, tmp_path)
    assert code == 2
    assert word in said or "break the data contract" in said


# 4. Names that nearly match


@pytest.mark.parametrize("name", ["Source", "source ", " source", "SOURCE"])
def test_an_optional_column_nearly_named_is_an_error(tmp_path, name):
    rows = lines("engagements")
    text = "\n".join([f"{rows[0]},{name}", *(f"{row},home" for row in rows[1:])])
    refused(write(tmp_path, engagements=text), "engagements.csv:1", repr(name), "'source'")


def test_a_required_column_nearly_named_names_both(tmp_path):
    text = text_of(["user_id", "item_id", " timestamp", "action"], good()["engagements"])
    refused(write(tmp_path, engagements=text), "column ' timestamp' must be written 'timestamp'")


def test_a_column_that_is_only_like_one_is_a_warning(tmp_path):
    rows = lines("engagements")
    text = "\n".join([f"{rows[0]},sources", *(f"{row},home" for row in rows[1:])])
    passes(write(tmp_path, engagements=text), "warning", "'sources'", "'source'")


@pytest.mark.parametrize("name", ["Follows.csv", "follow.csv", "follows.tsv", "FOLLOWS.csv.zip"])
def test_a_table_nearly_named_is_an_error(tmp_path, name):
    root = write(tmp_path)
    (root / "follows.csv").rename(root / name)
    refused(root, name, "must be called follows")


def test_beside_the_table_it_is_a_warning(tmp_path):
    root = write(tmp_path)
    shutil.copy(root / "items.csv", root / "item.csv")
    passes(root, "warning", "item.csv is not read")


@pytest.mark.parametrize("action", [" hide", "HIDE"])
def test_a_pattern_of_actions_without_a_row_names_the_nearest(tmp_path, action):
    tables = changed("engagements", "action", lambda value, _: value.replace("hide", action))
    root = write(tmp_path / "data", tables)
    refused(
        root, '"hide" matches no action', json.dumps(action), options=("--negative-action", "hide")
    )
    code, said = dry_run(root, tmp_path, negative_actions="[hide]")
    assert code == 2 and json.dumps(action) in said


def test_a_span_that_is_no_day_is_an_error(tmp_path):
    write(tmp_path / "flat")
    for table in ("engagements", "items", "follows"):
        for day in ("2024-06-29", "2024-06-30"):
            folder = tmp_path / "spans" / table / f"span={day}"
            folder.mkdir(parents=True)
            shutil.copy(tmp_path / "flat" / f"{table}.csv", folder)
    lost = tmp_path / "spans/engagements/span=__HIVE_DEFAULT_PARTITION__"
    lost.mkdir()
    shutil.copy(tmp_path / "flat/engagements.csv", lost)
    day = ("--run-date", "2024-06-30", "--window-days", "2")
    refused(tmp_path / "spans", "__HIVE_DEFAULT_PARTITION__", "YYYY-MM-DD", options=day)


def test_no_follows_table_is_always_said(tmp_path):
    passes(write(tmp_path, follows=None), "no follows table")


# 5. Keys that do not meet


@pytest.mark.parametrize(
    ("form", "cause"),
    [
        ("{}.0", ".0"),
        ('="{}"', "quotes"),
        ("'{}", "quotes"),
        (" {}", "blanks"),
        ("\u00a0{}", "blanks"),
    ],
)
def test_follows_that_meet_no_user_are_refused_with_the_cause(tmp_path, form, cause):
    tables = good()
    for table in ("engagements", "follows"):
        for row in tables[table]:
            row[0] = str(int(row[0][1:]) + 10)
    for row in tables["follows"]:
        row[0] = form.format(row[0])
    refused(write(tmp_path, tables), "following users with engagements: 0.0%", cause)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda item: f" {item}", "blanks"),
        (lambda item: f"{item}\u00a0", "blanks"),
        (lambda item: item.upper(), "case"),
        (lambda item: f'"{item}"', "quotes"),
    ],
)
def test_a_log_that_does_not_meet_the_catalogue_is_refused(tmp_path, change, cause):
    tables = changed("engagements", "item_id", lambda value, _: change(value))
    root = write(tmp_path / "data", tables)
    refused(root, "engagements whose item is in the catalogue: 0.0%", cause)
    code, said = dry_run(root, tmp_path)
    assert code == 2 and cause in said


def test_ids_that_lost_their_zeros(tmp_path):
    tables = changed("engagements", "item_id", lambda value, _: value[1:].lstrip("0") or "0")
    tables["items"] = [[item[1:], topics, title] for item, topics, title in tables["items"]]
    refused(write(tmp_path, tables), "leading zeros")


def test_a_few_keys_that_nearly_meet_are_a_warning(tmp_path):
    tables = changed("follows", "user_id", lambda value, n: value.upper() if n == 0 else value)
    passes(write(tmp_path, tables), "warning", "upper and lower case")


@pytest.mark.parametrize(
    "form", ["['{}', '{}']", '["{}","{}"]', "{},{}", "{};{}", "{} | {}", "{{{},{}}}"]
)
def test_topics_that_look_like_a_list_are_refused_with_the_mend(tmp_path, form):
    tables = changed("items", "topics", lambda value, _: form.format(*value.split("|")))
    for given in (None, ...):
        root = write(tmp_path, tables, **({} if given is None else {"follows": None}))
        refused(root, "topics", "join", "|")
        (root / "follows.csv").unlink(missing_ok=True)


def test_topics_in_another_case_meet_no_follow(tmp_path):
    tables = changed("items", "topics", lambda value, _: value.upper())
    refused(write(tmp_path, tables), "followed topics with items: 0.0%", "case")


def test_another_separator_may_be_said(tmp_path):
    tables = changed("items", "topics", lambda value, _: value.replace("|", ";"))
    passes(write(tmp_path, tables), "topics: 12", options=("--topics-separator", ";"))


# 6. Times that are none


@pytest.mark.parametrize(("unit", "word"), [(86_400, "days since 1970"), (3_600, "hours")])
def test_days_and_hours_are_refused(tmp_path, unit, word):
    tables = changed("engagements", "timestamp", lambda value, _: str(int(value) // unit))
    refused(write(tmp_path, tables), "before 1990", word)


def test_one_row_ten_years_late_is_named(tmp_path):
    ten_years = 10 * 365 * 86_400
    tables = changed(
        "engagements",
        "timestamp",
        lambda value, n: str(int(value) - (0 if n == 5 else ten_years)),
    )
    refused(write(tmp_path, tables), "long after all others", "u05", "i035", "engagements.csv")


def test_an_unfollow_in_the_year_9999_is_none(tmp_path):
    rows = [[*row, "253402214400"] for row in good()["follows"]]
    text = text_of([*HEADERS["follows"], "unfollowed_at"], rows)
    passes(write(tmp_path, follows=text), "60 rows        0 bad")


@pytest.mark.parametrize("now", ["1719791999000", "-5", "20240630"])
def test_now_is_checked_like_a_row(tmp_path, now):
    from input_tables.survey import moment_problem

    assert moment_problem(int(now), "seconds")
    assert moment_problem(1_719_791_999, "seconds") is None
    assert moment_problem(7, "order") is None


# 7. Placeholders as ids


@pytest.mark.parametrize("word", ["nan", "\\N", "None", "null", "NULL", "<NA>", "1.23457E+12"])
@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_placeholders_are_counted_and_refused_past_the_bad_share(tmp_path, word, column):
    few = changed("engagements", column, lambda value, n: word if n == 3 else value)
    passes(write(tmp_path, few), f"1 x engagements: {column} is a")
    many = changed("engagements", column, lambda value, n: word if n % 50 == 3 else value)
    refused(write(tmp_path, many), f"16 x engagements: {column} is a")
