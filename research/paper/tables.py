"""The paper's tables beside ours.

The paper's figures are those of arXiv 2506.23060 as its readers quote them; nobody here has
read them in the paper itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from research.paper import verdicts
from research.paper.clusters import ABLATION
from research.paper.results import METRIC, MissingResultError, Published, ResultSet
from research.paper.verdicts import MarkdownTable


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Attributes:
      title: number and subject.
      experiment: ours.
      quoted: how sure the paper's figures are.
      columns: names of the paper's figures.
      lines: (name, the paper's figures, our row).
      figures: further figures of ours beside `METRIC`.
    """

    title: str
    experiment: str
    quoted: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, tuple[str, ...], str], ...]
    figures: tuple[str, ...] = ()


_TWO_READERS = "The paper's figures are second-hand: two independent readers quote them alike."
_ONE_READER = "The paper's figures are second-hand: one reader quotes all, another some of them."

TABLES = (
    PaperTable(
        "Table 2, implicit interests",
        "paper-implicit",
        _TWO_READERS,
        ("HR@100", "HR@1000"),
        (
            ("two-tower, one embedding", ("", ""), "two_tower"),
            ("self-attention", (".167", ".470"), "self_attention"),
            ("interest token", (".180", ".474"), "interest_token"),
            ("MIND", (".175", ".464"), "mind"),
            ("PFS", ("", ""), "pfs"),
            ("DCM", (".185", ".476"), "dcm"),
            ("control: last K items", ("", ""), "last_k"),
        ),
    ),
    PaperTable(
        "Table 3, explicit interests",
        "paper-explicit",
        _ONE_READER,
        ("HR@100",),
        (
            ("item interest, filtered", (".164",), "cr_item/source_topic"),
            ("source interest, filtered", (".191",), "cr_source/source_topic"),
            ("logged sources alone, filtered", ("",), "cr_source_logged/source_topic"),
            ("item interest, unfiltered", (".139",), "cr_item/source_topic_unfiltered"),
            ("source interest, unfiltered", (".145",), "cr_source/source_topic_unfiltered"),
            (
                "logged sources alone, unfiltered",
                ("",),
                "cr_source_logged/source_topic_unfiltered",
            ),
            ("two-tower, no condition", ("",), "two_tower/source_topic"),
        ),
        ("topic_relevance",),
    ),
    PaperTable(
        "Table 7, parts of DCM",
        ABLATION,
        _ONE_READER,
        ("HR@100",),
        (
            ("neither, K = 7", (".175",), "k7_neither"),
            ("SAR, K = 7", (".176",), "k7_sar"),
            ("VA-FPI, K = 7", (".175",), "k7_va_fpi"),
            ("both, K = 2", (".176",), "k2_both"),
            ("both, K = 4", (".180",), "k4_both"),
            ("both, K = 7", (".185",), "k7_both"),
        ),
        ("centroid_cosine",),
    ),
)


#: (figure, digits) of every model of the first table.
_DETAILS = (
    ("recall@10", 4),
    ("recall@50", 4),
    ("recall@100", 4),
    ("ndcg@10", 4),
    ("coverage@100", 3),
    ("distinct_topics", 1),
    ("user_cosine", 2),
    ("dead_slots", 1),
    ("examples_per_s", 0),
    ("epochs", 0),
    ("best_epoch", 1),
)


def details(published: Published) -> str:
    """Returns every model of the first table in full and the floors, a table per data set."""
    experiment = TABLES[0].experiment
    try:
        sets = published.sets(experiment)
    except MissingResultError:
        return ""
    return "\n".join(f"#### {part.name}\n\n{_detail(part).markdown()}\n" for part in sets)


def _detail(part: ResultSet) -> MarkdownTable:
    lines = []
    for entry in part.content["rows"]:
        row = str(entry["row"])
        stats = [part.find(row, figure) for figure, _ in _DETAILS]
        digits = [number for _, number in _DETAILS]
        cells = [verdicts.stat_text(s, d) if s else "" for s, d in zip(stats, digits, strict=True)]
        lines.append((row, *cells))
    for floor, values in part.content.get("floors", {}).items():
        cells = [f"{values[name]:.{d}f}" if name in values else "" for name, d in _DETAILS]
        lines.append((f"floor: {floor.replace('_', ' ')}", *cells))
    return MarkdownTable(("", *(figure.replace("_", " ") for figure, _ in _DETAILS)), lines)


def beside_ours(table: PaperTable, published: Published) -> MarkdownTable | str:
    """Returns a table of the paper with our columns, or why ours are missing.

    Args:
      table: of the paper.
      published: our results.
    """
    try:
        sets = published.sets(table.experiment)
    except MissingResultError as error:
        return f"Ours: {error}."
    figures = (METRIC, *table.figures)
    columns = ["", *(f"paper {name}" for name in table.columns)]
    columns += [f"{part.name} {figure.replace('_', ' ')}" for part in sets for figure in figures]
    lines = []
    for name, quoted, row in table.lines:
        cells = [text for part in sets for text in _cells(part, row, figures)]
        lines.append((name, *quoted, *cells))
    return MarkdownTable(tuple(columns), lines)


def _cells(part: ResultSet, row: str, figures: Sequence[str]) -> list[str]:
    if not part.has(row):
        return ["" for _ in figures]
    digits = [4 if figure == METRIC else 2 for figure in figures]
    stats = [part.find(row, figure) for figure in figures]
    return [verdicts.stat_text(s, d) if s else "" for s, d in zip(stats, digits, strict=True)]
