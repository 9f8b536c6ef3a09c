"""The cost experiment: step time, memory and serving time along one axis at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.digest import code_digest, json_digest
from core.errors import TrainingError
from core.files import read_json, write_json
from core.progress import track
from pipeline.config import validate_tree
from research.child import Child
from research.experiment.cost_config import CostConfig, CostPoint

if TYPE_CHECKING:
    from research.experiment.config import ExperimentConfig

#: Columns of a row after `model`, `axis` and `value`.
FIGURES = (
    "step_ms",
    "examples_per_s",
    "peak_mb",
    "embed_user_p50_ms",
    "embed_user_p99_ms",
    "retrieve_p50_ms",
)
#: Code that decides what is measured.
_CODE = (
    "core",
    "trainer",
    "research/experiment/cost_worker.py",
    "research/experiment/timing.py",
)
_ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONWARNINGS": "ignore",
    "CUDA_VISIBLE_DEVICES": "",
}


def cost_config(config: ExperimentConfig) -> CostConfig:
    """Returns the checked `cost` section of an experiment.

    Raises:
      ConfigError: a key or value of it is wrong.
    """
    return validate_tree(CostConfig, config.cost or {}, f"{config.name}: cost")


def run_cost(config: ExperimentConfig, out_dir: str | Path) -> dict[str, Any]:
    """Measures every point that is not measured yet.

    A finished point stays in `<out_dir>/points`, so the same command goes on after a kill
    and measures nothing twice while the code and the settings stay the same.

    Args:
      config: an experiment of kind `cost`.
      out_dir: folder of the experiment.

    Returns:
      The part of the results that is measured: `points`, one row per model, axis and
      value, and `seconds`, what the points took when they were measured.

    Raises:
      ConfigError: the `cost` section is wrong.
      TrainingError: a point could not be measured.
    """
    cost = cost_config(config)
    folder = Path(out_dir) / "points"
    code = code_digest(_CODE)
    rows, seconds, measured = cost.rows(), 0.0, set()
    with track("measuring points", len(rows)) as bar:
        points = []
        for model, axis, point in rows:
            name = json_digest({**_job(model, point, cost), "code": code})
            figures = _figures(folder / f"{name}.json", model, point, cost)
            value = getattr(point, axis)
            points.append(
                {"model": model, "axis": axis, "value": value}
                | {figure: figures[figure] for figure in FIGURES}
            )
            # Axes share the base point: it took its time once.
            seconds += 0.0 if name in measured else figures["seconds"]
            measured.add(name)
            bar.advance(model=model, **{axis: value})
    return {"points": points, "seconds": round(seconds, 1)}


def _job(model: str, point: CostPoint, cost: CostConfig) -> dict[str, Any]:
    """What the worker is asked; its digest names the point."""
    how = cost.model_dump(mode="json", exclude={"models", "base", "axes", "axes_of"})
    return {"model": model, "point": point.model_dump(mode="json"), "config": how}


def _figures(path: Path, model: str, point: CostPoint, cost: CostConfig) -> dict[str, float]:
    """Returns the figures of one point, measured in a new process unless they are there.

    Raises:
      TrainingError: the process failed.
    """
    if path.is_file():
        found: dict[str, float] = read_json(path)
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tessera-cost-") as scratch:
        asked = Path(scratch) / "point.json"
        write_json(asked, _job(model, point, cost))
        worker = Child(
            "-m",
            "research.experiment.cost_worker",
            str(asked),
            str(path),
            log=Path(scratch) / "log",
            environment=_ENVIRONMENT,
        )
        with worker:
            code = worker.wait()
        if code or not path.is_file():
            raise TrainingError(_failure(model, point, code, worker))
    measured: dict[str, float] = read_json(path)
    return measured


def _failure(model: str, point: CostPoint, code: int, worker: Child) -> str:
    """Says which point failed, how, and what to do about it."""
    sizes = ", ".join(f"{key} {value:,}" for key, value in point.model_dump().items())
    if code == -9:
        what = "was killed, most likely for want of memory"
    else:
        last = worker.last_lines(1) or ["no message"]
        what = f"ended with code {code}: {last[0].removeprefix('tessera: ')}"
    return (
        f"cost: the measurement of {model} ({sizes}) {what}; take the value out of cost.axes "
        "with --set, for example cost.axes.items=[10000,100000], or run the command again: "
        "points that are measured stay"
    )
