"""`tessera refresh`: a new items table for the published model, without training."""

from __future__ import annotations

import gc
import json
from dataclasses import asdict
from pathlib import Path

import click

from core.errors import ConfigError


@click.command()
@click.option(
    "--conf",
    required=True,
    type=click.Path(path_type=Path),
    help="YAML configuration with `pipeline: refresh`.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key, for example data.run_date=2026-11-28; may be given again.",
)
@click.option(
    "--delta",
    is_flag=True,
    help="Publish what changed beside the index that is served; without it a new "
    "index is built, as `tessera run` does.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@click.option("-v", "--verbose", is_flag=True, help="Show the full log on the terminal.")
@click.pass_context
def refresh(
    ctx: click.Context,
    conf: Path,
    overrides: tuple[str, ...],
    delta: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Publish a new items table for the served model, without training."""
    from pipeline.config import load_config

    config = load_config(conf, overrides)
    if config.pipeline != "refresh":
        raise ConfigError(f"{conf}: says `pipeline: {config.pipeline}`; a refresh needs `refresh`")
    if not delta:
        from cli.run import run

        ctx.invoke(run, conf=conf, overrides=overrides, as_json=as_json, verbose=verbose)
        return
    from pipeline.refresh.delta import refresh_delta

    result = refresh_delta(config)
    if as_json:
        click.echo(json.dumps(asdict(result) | {"delta": result.delta.model_dump()}, default=str))
    else:
        found, seconds = result.delta, result.seconds["published"]
        click.echo(
            f"items   {found.added:,} new, {found.changed:,} changed, {found.withdrawn:,} gone, "
            f"beside the index of version {found.base_version}; {seconds:.1f} s"
        )
        click.echo(f"bundle  {result.push.destination}" if result.push.pushed else "not pushed")
        click.echo(f"        {result.push.reason}")
    gc.freeze()  # the process ends: to look for garbage among TensorFlow's objects takes a second
    raise click.exceptions.Exit(0 if result.push.pushed else 1)
