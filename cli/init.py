"""`tessera init`: a commented configuration to start from."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from core.errors import ConfigError
from core.files import staged_file
from pipeline.config import load_config

_NAME = "tessera.yaml"
_TEMPLATE = """\
# A run of Tessera; relative paths start where the command is started.
name: tessera  # name of the served model
work_dir: {work_dir}  # artifacts, cache, logs and report.html
serving_dir: {serving_dir}  # pushed versions, <serving_dir>/<name>/<version>

data:
  root: {root}  # holds engagements, items and follows: CSV, CSV.gz or Parquet

examples:
  # The last days are held out: first those of validation, then those of eval; of a long log as
  # many more as make a twentieth of it each.
  split: {{strategy: time, eval_days: 3, validation_days: 2, min_share: 0.05}}
  # Shell patterns of actions that never make a target, for example ["hide", "dislike*"]; one that
  # matches no action of the log is an error.
  negative_actions: []

model:
  name: dcm_cr  # interests from the history (dcm) and from followed topics (cr)
  item_min_targets: 3  # items of fewer training targets are known by topics and features alone

retrieval:
  # Items that users of the history's items engaged with as well, a source beside the interests; its
  # weight is chosen on validation examples, and it is left out where it does not pay.
  neighbours: ease

trainer:
  epochs: 12  # at most; early stopping may end before
  # What validation chose is trained again, for as many epochs as were best, on validation examples
  # too: the newest there are. It takes as long again.
  refit: true
"""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the three tables.  [default: DIR/data]",
)
def init(folder: Path, data: Path | None) -> None:
    """Write a commented configuration, DIR/tessera.yaml, and say what to run next."""
    path = folder / _NAME
    if path.exists():
        raise ConfigError(f"{path} exists already: name another folder, or remove the file")
    root = data or folder / "data"
    values = {
        "work_dir": folder / "runs",
        "serving_dir": folder / "runs" / "serving",
        "root": root,
    }
    # A JSON string is a YAML string, whatever stands in the path.
    text = _TEMPLATE.format(**{key: json.dumps(str(value)) for key, value in values.items()})
    with staged_file(path) as staging:
        staging.write_text(text, encoding="utf-8")
        load_config(staging)
    click.echo(f"{path} is written. Next:")
    if not root.exists():
        click.echo(f"  tessera data generate --out {shlex.quote(str(root))}   # or your own tables")
    click.echo(f"  tessera run --conf {shlex.quote(str(path))} --dry-run")
