"""`tessera schema`: propose a schema from examples."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def schema() -> None:
    """Propose a schema from examples; production runs import a curated one (schemas/)."""


@schema.command()
@click.option(
    "--examples",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with Split-train/, as RetrievalExampleGen wrote it.",
)
@click.option("--split", default="train", show_default=True, help="Split to look at.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File to write.")
def propose(examples: Path, split: str, out: Path) -> None:
    r"""Write what the data itself suggests, to be read and edited by a person.

    A proposal holds whatever the sample held: compare it with schemas/examples.pbtxt
    before a run imports it (schema_dir in the configuration).

    \b
    tessera schema propose --examples EXAMPLES --out proposed.pbtxt
    """
    from components.data_gate.proposal import propose_schema
    from core.files import staged_file

    text = propose_schema(str(examples), split)
    with staged_file(out) as staging:
        staging.write_text(text, encoding="utf-8")
    click.echo(f"{out}: proposed from {examples}; read it before you use it", err=True)
