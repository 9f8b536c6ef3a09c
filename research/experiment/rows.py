"""Assembles the results of an experiment: one row per model, variant and union."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluator.evaluate import finite_json
from components.evaluator.slices import SliceMasks
from research.experiment import measures
from research.experiment.bootstrap import UserResamples
from research.experiment.config import DEFAULT, ExperimentConfig, row_name, row_parts
from research.experiment.jobs import DatasetRuns
from research.experiment.measured import Measured, measure_run, measure_union
from research.experiment.reference import Reference, read_reference
from research.experiment.slices import population_slices

_LOG = logging.getLogger("tessera")
SCHEMA = 1
_REFERENCE_DIR = "reference"
_WHOLE = ("", "")


@dataclass
class _Row:
    """A row while it is put together."""

    name: str
    kind: str
    model: str | None
    variant: str
    note: str
    by_seed: dict[int, Measured] = field(default_factory=dict)


def build_results(
    config: ExperimentConfig,
    datasets: Iterable[DatasetRuns],
    *,
    seconds: float = 0.0,
    points: Sequence[Mapping[str, Any]] = (),
    code_digest: str = "",
    config_digest: str = "",
    machine: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the content of `results.json`.

    Args:
      config: the experiment.
      datasets: the finished runs of each data set; runs that are missing leave gaps.
      seconds: what the runs of the experiment took.
      points: rows of the cost experiment.
      code_digest: of the code that trained.
      config_digest: of the experiment's configuration.
      machine: `cpu`, `cores`, `memory_gib`.
    """
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "experiment": config.name,
        "title": config.title,
        "claims": list(config.claims),
        "minutes": config.minutes,
        "seconds": round(seconds, 1),
        "search_budget": config.search_budget,
        "created": dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "code_digest": code_digest,
        "config_digest": config_digest,
        "machine": dict(machine or {}),
        "datasets": {runs.name: dataset_results(config, runs) for runs in datasets},
    }
    if points:
        results["points"] = [dict(point) for point in points]
    finite: dict[str, Any] = finite_json(results)
    return finite


def dataset_results(config: ExperimentConfig, runs: DatasetRuns) -> dict[str, Any]:
    """Returns one data set's part of `results.json`."""
    models = config.models_of(runs.name)
    variants = {variant for model in models for variant in config.variants_of(model)}
    by_source = any(config.variant(name).ask == "source_topic" for name in variants)
    folder = Path(config.work_dir) / _REFERENCE_DIR
    reference = read_reference(runs, folder, by_source)
    slices = population_slices(reference.population)
    rows, missing = _measured_rows(config, runs, reference, slices)
    baseline = config.baseline_of(runs.name)
    entries = _entries(rows, baseline, config.compare, reference, slices)
    content: dict[str, Any] = {
        **reference.counts,
        "time_unit": runs.run.examples.time_unit,
        "seeds": list(config.seeds_of(runs.name)),
        "baseline": baseline,
        "floors": reference.floors,
        "rows": entries,
    }
    if reference.floors_source_topic:
        content["floors_source_topic"] = reference.floors_source_topic
    if reference.limits:
        content["limits"] = reference.limits
    if missing:
        content["missing"] = missing
    return content


def _measured_rows(
    config: ExperimentConfig, runs: DatasetRuns, reference: Reference, slices: SliceMasks
) -> tuple[list[_Row], dict[str, str]]:
    """Returns the rows that can be shown, and why others cannot."""
    rows: list[_Row] = []
    missing: dict[str, str] = {}
    seeds = config.seeds_of(runs.name)
    for model in config.models_of(runs.name):
        for variant in config.variants_of(model):
            name = row_name(model, variant)
            _LOG.info("%s: measuring %s", runs.name, name)
            note = config.models[model].note if variant == DEFAULT else config.variant(variant).note
            kind = "model" if variant == DEFAULT else "variant"
            row = _Row(name, kind, model, variant, note)
            by_source = config.variant(variant).ask == "source_topic"
            for seed in seeds:
                folder = runs.runs.get((model, seed))
                if folder is not None and (folder / f"{variant}.npz").exists():
                    row.by_seed[seed] = measure_run(folder, variant, reference, slices, by_source)
            _keep(row, rows, missing, "no finished run")
    for name in config.unions_of(runs.name):
        _LOG.info("%s: measuring %s", runs.name, name)
        entry = config.unions[name]
        row = _Row(name, "union", None, DEFAULT, entry.note)
        reason = "no seed has all its parts"
        asks = {config.variant(row_parts(part)[1]).ask for part in entry.parts}
        for place, seed in enumerate(seeds):
            parts = _parts(runs, seeds, place, entry.parts, entry.part_offsets)
            if parts is None:
                continue
            if len(set(parts)) < len(parts):
                reason = "two parts are the same run: it needs more seeds"
                continue
            row.by_seed[seed] = measure_union(
                parts,
                entry.part_shares,
                config.num_results,
                reference,
                slices,
                "source_topic" in asks,
            )
        _keep(row, rows, missing, reason)
    return rows, missing


def _keep(row: _Row, rows: list[_Row], missing: dict[str, str], reason: str) -> None:
    if row.by_seed:
        rows.append(row)
    else:
        missing[row.name] = reason


def _parts(
    runs: DatasetRuns,
    seeds: Sequence[int],
    place: int,
    names: Sequence[str],
    offsets: Sequence[int],
) -> list[Path] | None:
    """Returns the file of each part's result lists, None when one is not there."""
    files = []
    for name, offset in zip(names, offsets, strict=True):
        model, variant = row_parts(name)
        folder = runs.runs.get((model, seeds[(place + offset) % len(seeds)]))
        if folder is None or not (folder / f"{variant}.npz").exists():
            return None
        files.append(folder / f"{variant}.npz")
    return files


def _entries(
    rows: Sequence[_Row],
    baseline: str,
    compare: Mapping[str, str],
    reference: Reference,
    slices: SliceMasks,
) -> list[dict[str, Any]]:
    by_name = {row.name: row for row in rows}
    masks = {_WHOLE: np.ones(len(reference.population), bool)} | {
        (name, value): mask for name, values in slices.items() for value, mask in values.items()
    }
    resamples = UserResamples(reference.population.users)
    entries = []
    for row in rows:
        entry = _entry(row)
        if baseline in by_name and row.name != baseline:
            found = resamples.compare(*_averages(row, by_name[baseline]), masks)
            entry["versus"] = _named(found.pop(_WHOLE, {}), baseline)
            by_slice: dict[str, Any] = {}
            for (name, value), figures in found.items():
                by_slice.setdefault(name, {})[value] = _named(figures, baseline)
            entry["slice_versus"] = by_slice
        own = row.model if row.kind == "variant" else None
        for key, other in (("versus_default", own), ("versus_other", compare.get(row.name))):
            if other in by_name:
                whole = {_WHOLE: masks[_WHOLE]}
                found = resamples.compare(*_averages(row, by_name[other]), whole)
                entry[key] = _named(found.get(_WHOLE, {}), other)
        entries.append(entry)
    return entries


def _named(found: Mapping[str, Mapping[str, Any]], baseline: str) -> dict[str, Any]:
    return {metric: {"baseline": baseline, **figures} for metric, figures in found.items()}


def _averages(row: _Row, other: _Row) -> tuple[measures.Values, measures.Values]:
    """Returns each compared metric of each example, averaged over the seeds that both have.

    Rows without a common seed are averaged over their own.
    """
    common = row.by_seed.keys() & other.by_seed.keys()
    return _average(row, common or row.by_seed.keys()), _average(
        other, common or other.by_seed.keys()
    )


def _average(row: _Row, seeds: Collection[int]) -> measures.Values:
    stacked = [run.values for seed, run in row.by_seed.items() if seed in seeds]
    return {name: np.mean([values[name] for values in stacked], axis=0) for name in stacked[0]}


def _entry(row: _Row) -> dict[str, Any]:
    runs = list(row.by_seed.values())
    slices: dict[str, dict[str, Any]] = {}
    for name, values in runs[0].slices.items():
        for value, (count, _) in values.items():
            per_seed = [run.slices[name][value][1] for run in runs]
            slices.setdefault(name, {})[value] = {"n": count, "figures": _stats(per_seed)}
    return {
        "row": row.name,
        "kind": row.kind,
        "model": row.model,
        "variant": row.variant,
        "note": row.note,
        "n": runs[0].count,
        "seeds": list(row.by_seed),
        "figures": _stats([run.figures for run in runs]),
        "slices": slices,
        "versus": {},
        "slice_versus": {},
    }


def _stats(per_seed: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Returns mean, sample standard deviation and value of each seed, by figure."""
    names = dict.fromkeys(name for figures in per_seed for name in figures)
    return {name: stat([figures.get(name) for figures in per_seed]) for name in names}


def stat(values: Sequence[float | None]) -> dict[str, Any]:
    """Returns `mean`, `std` (sample, 0 for one value) and `values`; None where none is known."""
    known = np.asarray([value for value in values if value is not None], np.float64)
    known = known[np.isfinite(known)]
    return {
        "mean": float(known.mean()) if len(known) else None,
        "std": float(known.std(ddof=1)) if len(known) > 1 else 0.0,
        "values": list(values),
    }
