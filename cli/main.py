"""The command line: `tessera`, also `python -m cli` and `python -m pipeline`."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module

import click

from core.errors import TesseraError
from pipeline import environment

#: section -> command -> (module, attribute, one-line help); modules load when they are called.
_SECTIONS = {
    "Run": {
        "init": ("cli.init", "init", "Write a commented configuration."),
        "plan": ("cli.plan", "plan", "Forecast time, memory, disk and pods of a size."),
        "run": ("cli.run", "run", "Run the whole pipeline on this machine."),
        "refresh": ("cli.refresh", "refresh", "New items for the served model, no training."),
        "recommend": ("cli.recommend", "recommend", "Ask a pushed bundle."),
        "candidates": ("cli.candidates", "candidates", "Items for every user, as Parquet."),
        "similar": ("cli.similar", "similar", "Neighbours of an item."),
        "doctor": ("cli.doctor", "doctor", "Tell what is wrong with this machine."),
        "completion": ("cli.completion", "completion", "Complete commands in your shell."),
    },
    "Data": {
        "data": ("cli.data", "data", "Generate, import and check input tables."),
        "forget": ("cli.forget", "forget", "Remove a user from artifacts, samples, candidates."),
        "clean": ("cli.clean", "clean", "Remove artifacts of old runs."),
        "schema": ("cli.schema", "schema", "Propose a schema from examples."),
    },
    "Serve": {
        "serve": ("cli.serve", "serve", "Serve a pushed model on this machine."),
        "route": ("cli.route", "route", "Answer from servers of an index's shards."),
        "versions": ("cli.versions", "versions", "List and pin pushed versions."),
        "promote": ("cli.promote", "promote", "Choose what is served, by labels."),
        "rollback": ("cli.rollback", "rollback", "Serve an earlier version."),
        "monitor": ("cli.monitor", "monitor", "Compare what was served with the training."),
        "sync": ("cli.sync", "sync", "Bring published versions to a model server."),
    },
    "Kubeflow": {
        "compile": ("cli.compile", "compile_command", "Compile the pipeline for Kubeflow."),
        "submit": ("cli.submit", "submit", "Start a run on Kubeflow Pipelines."),
        "schedule": ("cli.schedule", "schedule", "Run on Kubeflow every day."),
        "backfill": ("cli.backfill", "backfill", "Run the past days that are missing."),
        "runs": ("cli.runs", "runs", "List the pipeline's runs on Kubeflow."),
    },
    "Research": {
        "experiment": (
            "cli.experiment",
            "experiment",
            "Train and compare many models on equal data.",
        ),
        "tune": ("cli.tune", "tune", "Search settings, the same way for each model."),
        "paper": ("cli.paper", "paper", "Judge the paper by published results."),
    },
}
_COMMANDS = {name: entry for section in _SECTIONS.values() for name, entry in section.items()}


class _LazyGroup(click.Group):
    """Loads a command's module when it is used, so that `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(entry[0]), entry[1])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # One width for all sections, so that their texts stand in one column.
        width = max(map(len, _COMMANDS))
        for title, section in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), e[2]) for name, e in section.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tessera-retrieval", prog_name="tessera")
def tessera() -> None:
    """Multi-embedding retrieval for recommender systems, from tables to a pushed bundle."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 failed or not blessed, 2 wrong input."""
    environment.prepare()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        # Outside its standalone mode click returns the code of `ctx.exit` and `Exit`.
        code = tessera.main(args=arguments, prog_name="tessera", standalone_mode=False)
    except click.Abort:
        click.echo("stopped by the user", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except TesseraError as error:
        click.echo(f"tessera: {error}", err=True)
        if "-v" in arguments or "--verbose" in arguments:
            traceback.print_exc()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of a pipe (`| head`) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except OSError as error:
        click.echo(f"tessera: {error}", err=True)
        if "-v" in arguments or "--verbose" in arguments:
            traceback.print_exc()
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
