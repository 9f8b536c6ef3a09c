"""What each step costs at several sizes: measures, fits the constants of `tessera plan`, compares.

    python -m benchmarks.scale                    # measure what is not in benchmarks/scale.json
    python -m benchmarks.scale --anew fit-1       # measure one case again
    python -m benchmarks.scale --report           # measure nothing: fit and print

Each case is generated data and a whole local run, every step in a process of its own
(`benchmarks/chain.py`). Cases of kind `fit` give the constants, those of kind `held` show how far
the forecast is off; all of them are the growth table. CPU seconds are fitted, not wall seconds:
another program on the machine changes them least.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks.chain import prepare, run_case
from benchmarks.fresh import ENVIRONMENT, ROOT
from pipeline.plan.laws import LAWS, SERVING, Size, forecast, terms
from pipeline.plan.plan import CONSTANTS_FILE

RECORD = ROOT / "benchmarks" / "scale.json"
#: Sizes; what is not said is as in `Size`, but for the lengths of training and evaluation.
SHORT = {"epochs": 1, "validated": 1000, "evaluated": 1000}
CASES: dict[str, dict[str, int]] = {
    # Next to nothing: what each step costs whatever the size.
    "fit-0": {"rows": 5_000, "items": 400, "users": 300},
    "fit-1": {"rows": 60_000, "items": 60_000, "users": 4_000},
    # What a row costs in Beam shows only where there are many.
    "fit-2": {"rows": 600_000, "items": 60_000, "users": 20_000, "data_only": 1},
    "fit-3": {"rows": 40_000, "items": 200_000, "users": 4_000},
    "fit-4": {"rows": 100_000, "items": 120_000, "users": 10_000, "history": 20, "interests": 2,
              "epochs": 2, "validated": 3_000, "evaluated": 3_000},
    "fit-5": {"rows": 200_000, "items": 60_000, "users": 2_500, "history": 100, "interests": 8,
              "batch": 1024},
    "held-1": {"rows": 200_000, "items": 80_000, "users": 8_000},
    "held-2": {"rows": 50_000, "items": 150_000, "users": 5_000, "history": 30, "interests": 6},
    "held-3": {"rows": 300_000, "items": 1_000_000, "users": 25_000},
}  # fmt: skip
#: How much terms are drawn to equal shares, beside the error of one run.
_EVEN = 0.01
#: Steps that cost less than this share of a run's CPU say little about a forecast.
_SHOWN_SHARE = 0.05


def measure(name: str) -> dict[str, Any]:
    """Runs a case in a folder that is removed; see `benchmarks/chain.py`."""
    case = {**SHORT, **CASES[name]}
    with tempfile.TemporaryDirectory(prefix="tessera-scale-") as folder:
        return run_case(case, Path(folder))


def read_record() -> dict[str, Any]:
    """Returns the measured runs by the names of their cases."""
    return dict(json.loads(RECORD.read_text())) if RECORD.exists() else {}


def size_of(run: dict[str, Any]) -> Size:
    """Returns the size of a measured run."""
    return Size(**{name: value for name, value in run["case"].items() if name != "data_only"})


def corrected(record: dict[str, Any]) -> dict[str, Any]:
    """Returns the runs with the CPU seconds that a machine of the middle probe would have taken.

    How many CPU seconds a piece of work takes depends on what else the cores' caches hold; the
    probe before and after each step tells by how much.
    """
    steps = [step for run in record.values() for step in run["steps"].values()]
    probes = [step["probe_s"] for step in steps if "probe_s" in step]
    middle = float(np.median(probes)) if probes else 1.0

    def step_of(figures: dict[str, float]) -> dict[str, float]:
        factor = middle / figures.get("probe_s", middle)
        return {f: v * factor if f.endswith("cpu_s") else v for f, v in figures.items()}

    return {
        name: {**run, "steps": {step: step_of(found) for step, found in run["steps"].items()}}
        for name, run in record.items()
    }


def fit(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns constants of every figure: least squares of the relative error, none negative.

    Terms that the runs cannot tell apart share what they cost together.
    """
    steps: dict[str, dict[str, dict[str, float]]] = {}
    for step, figures in LAWS.items():
        measured = [run for run in runs if step in run["steps"]]
        values = [terms(size_of(run)) for run in measured]
        steps[step] = {}
        for figure, names in figures.items():
            found = np.array([run["steps"][step][figure] for run in measured])
            matrix = np.array([[value[name] for name in names] for value in values])
            relative = matrix / np.maximum(found, 1e-9)[:, None]
            even = np.diag(_EVEN * relative.mean(axis=0))
            wanted = np.concatenate([(found > 0).astype(float), np.zeros(len(names))])
            constants, _ = nnls(np.concatenate([relative, even]), wanted)
            steps[step][figure] = {
                name: float(f"{value:.4g}") for name, value in zip(names, constants, strict=True)
            }
    imports = float(np.mean([run["import_cpu_s"] for run in runs]))
    return {"import_cpu_s": round(imports, 2), "steps": steps}


def growth(record: dict[str, Any]) -> str:
    """Returns the growth table: CPU seconds and peak gigabytes of each large step by case."""
    shown = [s for s in LAWS if s != SERVING and set(LAWS[s]["memory_gb"]) != {"fixed"}]
    lines = [
        "| case | items | rows | " + " | ".join(shown) + " | whole run | disk GB |",
        "|---|---:|---:|" + "---:|" * (len(shown) + 2),
    ]
    for name, run in sorted(record.items(), key=lambda entry: entry[1]["case"]["items"]):
        case, steps = run["case"], run["steps"]
        cells = [
            f"{steps[s]['cpu_s']:.0f} s, {steps[s]['memory_gb']:.1f} GB" if s in steps else ""
            for s in shown
        ]
        whole = f"{total(run, 'cpu_s'):.0f} s, {peak(run):.1f} GB"
        lines.append(
            f"| {name} | {case['items']:,} | {case['rows']:,} | "
            + " | ".join([*cells, whole, f"{total(run, 'disk_gb'):.2f}"])
            + " |"
        )
    return "\n".join(lines)


def total(run: dict[str, Any], figure: str) -> float:
    """Returns the sum of a figure over the steps of a run."""
    return float(sum(step.get(figure, 0.0) for step in run["steps"].values()))


def peak(run: dict[str, Any]) -> float:
    """Returns the largest peak of the steps of a run, gigabytes."""
    return float(max(step["memory_gb"] for step in run["steps"].values()))


def predicted(constants: dict[str, Any], size: Size) -> dict[str, Any]:
    """Returns a run as the laws have it, in the form of a measured one."""
    return {
        "steps": {
            step: {figure: forecast(constants["steps"], step, figure, size) for figure in figures}
            for step, figures in LAWS.items()
        }
    }


#: Figures of a whole run that a forecast is judged by.
_WHOLE = ("whole run, CPU s", "largest step, GB", "disk, GB")


def comparisons(
    record: dict[str, Any], constants: dict[str, Any]
) -> list[tuple[str, str, float, float]]:
    """Returns case, figure, what was measured and the forecast, for runs that were not fitted."""
    rows = []
    for name, run in record.items():
        if not name.startswith("held"):
            continue
        made = predicted(constants, size_of(run))
        whole = total(run, "cpu_s")
        pairs = [
            (whole, total(made, "cpu_s")),
            (peak(run), peak(made)),
            (total(run, "disk_gb"), total(made, "disk_gb")),
        ]
        rows += [(name, what, *pair) for what, pair in zip(_WHOLE, pairs, strict=True)]
        for step, found in run["steps"].items():
            if found.get("cpu_s", whole) < _SHOWN_SHARE * whole:
                continue
            for figure in ("cpu_s", "memory_gb", "request_cpu_s"):
                if figure in LAWS[step]:
                    pair = (found[figure], made["steps"][step][figure])
                    rows.append((name, f"{step}, {figure}", *pair))
    return rows


def errors(compared: list[tuple[str, str, float, float]]) -> str:
    """Returns the table of forecasts and what was measured."""
    lines = ["| case | figure | measured | forecast | error |", "|---|---|---:|---:|---:|"]
    lines += [
        f"| {name} | {what} | {was:.3g} | {made:.3g} | {made / was - 1:+.0%} |"
        for name, what, was, made in compared
    ]
    return "\n".join(lines)


def basis(record: dict[str, Any], compared: list[tuple[str, str, float, float]]) -> dict[str, Any]:
    """Returns what `tessera plan` says of its constants: how many runs, how large, how far off."""
    fitted = [run["case"] for name, run in record.items() if name.startswith("fit")]
    off = [abs(made / was - 1) for _, what, was, made in compared if what in _WHOLE]
    return {
        "runs": len(fitted),
        "largest_rows": max(case["rows"] for case in fitted),
        "largest_items": max(case["items"] for case in fitted),
        "worst_error": round(max(off), 3) if off else None,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--anew", nargs="+", choices=CASES, default=[], help="measure these again")
    parser.add_argument("--only", nargs="+", choices=CASES, help="measure of these what is missing")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    record = read_record()
    missing = [name for name in arguments.only or CASES if name not in record]
    wanted = [] if arguments.report else list(dict.fromkeys([*arguments.anew, *missing]))
    imported = prepare() if wanted else 0.0
    for name in wanted:
        print(f"{name}: load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
        found = {**measure(name), "import_cpu_s": imported}
        # Another call may have measured another case meanwhile.
        record = {**read_record(), name: found}
        record = {case: record[case] for case in CASES if case in record}
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
    record = corrected(record)
    constants = fit([run for name, run in record.items() if name.startswith("fit")])
    compared = comparisons(record, constants)
    constants["basis"] = basis(record, compared)
    (ROOT / CONSTANTS_FILE).write_text(json.dumps(constants, indent=1) + "\n")
    print(growth(record), errors(compared), sep="\n\n")


if __name__ == "__main__":
    main()
