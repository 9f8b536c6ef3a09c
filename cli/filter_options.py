"""Options that say which items a command may bring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
_OPTIONS = (
    click.option("--allow", metavar="A,B,C", help="Ids of the only items that may be brought."),
    click.option("--deny", metavar="A,B,C", help="Ids of items that are not brought."),
    click.option(
        "--filter",
        "conditions",
        multiple=True,
        metavar="COLUMN=VALUE",
        help="Items that fit: region=de, created_at>=1700000000; may be given several times "
        "(values of one column are alternatives).",
    ),
)


def filter_options(command: CommandT) -> CommandT:
    """Adds `--allow`, `--deny` and `--filter`, in this order (`serving.filters.make_filters`)."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def split_names(text: str | None) -> list[str]:
    """Returns the distinct names of a list that commas separate."""
    parts = [part.strip() for part in (text or "").split(",")]
    return list(dict.fromkeys(part for part in parts if part))
