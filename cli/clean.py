"""`tessera clean`: remove artifacts of old runs from a work folder."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

_MB = 1e6


@click.command()
@click.option("--work-dir", type=click.Path(path_type=Path), help="Work folder of runs.")
@click.option("--conf", type=click.Path(path_type=Path), help="Take it from this configuration.")
@click.option(
    "--keep-runs",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Keep the artifacts of so many of the newest runs.",
)
@click.option(
    "--keep-days",
    type=click.FloatRange(0),
    metavar="DAYS",
    help="Keep those of runs of the last DAYS days, too.",
)
@click.option("--yes", is_flag=True, help="Remove them; without it they are only listed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def clean(
    work_dir: Path | None,
    conf: Path | None,
    keep_runs: int,
    keep_days: float | None,
    yes: bool,
    as_json: bool,
) -> None:
    """List, and with --yes remove, artifacts of old runs.

    Always kept: what each component gave last (the next run's cache) and the artifacts of the
    newest run of each pipeline that blessed a model. Published versions, reports, logs and
    checkpoints are not touched.
    """
    from pipeline.clean import Kept
    from pipeline.clean import clean as remove_old

    folder = _folder(work_dir, conf)
    old = remove_old(folder, Kept(keep_runs, keep_days), int(time.time() * 1000), not yes)
    total = sum(one.bytes for one in old)
    if as_json:
        rows = [{"path": str(one.path), "bytes": one.bytes} for one in old]
        click.echo(json.dumps({"removed": yes, "bytes": total, "artifacts": rows}, indent=2))
        return
    for one in old:
        click.echo(f"{one.bytes / _MB:10.1f} MB  {one.path}")
    verb = "removed" if yes else "would be removed; do it with --yes"
    click.echo(f"{len(old)} artifacts, {total / _MB:.1f} MB {verb}" if old else "nothing is old")


def _folder(work_dir: Path | None, conf: Path | None) -> Path:
    if work_dir is not None:
        return work_dir
    if conf is None:
        raise click.UsageError("say where: --work-dir DIR or --conf FILE")
    from core.storage import expanded
    from pipeline.config import load_config

    return Path(expanded(load_config(conf).work_dir))
