"""A realistic run on disk, for the tests of the report."""

import json
import math
from pathlib import Path

from pipeline.report.collect import ReportInputs

FLOORS = ("popularity", "item_cosine", "last_transition", "topic_popularity")


def _metrics(scale: float) -> dict:
    return {
        "recall@10": 0.09 * scale,
        "ndcg@10": 0.05 * scale,
        "recall@50": 0.2 * scale,
        "recall@100": 0.28 * scale,
        "mrr": 0.04 * scale,
        "coverage": min(1.0, 0.6 * scale),
        "topic_entropy@50": 2.1 * scale,
        "distinct_topics": 14.3 * scale,
    }


def _slice(n: int, scale: float) -> dict:
    return {"n": n, **{k: v for k, v in _metrics(scale).items() if k[:6] in ("recall", "mrr")}}


def evaluation() -> dict:
    ks = [1, 2, 5, 10, 20, 50, 100]
    return {
        "n_examples": 12043,
        "primary_metric": "recall@100",
        "model": _metrics(1.0),
        "floors": {name: _metrics(0.2 + 0.15 * i) for i, name in enumerate(FLOORS)},
        "limits": {"oracle": _metrics(1.4), "feasible": _metrics(1.3)},
        "baseline": _metrics(0.97),
        "baseline_comparison": {
            "difference": 0.0084, "low": 0.0031, "high": 0.0139, "level": 0.95, "n": 12043,
        },
        "slices": {
            "activity": {"new": _slice(120, 0.3), "non_core": _slice(5000, 0.8),
                         "core": _slice(6923, 1.1)},
            "follows": {"0": _slice(4000, 0.9), "1-2": _slice(4043, 1.0), "3+": _slice(4000, 1.1)},
        },
        "curve": {"k": ks, "recall": [0.28 * math.log1p(k) / math.log(101) for k in ks]},
        "merge_curve": [
            {"merge": "score", "balance": None, "served": False, "n": 1000, "recall@10": 0.1,
             "recall@100": 0.29, "topic_entropy@50": 1.9, "topics_covered": 0.8},
            {"merge": "balanced", "balance": 0.15, "served": True, "n": 1000, "recall@10": 0.09,
             "recall@100": 0.28, "topic_entropy@50": 2.1, "topics_covered": 0.9},
            {"merge": "round_robin", "balance": None, "served": False, "n": 1000,
             "recall@10": 0.07, "recall@100": 0.26, "topic_entropy@50": 2.4,
             "topics_covered": None},
        ],
        "several_targets": {
            "users": 1234, "targets_mean": 2.5, "model": {"recall@10": 0.11, "ndcg@10": 0.07},
            "floors": {"popularity": {"recall@10": 0.02, "ndcg@10": 0.01}},
        },
        "slots": {
            "implicit_share": 0.81, "explicit_share": 0.19, "overlap": 0.34,
            "hits_by_kind": {"implicit": 0.77, "explicit": 0.23},
            "slot_use": [0.41, 0.22, 0.12, 0.06, 0.08, 0.06, 0.03, 0.02, 0.0],
            "slot_valid": [1, 0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05],
            "dead_slots": [8],
        },
        "topic_coverage": {"k": ks, "distinct_topics": [2.1, 3.4, 6.0, 8.8, 11.9, 16.4, 21.0]},
        "cluster_sizes": [400, 900, 1300, 1200, 800, 500, 300, 180, 90, 60, 20],
    }  # fmt: skip


DATA_REPORT = {
    "tables": {
        "engagements": {"rows": 979478, "dead_letters": 12, "files": 1, "bytes": 9_400_000},
        "items": {"rows": 10000, "dead_letters": 0, "files": 1, "bytes": 410_000},
        "follows": {"rows": 198000, "dead_letters": 1, "files": 1, "bytes": 2_100_000},
    },
    "users": 53424,
    "items": 10000,
    "events": {"total": 979466, "positive": 676880, "duplicates": 1402},
    "dropped": {"duplicate_event": 1402, "repeat_target": 310},
    "dead_letters": 13,
    "dead_letter_reasons": {"wrong number of columns": 12, "empty id": 1},
    "examples": {"train": 570000, "validation": 53424, "eval": 53424, "corpus": 10000},
    "period_days": {"eval": 183.75, "validation": 2},
    "history_length": {"p50": 18, "p90": 50, "max": 50},
    "fingerprint": "9f1c03",
    "window": {"first": None, "last": None},
}

HISTORY = [
    {"epoch": e, "loss": 7.0 - 2.2 * (1 - 0.6**e), "in_batch_accuracy": 0.1 + 0.02 * e,
     "examples_per_s": 21034.5, "val_recall@50": 0.19 - 0.09 * 0.55**e}
    for e in range(1, 9)
]  # fmt: skip

VERDICTS = [
    {"check": "examples", "value": 12043, "bound": 1, "passed": True,
     "reason": "12,043 eval examples"},
    {"check": "threshold recall@100 min", "value": 0.28, "bound": 0.2, "passed": True,
     "reason": "recall@100 is 0.2800, wanted at least 0.2"},
    {"check": "floor item_cosine", "value": 0.28, "bound": 0.098, "passed": True,
     "reason": "recall@100 0.2800 is above the floor item_cosine with 0.0980"},
]  # fmt: skip

TIMINGS = {
    "RetrievalExampleGen": 41.2, "StatisticsGen": 22.8, "CuratedSchema": 0.2,
    "ExampleValidator": 0.4, "DataGate": 0.3, "Transform": 88.1, "BaselineResolver": 0.2,
    "Trainer": 402.7, "IndexBuilder": 14.9, "RetrievalEvaluator": 61.0,
    "ServingValidator": 21.5, "Pusher": 1.4,
}  # fmt: skip


SERVING = {
    "validated": True,
    "served": "retriever_scann",
    "split": "eval",
    "requests": 64,
    "latency_ms": {"retriever": {"p50": 3.21, "p99": 9.9},
                   "retriever_scann": {"p50": 1.75, "p99": 6.5}},
    "load_s": {"retriever": 0.82, "retriever_scann": 0.57},
    "rss_mb": {"retriever": 661.4, "retriever_scann": 669.0},
    "recall": 0.9712,
    "skew": 0.0,
    "checks": [
        {"name": "signatures", "model": "retriever", "passed": True, "value": 0,
         "reason": "names, dtypes, shapes and defaults are as promised"},
        {"name": "recall", "model": "retriever_scann", "passed": True, "value": 0.9712,
         "reason": "0.9712 of the items of exact search, wanted at least 0.9"},
    ],
}  # fmt: skip


def _write(root: Path, name: str, value) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def sample_inputs(root: Path, **changes) -> ReportInputs:
    """Inputs of a blessed and pushed run; `changes` replaces fields."""
    manifest = {
        "training_digest": "0123456789abcdef",
        "tessera_version": "0.1.0",
        "files": {"a": 1},
    }
    _write(root, "serving/books/3/manifest.json", manifest)
    fields = {
        "run_id": "20261120-120000-abcd",
        "config": {"name": "books", "model": {"name": "dcm_cr", "embedding_dim": 64}},
        "timings": TIMINGS,
        "cached": ("StatisticsGen",),
        "created_at": "2026-11-20T12:10:33+00:00",
        "data_report": _write(root, "data_report.json", DATA_REPORT),
        "verdict": _write(root, "verdict.json", {"passed": True, "reasons": []}),
        "evaluation": _write(root, "evaluation.json", evaluation()),
        "blessing": _write(root, "blessing.json", {"blessed": True, "verdicts": VERDICTS}),
        "serving": _write(root, "validation.json", SERVING),
        "index": _write(
            root,
            "index.json",
            {"kind": "scann", "serve": "retriever_scann", "items": 10000, "dim": 64,
             "recall_vs_exact": 0.981, "build_s": 3.2, "bytes": 12_400_000,
             "parameters": {"num_leaves": 100, "leaves_to_search": 12}, "tried": []},
        ),
        "history": _write(root, "history.json", HISTORY),
        "pushed": _write(
            root,
            "pushed.json",
            {"pushed": True, "version": 3, "destination": str(root / "serving/books/3"),
             "reason": "published version 3"},
        ),
        "baseline": _write(root, "baseline.json", {"found": True, "version": 2}),
    }  # fmt: skip
    return ReportInputs(**{**fields, **changes})
