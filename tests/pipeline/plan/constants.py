"""Constants of a plan that are easy to reckon with."""

import json

from pipeline.plan.laws import LAWS

BASIS = {"runs": 6, "largest_rows": 1000, "largest_items": 2000, "worst_error": 0.2}


def constants(value=0.001):
    """Every term of every law has the same constant."""
    steps = {
        step: {figure: dict.fromkeys(names, value) for figure, names in figures.items()}
        for step, figures in LAWS.items()
    }
    return {"import_cpu_s": 10.0, "basis": BASIS, "steps": steps}


def write_constants(path):
    path.write_text(json.dumps(constants()))
    return path
