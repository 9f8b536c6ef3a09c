"""`model_card.md`: what a bundle is, made from its manifest, evaluation and index alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from components.bundle.manifest import Manifest
from trainer import features

MODEL_CARD = "model_card.md"
#: A slice whose metric is below this share of the whole is named under the known limits.
_WEAK_SHARE = 0.75
#: Evaluated examples of a slice below which its metric is not judged.
_SLICE_MIN = 30
_SLICES_SHOWN = 12


def model_card(manifest: Manifest, evaluation: Mapping[str, Any], index: Mapping[str, Any]) -> str:
    """Returns the text of a model card, in Markdown.

    Args:
      manifest: of the bundle.
      evaluation: content of `evaluation.json`; empty where nothing was evaluated.
      index: content of `index.json`.
    """
    parts = [
        f"# {manifest.name}, version {manifest.version}",
        "Made from the manifest, the evaluation and the index of this bundle; nothing in it was "
        "written by hand.",
        _section("What it is", _table(("", ""), _identity(manifest, index))),
        _section("Data", _table(("", ""), _data(manifest, index))),
        _section("Training", _table(("setting", "value"), _training(manifest.config))),
        _section("Metrics", _metrics(manifest, evaluation)),
        _section("Slices", _slices(manifest, evaluation)),
        _section("Known limits", _bullets(_limits(manifest, evaluation, index))),
        _section("Digests", _table(("of", "digest"), _digests(manifest))),
    ]
    return "\n\n".join(parts) + "\n"


def _identity(manifest: Manifest, index: Mapping[str, Any]) -> list[tuple[str, Any]]:
    model = _part(manifest.config, "model")
    rows: list[tuple[str, Any]] = [
        ("model", model.get("name")),
        ("slots per user", _slots(model)),
        ("embedding dimensions", index.get("dim") or model.get("embedding_dim")),
        ("index", index.get("kind")),
        ("published", manifest.created_at),
        ("Tessera", manifest.tessera_version),
        ("run", manifest.run_id),
        ("baseline version", manifest.baseline_version),
    ]
    if manifest.refreshed_from is not None:
        text = f"version {manifest.refreshed_from}, put over a new catalogue without training"
        rows.append(("refreshed from", text))
    return rows


def _slots(model: Mapping[str, Any]) -> str:
    name = str(model.get("name") or "")
    explicit = name == "cr" or name.endswith("_cr")
    parts = [] if name == "cr" else [f"{model.get('num_interests', '?')} implicit"]
    parts += [f"{model.get('explicit_slots', '?')} explicit"] if explicit else []
    return ", ".join(parts) if name else ""


def _data(manifest: Manifest, index: Mapping[str, Any]) -> list[tuple[str, Any]]:
    data, examples = (_part(manifest.config, key) for key in ("data", "examples"))
    window = f"{data.get('window_days')} days" if manifest.run_date else "all of the tables"
    return [
        ("last day", manifest.run_date or "none: tables without spans"),
        ("window", window),
        ("tables", manifest.data_root),
        ("unit of time", manifest.time_unit),
        ("items", index.get("items")),
        ("topics", index.get("topics")),
        ("positive actions", ", ".join(examples.get("positive_actions") or [])),
        ("negative actions", ", ".join(examples.get("negative_actions") or [])),
        ("features of a user", ", ".join([*features.USER_FEATURES, *manifest.features.users])),
        ("features of an item", ", ".join([*features.ITEM_FEATURES, *manifest.features.items])),
    ]


def _training(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    trainer = _part(config, "trainer")
    split = _part(_part(config, "examples"), "split")
    rows = [(key, trainer[key]) for key in sorted(trainer)]
    return rows + [(f"split.{key}", split[key]) for key in sorted(split)]


def _metrics(manifest: Manifest, evaluation: Mapping[str, Any]) -> str:
    model = evaluation.get("model") or manifest.metrics
    if not model:
        return "Not evaluated."
    floors = _part(evaluation, "floors")
    baseline = _part(evaluation, "baseline")
    columns = {"this version": model, **({"baseline": baseline} if baseline else {}), **floors}
    rows = [(name, *(_number(_part(columns, key).get(name)) for key in columns)) for name in model]
    count = evaluation.get("n_examples")
    said = f"Over {count:,} examples later than the training data. " if count else ""
    primary = manifest.primary_metric or evaluation.get("primary_metric") or "-"
    return f"{said}Decided by `{primary}`.\n\n" + _table(("metric", *columns), rows)


def _slices(manifest: Manifest, evaluation: Mapping[str, Any]) -> str:
    primary = evaluation.get("primary_metric") or manifest.primary_metric
    rows = [
        (f"{name}: {value}", figures.get("n"), _number(figures.get(primary)))
        for name, value, figures in _each_slice(evaluation)
    ][:_SLICES_SHOWN]
    return _table(("slice", "examples", primary), rows) if rows else "None were evaluated."


def _each_slice(evaluation: Mapping[str, Any]) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    for name, values in _part(evaluation, "slices").items():
        for value, figures in values.items():
            yield name, value, figures


def _limits(
    manifest: Manifest, evaluation: Mapping[str, Any], index: Mapping[str, Any]
) -> list[str]:
    """Returns what the figures themselves say that this version is not good at."""
    primary = evaluation.get("primary_metric") or manifest.primary_metric
    whole = _part(evaluation, "model").get(primary)
    limits = []
    if isinstance(whole, (int, float)):
        limits += [
            f"{name} = {value}: {primary} is {figures[primary]:.4f}, {whole:.4f} over all"
            for name, value, figures in _each_slice(evaluation)
            if isinstance(figures.get(primary), (int, float))
            and figures.get("n", 0) >= _SLICE_MIN
            and figures[primary] < _WEAK_SHARE * whole
        ]
        limits += [
            f"the floor `{floor}` reaches {figures[primary]:.4f}, not less than this version"
            for floor, figures in _part(evaluation, "floors").items()
            if isinstance(figures.get(primary), (int, float)) and figures[primary] >= whole
        ]
    else:
        limits.append("the primary metric was not evaluated")
    missing = evaluation.get("targets_not_in_catalogue")
    if missing:
        limits.append(f"{missing:,} evaluated targets are not in the catalogue and count as missed")
    recall = index.get("recall_vs_exact")
    if isinstance(recall, (int, float)) and recall < 1:
        limits.append(f"the index returns {recall:.2%} of what exact search returns")
    retrieval = _part(manifest.config, "retrieval")
    if retrieval.get("max_results"):
        limits.append(f"at most {retrieval['max_results']:,} items per request")
    if manifest.refreshed_from is not None:
        limits.append("items of the new catalogue that were not trained are known by topics only")
    if not manifest.run_date:
        limits.append("the data has no days, so the age of the model cannot be told from it")
    return limits


def _digests(manifest: Manifest) -> list[tuple[str, Any]]:
    return [
        ("code", manifest.code_digest),
        ("data", manifest.data_fingerprint),
        ("configuration", manifest.config_digest),
        ("configuration and code without data", manifest.training_digest),
        ("index and model", manifest.content_digest),
    ]


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    text = "-" if value is None or value == "" else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "None that the figures show."


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "-"


def _part(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = tree.get(key)
    return value if isinstance(value, Mapping) else {}
