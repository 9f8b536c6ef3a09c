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
        console.print()
        console.print(_interest_table(result, colours, console.width))
        console.print()
        console.print(_item_table(result, colours, console.width))
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


def _interest_table(result: Mapping[str, Any], colours: Mapping[int, str], width: int) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=14)
    table.add_column(justify="right", no_wrap=True, min_width=8)
    table.add_column(overflow="ellipsis", no_wrap=True, max_width=max(20, width - 28))
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


def _item_table(result: Mapping[str, Any], colours: Mapping[int, str], width: int) -> Table:
    """Returns the items; titles, topics and reasons share what the short columns leave."""
    items = result["items"]
    titled = any(item["title"] for item in items)
    longest = {
        "rank": len(str(len(items))),
        "item": min(24, max(len(item["item_id"]) for item in items)),
        "score": 6,
    }
    gaps = 2 * (5 + titled)
    left = max(30, width - sum(longest.values()) - gaps)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    short = {"no_wrap": True, "overflow": "ellipsis"}
    table.add_column("#", justify="right", width=longest["rank"])
    table.add_column("item", width=max(4, longest["item"]), **short)  # type: ignore[arg-type]
    if titled:
        table.add_column("title", max_width=left * 30 // 100, **short)  # type: ignore[arg-type]
    table.add_column("topics", max_width=left * 22 // 100, **short)  # type: ignore[arg-type]
    table.add_column("score", justify="right", width=longest["score"])
    reasons = left * (48 if titled else 78) // 100
    table.add_column("reason", max_width=reasons, **short)  # type: ignore[arg-type]
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
