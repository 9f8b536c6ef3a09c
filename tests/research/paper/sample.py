"""Small published results, written by hand in the layout that experiments publish."""


def stat(*values):
    mean = sum(values) / len(values)
    spread = sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)
    return {"mean": mean, "std": spread**0.5, "values": list(values)}


def gap(baseline, low, high):
    return {
        "baseline": baseline,
        "difference": (low + high) / 2,
        "low": low,
        "high": high,
        "level": 0.95,
        "users": 500,
    }


def row(name, recall=0.2, *, n=1000, against=None, figures=None, slices=None, versus=None):
    """A row; `against` is (baseline, low, high) of recall@100, `versus` further metrics.

    `slices` is {(slice, value): (n, recall, (baseline, low, high) or None)}.
    """
    compared = {"recall@100": against, **(versus or {})}
    content = {
        "row": name,
        "kind": "model",
        "model": name,
        "variant": "default",
        "note": "",
        "n": n,
        "seeds": [1, 2],
        "figures": {"recall@100": stat(recall, recall)},
        "slices": {},
        "versus": {m: gap(*values) for m, values in compared.items() if values},
        "slice_versus": {},
    }
    content["figures"] |= {name: stat(value) for name, value in (figures or {}).items()}
    for (part, value), (count, mean, difference) in (slices or {}).items():
        cell = {"n": count, "figures": {"recall@100": stat(mean)}}
        content["slices"].setdefault(part, {})[value] = cell
        if difference:
            found = {"recall@100": gap(*difference)}
            content["slice_versus"].setdefault(part, {})[value] = found
    return content


def dataset(*rows, baseline="", **more):
    return {
        "users": 800,
        "items": 5000,
        "topics": 60,
        "train_examples": 90_000,
        "eval_examples": 1000,
        "eval_users": 500,
        "history_mean": 40.0,
        "history_median": 35.0,
        "follows_share": 0.8,
        "time_unit": "seconds",
        "seeds": [1, 2],
        "baseline": baseline,
        "floors": {},
        "rows": list(rows),
        **more,
    }


def experiment(name, **datasets):
    return {
        "schema": 1,
        "experiment": name,
        "title": name,
        "claims": ["H1"],
        "minutes": 5,
        "seconds": 300.0,
        "search_budget": "None.",
        "created": "2026-01-01T00:00:00Z",
        "code_digest": "c",
        "config_digest": "d",
        "machine": {"cpu": "toy", "cores": 2, "memory_gib": 8.0},
        "datasets": datasets,
    }
