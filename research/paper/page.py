"""Writes the page that judges the paper's claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from research.paper import (
    association,
    clusters,
    default_model,
    explicit,
    extractors,
    future,
    growth,
    serving,
    union,
)
from research.paper.results import Published
from research.paper.tables import TABLES, beside_ours, details
from research.paper.verdicts import (
    FAILS,
    HOLDS,
    OPEN,
    WORTH,
    Claim,
    ClaimVerdict,
    MarkdownTable,
    decide,
)

_MODULES = (extractors, clusters, association, explicit, union, serving, growth)
CLAIMS: tuple[Claim, ...] = tuple(
    sorted((c for module in _MODULES for c in module.CLAIMS), key=lambda claim: int(claim.id[1:]))
)
#: In the order in which trainings are shared best.
EXPERIMENTS = (
    "beauty-published",
    "paper-implicit",
    "paper-order",
    "paper-segments",
    "paper-ablation",
    "paper-explicit",
    "paper-union",
    "paper-association",
    "paper-negatives",
    "adaptive",
    "paper-serving-merge",
    "limits-invalid",
    "signals",
    default_model.EXPERIMENT,
    "cost",
)

_INTRO = """\
# The paper, reproduced and judged

<!-- Written by `tessera paper`; changes by hand are lost. -->

The paper is *Synergizing Implicit and Explicit User Interests: A Multi-Embedding Retrieval
Framework at Pinterest* (arXiv [2506.23060](https://arxiv.org/abs/2506.23060)). Its claims and those
of the work it builds on are restated as 23 hypotheses, and each is tested here on generated and
public data. Every system of the paper is a model of this repository ([model.md](model.md)) with the
same towers, features, loss, negatives and number of training steps; what differs within a table is
what the table names. Every figure and verdict below is computed from the published results in
`research/results/` by a rule that stands beside it.

What can be decided here is limited. Nobody outside has the paper's 6 billion engagements, its
online tests have no counterpart, and one held-out engagement per question cannot see what a user
would have liked beside it. A verdict is about these data sets and this code.
"""

_READING = f"""\
## How to read it

- `recall@100` is the share of held-out engagements among the 100 results, which is HR@100 as there
  is one target per question. N is 100 for every row; history items are never results.
- `±` is the standard deviation over seeds. `[ , ]` is the 95 % interval of a paired bootstrap over
  users, a user's examples drawn together and values averaged over seeds first. The interval knows
  which users were asked, not how trainings vary. So it counts as above or below 0 only where no
  seed's own difference has the other sign; with one seed, that cannot be seen.
- `\\*` marks an interval that is not paired: two samples, or two differences, taken as independent.
  It is an approximation, for the same users usually too wide.
- **No gain** means that the interval is not above 0 and excludes a gain of {WORTH:.0%} of the
  figure compared with.
- *Not decidable here* covers both what was not measured and what the intervals leave open.
- `best epoch` is the one whose weights were kept. Where it is the last, more training might have
  helped: equal steps favour models that learn fast.
- Examples per second and peak memory are those of one training as it ran, beside others or not;
  `cost` measures one process at a time.
- The paper's figures are second-hand: as quoted by readers of the paper.
"""


def render(published: Published) -> str:
    """Returns the page as Markdown, equal for equal results."""
    verdicts = {claim.id: decide(claim, published) for claim in CLAIMS}
    parts = [
        _INTRO,
        _counts(verdicts),
        _experiments(published),
        _datasets(published),
        _READING,
        "## The paper's tables beside ours\n",
        *_tables(published),
        "## The claims one by one\n",
        *(_section(claim, verdicts[claim.id]) for claim in CLAIMS),
        _future(published),
        default_model.section(published),
        _cost(published),
        _summary(verdicts),
    ]
    return "\n".join(parts)


def _counts(verdicts: Mapping[str, ClaimVerdict]) -> str:
    statuses = [verdict.status for verdict in verdicts.values()]
    counts = ", ".join(f"{statuses.count(status)} *{status}*" for status in (HOLDS, FAILS, OPEN))
    return f"Of {len(statuses)} claims: {counts}. [All in one table](#summary).\n"


def _experiments(published: Published) -> str:
    lines = []
    for name in EXPERIMENTS:
        content = published.experiments.get(name)
        link = f"[{name}](../conf/experiments/{name}.yaml)"
        if content is None:
            lines.append((link, "", "", "", "not run"))
            continue
        other = "the default model" if name == default_model.EXPERIMENT else "future work"
        claims = ", ".join(content.get("claims", [])) or other
        times = (f"{content['minutes']:g}", f"{content['seconds'] / 60:.0f}")
        lines.append((link, claims, *times, _seeds(content)))
    columns = ("experiment", "claims", "minutes stated", "minutes taken", "seeds")
    command = "tessera experiment --conf conf/experiments/paper-implicit.yaml"
    return "\n".join(
        [
            "## The experiments\n",
            "```sh",
            f"{command} --publish research/results",
            "tessera paper --results research/results --out docs/paper.md",
            "```\n",
            "The same command resumes after a kill, and trainings are shared: minutes taken count "
            "what an experiment uses, also where an earlier one trained it. "
            "[experiments.md](experiments.md) is the guide.\n",
            MarkdownTable(columns, lines).markdown() + "\n",
            *_budgets(published),
            *_machines(published),
        ]
    )


def _seeds(content: Mapping[str, Any]) -> str:
    datasets = content["datasets"].items()
    return ", ".join(f"{name} {len(part.get('seeds', []))}" for name, part in datasets)


def _budgets(published: Published) -> Iterator[str]:
    """Says what was tuned for whom, naming experiments where they differ."""
    by_text: dict[str, list[str]] = {}
    for name, content in published.experiments.items():
        if content.get("search_budget"):
            by_text.setdefault(" ".join(content["search_budget"].split()), []).append(name)
    for text, names in by_text.items():
        where = "" if len(by_text) == 1 else f" ({', '.join(names)})"
        yield f"Search budget{where}: {text[0].lower()}{text[1:].rstrip('.')}.\n"


def _machines(published: Published) -> Iterator[str]:
    machines = {
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']:.0f} GiB"
        for content in published.experiments.values()
        if (machine := content.get("machine"))
    }
    if machines:
        yield f"Machine: {'; '.join(sorted(machines))}.\n"


def _datasets(published: Published) -> str:
    seen: dict[str, Mapping[str, Any]] = {}
    for name in EXPERIMENTS:
        for dataset, content in published.experiments.get(name, {}).get("datasets", {}).items():
            seen.setdefault(dataset, content)
    if not seen:
        return ""
    keys = ("users", "items", "topics", "train_examples", "eval_examples", "history_median")
    lines = []
    for name, content in seen.items():
        cells = [f"{content[key]:,.0f}" if key in content else "" for key in keys]
        share = content.get("follows_share")
        follows = "" if share is None else f"{share:.0%}"
        lines.append((name, *cells, follows, str(content.get("time_unit", ""))))
    columns = ("data set", *(key.replace("_", " ") for key in keys), "users who follow", "time")
    return f"## The data sets\n\n{MarkdownTable(columns, lines).markdown()}\n"


def _tables(published: Published) -> Iterator[str]:
    for table in TABLES:
        ours = beside_ours(table, published)
        text = ours if isinstance(ours, str) else ours.markdown()
        source = f"arXiv 2506.23060, {table.title.partition(',')[0]}. {table.quoted}"
        yield f"### {table.title}\n\n{text}\n\n{source} Ours: `{table.experiment}`.\n"
        if table is TABLES[0]:
            yield details(published)


def _section(claim: Claim, verdict: ClaimVerdict) -> str:
    parts = [
        f"### {claim.id}. {claim.text.rstrip('.')}\n",
        f"- Measured: {claim.measure}",
        f"- Rule: {_sentence(claim.rule)}",
        f"- Paper: {_sentence(claim.paper)}\n",
    ]
    if verdict.evidence is not None:
        parts.append(verdict.evidence.markdown() + "\n")
    parts.append(f"**{_sentence(verdict.status)}** {verdict.reason}\n")
    return "\n".join(parts)


def _future(published: Published) -> str:
    return (
        "## What the paper leaves for the future\n\n"
        "An adaptive number of clusters, and further behaviour signals. The difference is what the "
        "first row gains over the second.\n\n"
        f"{future.answers(published).markdown()}\n"
    )


def _cost(published: Published) -> str:
    return (
        "## What it costs\n\n"
        "The paper has no table of cost. Here one thing varies at a time, with synthetic examples "
        "whose histories are full; single requests, exact search.\n\n"
        f"{growth.growth(published)}"
    )


def _summary(verdicts: Mapping[str, ClaimVerdict]) -> str:
    lines = []
    for claim in CLAIMS:
        verdict = verdicts[claim.id]
        lines.append((claim.id, claim.text, claim.paper, verdict.figure, f"**{verdict.status}**"))
    table = MarkdownTable(("", "claim", "paper", "here", "verdict"), lines)
    return (
        "## Summary\n\nSeveral figures stand for several data sets, in the order of the tables "
        f"above.\n\n{table.markdown()}\n"
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
