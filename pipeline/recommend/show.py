"""Prints recommendations for a person."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "bright_red", "bright_cyan", "white")
_HISTORY_SHOWN = 5


def show(result: Mapping[str, Any], console: Console) -> None:
    """Prints who asked, the interests that answered, and the items with their reasons."""
    colours = {
        interest["slot"]: _COLOURS[place % len(_COLOURS)]
        for place, interest in enumerate(result["interests"])
    }
    _head(result, console)
    if result["items"]:
        console.print(_interest_table(result, colours))
        console.print(_item_table(result, colours))
    else:
        console.print("nothing to recommend")
    for note in result["notes"]:
        console.print(f"[yellow]![/] {escape(note)}", highlight=False)


def _head(result: Mapping[str, Any], console: Console) -> None:
    bundle = result["bundle"]
    who = f"user [bold]{escape(result['user'])}[/]" if result["user"] else "the given history"
    when = ""
    if result["time_unit"] == "seconds":
        moment = dt.datetime.fromtimestamp(result["now"], dt.timezone.utc)
        when = f", as of {moment:%Y-%m-%d %H:%M} UTC"
    console.print(
        f"{escape(bundle['name'])} version {bundle['version']} for {who}{when}", highlight=False
    )
    history = result["history"]
    if history:
        shown = ", ".join(e["title"] or e["item_id"] for e in history[:_HISTORY_SHOWN])
        more = f" and {len(history) - _HISTORY_SHOWN} more" if len(history) > _HISTORY_SHOWN else ""
        console.print(f"[dim]history, newest first:[/] {escape(shown)}{more}", highlight=False)
    if result["follows"]:
        console.print(f"[dim]follows:[/] {escape(', '.join(result['follows']))}", highlight=False)


def _interest_table(result: Mapping[str, Any], colours: Mapping[int, str]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    for interest in result["interests"]:
        explicit = interest["kind"] == "explicit"
        label = "followed" if explicit else f"interest {interest['share']:.0%}"
        plural = "s" if interest["items"] != 1 else ""
        table.add_row(
            f"[{colours[interest['slot']]}]●[/] {label}",
            f"{interest['items']} item{plural}",
            escape(interest["reason"]),
        )
    return table


def _item_table(result: Mapping[str, Any], colours: Mapping[int, str]) -> Table:
    items = result["items"]
    titled = any(item["title"] for item in items)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("item", no_wrap=True)
    if titled:
        table.add_column("title", overflow="ellipsis", no_wrap=True, max_width=34)
    table.add_column("topics", overflow="ellipsis", no_wrap=True, max_width=28)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("reason", overflow="ellipsis", no_wrap=True, ratio=1)
    for item in items:
        table.add_row(
            str(item["rank"]),
            escape(item["item_id"]),
            *([escape(item["title"] or "")] if titled else []),
            escape(", ".join(item["topics"])),
            f"{item['score']:.3f}",
            f"[{colours[item['slot']]}]●[/] {escape(item['reason'])}",
        )
    return table
