"""`tessera paper`: the claims, judged by the published results."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

_SHOWN_LINES = 20


@click.command()
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("research/results"),
    show_default=True,
    help="Folder of published results.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("docs/paper.md"),
    show_default=True,
    help="Page to write.",
)
@click.option("--check", is_flag=True, help="Write nothing; fail when the page would change.")
def paper(results: Path, out: Path, check: bool) -> None:
    """Judge the paper's claims by the experiments' published results.

    With --check, exits with 1 when the page does not say what the results give.
    """
    from core.files import staged_file
    from research.paper.page import CLAIMS, render
    from research.paper.results import read_published

    text = render(read_published(results))
    if not check:
        with staged_file(out) as staging:
            staging.write_text(text, encoding="utf-8")
        click.echo(f"{out}: {len(CLAIMS)} claims judged by the results in {results}")
        return
    found = out.read_text(encoding="utf-8") if out.is_file() else ""
    if found == text:
        click.echo(f"{out} agrees with {results}")
        return
    lines = difflib.unified_diff(
        found.splitlines(), text.splitlines(), str(out), "what the results give", lineterm="", n=0
    )
    for _, line in zip(range(_SHOWN_LINES), lines, strict=False):
        click.echo(line)
    click.echo(f"{out} differs; run: tessera paper --results {results} --out {out}", err=True)
    raise click.exceptions.Exit(1)
