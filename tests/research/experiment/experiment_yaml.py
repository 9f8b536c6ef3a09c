"""A small experiment written to a folder."""

import yaml

RUN = {
    "name": "tiny",
    "examples": {
        "split": {"strategy": "time", "eval_days": 3, "validation_days": 2},
        "negative_actions": ["hide"],
    },
    "transform": {"history_max_items": 20},
    "model": {"embedding_dim": 8, "hidden_units": [16], "num_interests": 3},
    "trainer": {
        "epochs": 2, "batch_size": 128, "uniform_negatives": 64, "early_stopping_patience": 1,
    },
    "gate": {"min_eval_examples": 5},
}  # fmt: skip

EXPERIMENT = {
    "name": "tiny-exp",
    "seeds": [1, 2],
    "baseline": "two_tower",
    "datasets": {"generated": {"conf": "run.yaml", "max_examples": 300}},
    "models": {
        "two_tower": {"set": {"model": {"name": "two_tower"}}, "variants": ["foreign"]},
        "dcm": {"set": {"model": {"name": "dcm"}}, "variants": ["score"]},
    },
    "variants": {
        "score": {"retrieval": {"merge": "score"}},
        "foreign": {"items_of_seed": "other"},
    },
    "unions": {"both": {"parts": ["dcm", "two_tower"], "shares": [0.8, 0.2]}},
}


def merged(base, top):
    """Merges nested dicts; None removes a key."""
    result = dict(base)
    for key, value in top.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def write_experiment(folder, run=None, **changes):
    """Writes `run.yaml` and `experiment.yaml`; returns the latter's path."""
    places = {
        "work_dir": str(folder / "work"),
        "serving_dir": str(folder / "serving"),
        "data": {"root": str(folder / "tables")},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(merged({**RUN, **places}, run or {})))
    tree = merged({**EXPERIMENT, "work_dir": str(folder / "experiments")}, changes)
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path
