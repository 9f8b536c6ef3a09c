"""How large the image's packages are, from the lock: `python -m deploy.image.size`.

Every distribution of the lock counts with the files that it installed here, less what the
Dockerfile trims. The base image is not counted.
"""

from __future__ import annotations

import csv
import importlib.metadata
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from deploy.image.trim import trimmed_by
from pipeline.doctor.packages import read_lock

ROOT = Path(__file__).resolve().parents[2]
#: Of packages and project together, uncompressed; raise it only with a reason in the commit.
BUDGET_MB = 2900
#: What the Dockerfile copies from the repository and keeps.
PROJECT = (
    *("core", "input_tables", "trainer", "components", "serving", "pipeline"),
    *("kubeflow_pipelines", "research", "cli", "tessera", "schemas"),
    *("conf", "requirements.txt"),
)
_SHOWN = 10
_NAME = "tessera-retrieval (this project)"


@dataclass
class Sizes:
    """What was counted.

    Attributes:
      kept: distribution -> bytes that stay.
      trimmed: rule -> bytes that the Dockerfile removes.
      wrong: distributions that are not installed as locked.
    """

    kept: Counter[str] = field(default_factory=Counter)
    trimmed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def installed_files(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, int]]:
    """Yields path and size of every file of a distribution, also outside of site-packages.

    Compiled modules that are listed but not there are left out; any other is an error.

    Raises:
      FileNotFoundError: a listed file is not there, or nothing is listed.
    """
    folder = str(distribution.locate_file(""))
    if (text := distribution.read_text("RECORD")) is not None:
        listed = [row[0] for row in csv.reader(text.splitlines()) if row]
    elif (text := distribution.read_text("installed-files.txt")) is not None:
        # Installed by setup.py: paths are relative to the metadata's folder.
        folder = str(distribution._path)  # type: ignore[attr-defined]
        listed = text.splitlines()
    else:
        raise FileNotFoundError(f"{distribution.metadata['Name']}: no list of its files")
    for name in listed:
        path = os.path.normpath(os.path.join(folder, name))
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            if not name.endswith(".pyc"):
                raise
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield path, status.st_size


def measure(lock: Path, prefix: Path) -> Sizes:
    """Adds up the distributions of a lock, and the project.

    Args:
      lock: with the exact version of every distribution.
      prefix: of the environment that they are installed in.
    """
    sizes = Sizes()
    # tfx and ml-pipelines-sdk install the same files.
    counted: set[str] = set()
    for name, version in read_lock(lock).items():
        try:
            distribution = importlib.metadata.distribution(name)
            if distribution.version != version:
                sizes.wrong.append(f"{name} is {distribution.version}, locked {version}")
            files = list(installed_files(distribution))
        except (importlib.metadata.PackageNotFoundError, FileNotFoundError) as error:
            sizes.wrong.append(f"{name} {version}: {error}")
            continue
        for path, size in files:
            if path in counted:
                continue
            counted.add(path)
            rule = trimmed_by(path.removeprefix(f"{prefix}/"))
            if rule is None:
                sizes.kept[name] += size
            else:
                sizes.trimmed[rule] += size
    sizes.kept[_NAME] = sum(path.lstat().st_size for path in project_files())
    return sizes


def project_files() -> Iterator[Path]:
    """Yields the files of the repository that the image keeps."""
    for name in PROJECT:
        place = ROOT / name
        for path in [place] if place.is_file() else place.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


@click.command()
@click.option(
    "--lock",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=ROOT / "requirements.txt",
    help="Lock file; default: the project's.",
)
def main(lock: Path) -> None:
    """Print the ten largest packages of the image and its size beside the budget.

    Exits with 1 above the budget, with 2 when the environment is not as locked.
    """
    sizes = measure(lock, Path(sys.prefix))
    if sizes.wrong:
        click.echo(f"not as locked, make setup first: {'; '.join(sizes.wrong)}", err=True)
        raise click.exceptions.Exit(2)
    for name, size in sizes.kept.most_common(_SHOWN):
        click.echo(f"{size / 1e6:9.1f} MB  {name}")
    rest = sizes.kept.total() - sum(size for _, size in sizes.kept.most_common(_SHOWN))
    click.echo(f"{rest / 1e6:9.1f} MB  {max(0, len(sizes.kept) - _SHOWN)} others")
    for rule, size in sizes.trimmed.most_common():
        click.echo(f"{-size / 1e6:9.1f} MB  trimmed: {rule}")
    total = sizes.kept.total() / 1e6
    click.echo(f"{total:9.1f} MB  in all, of {BUDGET_MB} MB")
    if total > BUDGET_MB:
        click.echo(
            f"{total - BUDGET_MB:.1f} MB above the budget: leave a package out of "
            "requirements.in, or raise BUDGET_MB in deploy/image/size.py with a reason",
            err=True,
        )
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main()
