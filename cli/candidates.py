"""`tessera candidates`: items for every user of the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.location import FolderOrUrl
from core.errors import DataError

if TYPE_CHECKING:
    from components.bundle import Manifest
    from components.candidates.generate import CandidateRequest
    from input_tables.config import DataConfig

_IN_MEMORY = ("--runner=FnApiRunner", "--sdk_container_image=none")


@click.command()
@click.option(
    "--bundle",
    "bundle_path",
    required=True,
    type=FolderOrUrl(),
    help="A version's folder, a model's folder (newest version) or a serving folder; also a URL.",
)
@click.option(
    "--users",
    default="all",
    show_default=True,
    help="`all`, or a Parquet or CSV file with a column user_id.",
)
@click.option("--out", required=True, help="Folder or URL; the day is written below it.")
@click.option("--data", "data_root", type=FolderOrUrl(), help="Folder or URL of the tables.")
@click.option(
    "--run-date", metavar="YYYY-MM-DD", help="Last day of tables in spans; the bundle's without it."
)
@click.option("-n", "count", type=click.IntRange(1), default=100, show_default=True, help="Items.")
@click.option("--now", type=int, help="Moment of the requests; right after the newest event.")
@click.option("--day", metavar="YYYY-MM-DD", help="Day of the partition; the moment's.")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option("--beam-arg", "beam_args", multiple=True, help="Argument of Beam; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON on stdout.")
def candidates(
    bundle_path: Path | str,
    users: str,
    out: str,
    data_root: Path | str | None,
    run_date: str | None,
    count: int,
    now: int | None,
    day: str | None,
    batch_size: int,
    beam_args: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the items that a bundle recommends to every user.

    They go to OUT/day=YYYY-MM-DD/part-*.parquet with a manifest, in one step. A
    run that was killed is taken up where it stopped by the same command.
    """
    from components.bundle import opened_bundle
    from components.candidates.config import CandidatesConfig
    from components.candidates.generate import write_candidates
    from input_tables.remote import local_tables
    from serving.recommend.lookup import data_config

    config = CandidatesConfig(num_results=count, batch_size=batch_size, out=out)
    with opened_bundle(bundle_path) as bundle:
        place = data_config(bundle.manifest, data_root)
        if run_date is not None:
            place = type(place).model_validate({**place.model_dump(), "run_date": run_date})
        with local_tables(place, wanted=bundle.manifest.features.columns()) as tables:
            asked = _asked(bundle.manifest, tables, users, now, day)
            manifest = write_candidates(bundle, asked, config, lambda: _pipeline(beam_args))
    if as_json:
        click.echo(json.dumps(manifest, indent=2))
        return
    click.echo(
        f"{manifest['users']:,} users, {manifest['rows']:,} rows of {manifest['name']} version "
        f"{manifest['version']}: {out}/day={manifest['day']}"
    )


def _asked(
    manifest: Manifest, tables: DataConfig, users: str, now: int | None, day: str | None
) -> CandidateRequest:
    from components.candidates.generate import CandidateRequest
    from input_tables.layout import find_tables
    from serving.recommend.lookup import follows_limit, time_unit

    return CandidateRequest(
        tables=find_tables(tables, manifest.features.columns()),
        time_unit=time_unit(manifest),
        follows_max=follows_limit(manifest),
        now=now,
        day=day or "",
        only=None if users == "all" else _listed(Path(users)),
    )


def _listed(path: Path) -> frozenset[bytes]:
    """Returns the ids of the column user_id.

    Raises:
      DataError: there is no such file or column.
    """
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            column = pq.read_table(path, columns=["user_id"])["user_id"]
        else:
            types = csv.ConvertOptions(
                column_types={"user_id": pa.string()}, include_columns=["user_id"]
            )
            column = csv.read_csv(path, convert_options=types)["user_id"]
        return frozenset(column.cast(pa.binary()).drop_null().to_pylist())
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: no list of users: {error}; give a Parquet or CSV file with a column user_id"
        ) from error


def _pipeline(arguments: tuple[str, ...]) -> object:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    return beam.Pipeline(options=PipelineOptions(list(arguments or _IN_MEMORY)))
