"""`tessera compile`: the pipeline as a file for Kubeflow Pipelines."""

from __future__ import annotations

from pathlib import Path

import click

from core.errors import ConfigError
from core.files import staged_file
from kubeflow_pipelines.compile.document import dump, load
from pipeline.config import load_config


@click.command("compile")
@click.option("--conf", type=click.Path(path_type=Path), help="YAML configuration.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override one key, for example kubeflow.image=registry/tessera@sha256:...",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.")
@click.option(
    "--check", type=click.Path(path_type=Path), help="Check a compiled file instead of writing one."
)
@click.option("--rules", is_flag=True, help="List the rules that are checked, with their reasons.")
def compile_command(
    conf: Path | None,
    overrides: tuple[str, ...],
    output: Path | None,
    check: Path | None,
    rules: bool,
) -> None:
    """Compile the pipeline to a Kubeflow Pipelines v2 file, without a network.

    The same configuration and code give the same bytes. The file is checked against what
    the open-source backend enforces before it is written.
    """
    if rules:
        from kubeflow_pipelines.compile.lint import RULES

        click.echo("\n".join(f"{rule.name:16} {rule.reason}" for rule in RULES))
        return
    if check is not None:
        _check(check)
        return
    if conf is None or output is None:
        raise click.UsageError("say what to compile and where to: --conf FILE -o FILE")
    config = load_config(conf, overrides)
    # TFX takes seconds to import: only once the configuration is known to be good.
    from kubeflow_pipelines.compile.compiler import compile_pipeline

    text = dump(compile_pipeline(config))
    with staged_file(output) as staging:
        staging.write_text(text, encoding="utf-8")
    documents = load(output)
    tasks = len(documents[0]["deploymentSpec"]["executors"])
    click.echo(f"{output}: {tasks} tasks, {len(text):,} bytes, image {config.kubeflow.image}")


def _check(path: Path) -> None:
    from kubeflow_pipelines.compile.lint import lint

    problems = lint(load(path))
    if problems:
        raise ConfigError(f"{path}: {len(problems)} problem(s):\n  " + "\n  ".join(problems))
    click.echo(f"{path}: keeps every rule")
