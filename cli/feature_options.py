"""The option that says features of a user or of an item."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

_NAME_AND_VALUE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.+", re.DOTALL)


def feature_option(owner: str) -> Callable[[Any], Any]:
    """Returns the option `--feature`, whose values come as `features`.

    Args:
      owner: `user` or `item`, for the help text.
    """
    return click.option(
        "--feature",
        "features",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_checked,
        help=f"What is known of the {owner}, of a model with features; may be given again.",
    )


def by_name(features: tuple[str, ...]) -> dict[str, list[str]]:
    """Returns the values of each feature."""
    found: dict[str, list[str]] = {}
    for text in features:
        name, _, value = text.partition("=")
        found.setdefault(name, []).append(value)
    return found


def _checked(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    for value in values:
        if not _NAME_AND_VALUE.fullmatch(value):
            raise click.BadParameter(f"{value!r}: expected NAME=VALUE, for example year=1999")
    return values
