"""`tessera monitor`: what was served beside what was trained on."""

from __future__ import annotations

import datetime as dt
import json
import time
from pathlib import Path
from typing import Any

import click

from cli.location import FolderOrUrl

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H", "%Y-%m-%dT%H:%M:%S"])


@click.command()
@click.option(
    "--bundle",
    "bundle_path",
    required=True,
    type=FolderOrUrl(),
    help="The version that was served: its folder, a model's folder (newest version) or a serving "
    "folder; also a URL.",
)
@click.option(
    "--log",
    "log_folder",
    required=True,
    type=FolderOrUrl(),
    help="Folder or URL of a request log: of `tessera serve --log-requests`, or TFRecord files of "
    "TensorFlow Serving's PredictionLog.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for monitor.json and monitor.html.",
)
@click.option(
    "--engagements",
    type=_FILE,
    help="Table of what users did later, for recall; users are hashed with TESSERA_ID_KEY.",
)
@click.option(
    "--horizon-s",
    type=click.IntRange(0),
    default=86_400,
    show_default=True,
    help="An engagement counts this long after an answer, in the unit of the data's times.",
)
@click.option("--policy", type=_FILE, help="YAML file with bounds of figures.")
@click.option("--since", type=_MOMENT, help="First moment of the log, UTC.")
@click.option("--until", type=_MOMENT, help="Moment of the log before which it ends, UTC.")
@click.option(
    "--last-hours", type=click.IntRange(1), help="Hours up to now, instead of --since and --until."
)
@click.option(
    "--max-requests",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    help="Larger logs are sampled evenly.",
)
@click.option("--all-versions", is_flag=True, help="Also take what other versions answered.")
@click.option("--fail-on", type=click.Choice(["warn", "fail"]), default="fail", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print monitor.json on stdout.")
def monitor(
    bundle_path: Path | str,
    log_folder: Path | str,
    out: Path,
    engagements: Path | None,
    horizon_s: int,
    policy: Path | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
    last_hours: int | None,
    max_requests: int,
    all_versions: bool,
    fail_on: str,
    as_json: bool,
) -> None:
    """Compare what was served with what was trained on.

    Exit code 1: a figure is beyond its bounds; 2: the bundle, the log or the policy
    cannot be read.
    """
    from components.bundle import opened_bundle
    from components.user_ids import id_key
    from pipeline.monitor.collect import FIGURES, collect
    from pipeline.monitor.later import read_engagements
    from pipeline.monitor.page import write_page
    from pipeline.monitor.policy import VERDICTS, load_policy
    from serving.request_log.reader import LogWindow, local_log, read_log

    window = LogWindow(*_window(since, until, last_hours))
    bounds = load_policy(policy, FIGURES)
    key = id_key()
    with local_log(log_folder, window) as folder:
        log = read_log(folder, window, max_requests, key)
    with opened_bundle(bundle_path) as bundle:
        unit, escape = bundle.manifest.time_unit, _csv_escape(bundle.manifest.config)
        later = None
        if engagements is not None:
            later = read_engagements(engagements, unit != "order", key, escape)
        found = collect(bundle, log, bounds, later, horizon_s, all_versions)
    paths = write_page(found, out)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _show(found, paths[1])
    if VERDICTS.index(found["verdict"]) >= VERDICTS.index(fail_on):
        click.get_current_context().exit(1)


def _show(found: dict[str, Any], page: Path) -> None:
    click.echo(
        f"{found['name']} version {found['version']}: {found['figures']['requests']:,.0f} requests"
    )
    for check in found["checks"]:
        value = "-" if check["value"] is None else f"{check['value']:.4g}"
        click.echo(f"  {check['verdict']:<5}{check['figure']:<24}{value:>10}  ({check['bounds']})")
    for note in found["notes"]:
        click.echo(f"! {note}", err=True)
    click.echo(f"{found['verdict']}: {page}")


def _csv_escape(config: dict[str, Any]) -> Any:
    return (config.get("data") or {}).get("csv_escape")


def _window(
    since: dt.datetime | None, until: dt.datetime | None, last_hours: int | None
) -> tuple[float | None, float | None]:
    """Returns the window's ends in seconds since 1970."""
    if last_hours is None:
        return _seconds(since), _seconds(until)
    if since is not None or until is not None:
        raise click.UsageError("give --last-hours, or --since and --until")
    return time.time() - 3600 * last_hours, None


def _seconds(moment: dt.datetime | None) -> float | None:
    return None if moment is None else moment.replace(tzinfo=dt.timezone.utc).timestamp()
