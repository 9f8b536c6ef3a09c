"""`tessera doctor`: what is wrong with this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from pipeline.doctor import machine, packages
from pipeline.doctor.check import Check

_COLOURS = {"ok": "green", "WRONG": "red", "skipped": "yellow"}


@click.command()
@click.option("--work-dir", type=click.Path(path_type=Path), default=Path("runs"), help="To check.")
@click.option("--lock", type=click.Path(path_type=Path), help="Lock file; default: the project's.")
@click.option("--no-imports", is_flag=True, help="Leave out the slow checks that import packages.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def doctor(work_dir: Path, lock: Path | None, no_imports: bool, as_json: bool) -> None:
    """Check interpreter, platform, packages, processor, memory and disk.

    One line per check, with the mend where something is wrong. Exits with 1 then.
    """
    checks = []
    for check in run_checks(work_dir, lock or packages.find_lock(), not no_imports):
        checks.append(check)
        if not as_json:
            _print(check)
    wrong = [check for check in checks if check.status == "WRONG"]
    if as_json:
        document = {"healthy": not wrong, "checks": [check._asdict() for check in checks]}
        click.echo(json.dumps(document, indent=2))
    raise click.exceptions.Exit(1 if wrong else 0)


def run_checks(work_dir: Path, lock: Path | None, with_imports: bool) -> Iterator[Check]:
    """Yields every check, quick ones first.

    Args:
      work_dir: where runs would be written; need not exist.
      lock: the lock file, None when there is none.
      with_imports: import the big packages, which takes half a minute.
    """
    yield machine.python()
    yield machine.system()
    yield machine.processor()
    yield machine.memory()
    yield machine.disk(work_dir)
    yield machine.writable(work_dir)
    yield machine.keras()
    yield packages.lock(lock)
    if with_imports:
        yield from packages.imports()


def _print(check: Check) -> None:
    status = click.style(f"{check.status:<8}", fg=_COLOURS[check.status], bold=True)
    mend = f" -> {check.mend}" if check.mend else ""
    click.echo(f"{status}{check.name:<32}{check.found}{mend}")
