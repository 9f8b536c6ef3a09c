"""`tessera similar`: the neighbours of an item."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cli.feature_options import by_name, feature_option
from cli.filter_options import filter_options, split_names
from cli.location import FolderOrUrl


@click.command()
@click.option(
    "--bundle",
    "bundle_path",
    required=True,
    type=FolderOrUrl(),
    help="A version's, a model's or a serving folder; a URL of one; or "
    "http://host:port/v1/models/NAME.",
)
@click.option("--item", required=True, help="Id of the item.")
@click.option(
    "--topics", metavar="A,B", default="", help="Describe an item that the catalogue does not hold."
)
@feature_option("item")
@click.option("-n", "count", type=click.IntRange(1), default=20, show_default=True, help="Items.")
@filter_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def similar(
    bundle_path: Path | str,
    item: str,
    topics: str,
    features: tuple[str, ...],
    count: int,
    allow: str | None,
    deny: str | None,
    conditions: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print the nearest items of one item, best first."""
    from serving.filters import make_filters

    allowed = None if allow is None else split_names(allow)
    make_filters(allowed, split_names(deny), conditions)  # refused before TensorFlow is imported
    import tessera

    described = split_names(topics)
    with tessera.load(bundle_path) as model:
        found = model.similar(
            {item: described},
            count,
            features={item: by_name(features)} if features else None,
            allow=allowed,
            deny=split_names(deny),
            filters=conditions,
        ).to_list()
    known = bool(found and found[0]["known"])
    if as_json:
        items = [{key: each[key] for key in ("rank", "item_id", "score")} for each in found]
        answer = {"item_id": item, "topics": described, "known": known, "items": items}
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    if not known:
        known_of = [word for word, given in (("topics", topics), ("features", features)) if given]
        means = f"its {' and '.join(known_of)}" if known_of else "nothing (give --topics)"
        click.echo(f"! {item!r} is not in the catalogue: described by {means}", err=True)
    width = max((len(each["item_id"]) for each in found), default=0)
    for each in found:
        click.echo(f"{each['rank']:>4}  {each['item_id']:<{width}}  {each['score']:.3f}")
