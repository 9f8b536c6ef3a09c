"""Runs an experiment: data, trainings, one table."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from core.digest import json_digest
from core.files import read_json, staged_file, write_json
from core.lock import make_folder, run_lock
from core.progress import set_reporter
from pipeline.local.console import RichReporter
from research.child import stop_on_sigterm
from research.experiment.asking import read_examples, read_items
from research.experiment.config import ExperimentConfig
from research.experiment.digests import asking_code, training_code
from research.experiment.jobs import RUN_FILE, DatasetRuns, Job, plan
from research.experiment.prepare import Prepared, find_prepared, prepare
from research.experiment.process import run_worker

RESULTS_FILE = "results.json"


@dataclass(frozen=True)
class Planned:
    """A job of a dry run.

    Attributes:
      dataset: name of the data set.
      model: name of the model.
      seed: of the training.
      state: `cached`, `trained` (only to be asked), `to do`, or `data not ready`.
      minutes: what it took, or is expected to take; None when nothing is known.
    """

    dataset: str
    model: str
    seed: int
    state: str
    minutes: float | None


def run_experiment(
    config: ExperimentConfig, *, publish: Path | None = None, verbose: bool = False
) -> tuple[dict[str, Any], Path]:
    """Runs what is not cached and writes the results.

    Args:
      config: the experiment, or the part of it that is wanted.
      publish: folder that gets a copy of the results as `<name>.json`, or None.
      verbose: show all log records of the data's preparation.

    Returns:
      The results and the folder that holds `results.json`, `report.md`, `report.html`.

    Raises:
      ConfigError: the work folder cannot be written.
      StoppedError: the user stopped it.
      TesseraError: the data or a training failed; what is finished is kept.
    """
    started = time.monotonic()
    out_dir = Path(config.work_dir) / config.name
    make_folder(out_dir, Path(config.work_dir))
    console = Console(stderr=True, soft_wrap=True)
    with run_lock(Path(config.work_dir)), stop_on_sigterm():
        if config.kind == "cost":
            results = _run_cost(config, out_dir, console)
        else:
            results = _run_models(config, console, verbose, started)
        _write(results, out_dir)
        if publish is not None:
            _publish(results, publish / f"{config.name}.json")
    return results, out_dir


def dry_run(config: ExperimentConfig) -> list[Planned]:
    """Lists the jobs of an experiment, runs and writes nothing.

    What a job will take is guessed from the cached runs of the same model on the same
    data set, else of the same data set.
    """
    planned: list[Planned] = []
    for dataset in config.datasets:
        prepared = _prepared_or_none(config, dataset)
        if prepared is None:
            pairs = [(m, s) for s in config.seeds_of(dataset) for m in config.models_of(dataset)]
            planned += [Planned(dataset, m, s, "data not ready", None) for m, s in pairs]
            continue
        jobs = list(plan(config, dataset, prepared))
        took = {(j.model, j.seed): _minutes(j) for j in jobs if j.finished}
        for job in jobs:
            own = [v for (model, _), v in took.items() if model == job.model] or [*took.values()]
            guess = took.get((job.model, job.seed), sum(own) / len(own) if own else None)
            planned.append(Planned(dataset, job.model, job.seed, _state(job), guess))
    return planned


def _prepared_or_none(config: ExperimentConfig, dataset: str) -> Prepared | None:
    root = Path(config.data_config(dataset).data.root)
    if config.datasets[dataset].generate is not None and not root.exists():
        return None
    return find_prepared(config, dataset)


def _state(job: Job) -> str:
    if job.finished:
        return "cached"
    record = Path(job.training_dir) / "training.json"
    return "trained" if record.is_file() and read_json(record)["done"] else "to do"


def _minutes(job: Job) -> float:
    return float(read_json(job.folder / RUN_FILE)["seconds"]) / 60


def _run_models(
    config: ExperimentConfig, console: Console, verbose: bool, started: float
) -> dict[str, Any]:
    jobs: list[Job] = []
    data: dict[str, Prepared] = {}
    for dataset in config.datasets:
        console.print(f"[bold]{dataset}[/]: tables, examples, transform graph", highlight=False)
        data[dataset] = prepare(config, dataset, verbose=verbose)
        jobs.extend(plan(config, dataset, data[dataset]))
    cached_seconds = _run_jobs(jobs, console)
    console.print("measuring", style="dim")
    # NumPy and pandas alone until here: the rest is imported when there is something to measure.
    from research.experiment.rows import build_results

    runs = [_dataset_runs(config, name, data[name], jobs) for name in config.datasets]
    return build_results(
        config,
        runs,
        seconds=cached_seconds + time.monotonic() - started,
        code_digest=json_digest([training_code(), asking_code()]),
        config_digest=config_digest(config),
        machine=machine(),
    )


def _run_jobs(jobs: list[Job], console: Console) -> float:
    """Runs the jobs that are not finished; returns the seconds that the finished ones took."""
    cached = 0.0
    reporter = RichReporter(console)
    set_reporter(reporter)
    try:
        for number, job in enumerate(jobs, 1):
            place = f"[dim]{number:>3}/{len(jobs)}[/]"
            if job.finished:
                cached += float(read_json(job.folder / RUN_FILE)["seconds"])
                console.print(f"{place} [green]✓[/] {job.words}  [dim]cached[/]", highlight=False)
                continue
            run_worker(job)
            console.print(f"{place} [green]✓[/] {job.words}  {_summary(job)}", highlight=False)
    finally:
        set_reporter(None)
    return cached


def _summary(job: Job) -> str:
    run = read_json(job.folder / RUN_FILE)
    figures = run["figures"]
    validation = next((n for n in figures if n.startswith("val_")), "")
    return (
        f"{run['seconds']:.0f} s  [dim]{validation} {figures.get(validation, 0.0):.4f} in epoch "
        f"{figures['best_epoch']:.0f}, {figures['examples_per_s']:,.0f} examples/s, "
        f"{figures['peak_mb']:,.0f} MB[/]"
    )


def _dataset_runs(
    config: ExperimentConfig, name: str, prepared: Prepared, jobs: list[Job]
) -> DatasetRuns:
    run = config.data_config(name)
    items = read_items(prepared.examples)
    return DatasetRuns(
        name=name,
        dataset=config.datasets[name],
        run=run,
        examples_uri=prepared.examples,
        items=items,
        examples=read_examples(
            prepared.examples, items, config.max_examples(name), run.evaluator.seed
        ),
        runs={(job.model, job.seed): job.folder for job in jobs if job.dataset == name},
    )


def _run_cost(config: ExperimentConfig, out_dir: Path, console: Console) -> dict[str, Any]:
    from research.experiment.cost import run_cost
    from research.experiment.rows import build_results

    reporter = RichReporter(console)
    set_reporter(reporter)
    try:
        measured = run_cost(config, out_dir)
    finally:
        set_reporter(None)
    return build_results(
        config,
        [],
        seconds=measured["seconds"],
        points=measured["points"],
        code_digest=json_digest([training_code(), asking_code()]),
        config_digest=config_digest(config),
        machine=machine(),
    )


def _write(results: dict[str, Any], out_dir: Path) -> None:
    from research.experiment.report import write_report

    write_json(out_dir / RESULTS_FILE, results)
    write_report(results, out_dir)


def _publish(results: dict[str, Any], target: Path) -> None:
    """Writes results to be kept beside the code: rounded, one line per row."""
    lines = json.dumps(_rounded(results), separators=(",", ":")).replace('{"row":', '\n{"row":')
    with staged_file(target) as staging:
        staging.write_text(lines + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 6) if isinstance(value, float) else value


def config_digest(config: ExperimentConfig) -> str:
    """Returns a digest of what an experiment compares, wherever its files and folders are."""
    dumped = config.model_dump(mode="json", exclude={"work_dir"})
    for entry in dumped["datasets"].values():
        entry["conf"] = Path(entry["conf"]).name
    return json_digest(dumped)


def machine() -> dict[str, Any]:
    """Returns processor, cores that this process may use, and memory."""
    cpu = "unknown"
    path = Path("/proc/cpuinfo")
    if path.is_file():
        lines = [x for x in path.read_text().splitlines() if x.startswith("model name")]
        cpu = lines[0].partition(":")[2].strip() if lines else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory, 1)}
