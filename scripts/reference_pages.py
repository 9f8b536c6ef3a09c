"""Writes docs/options.md and docs/commands.md from the code: `python -m scripts.reference_pages`.

Options come from the fields of `pipeline.config.RunConfig`, commands from click, so neither
page can name something that is not there.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cli.main import tessera
from pipeline.config import RunConfig

DOCS = Path(__file__).resolve().parents[1] / "docs"
_HEAD = "<!-- Made by `python -m scripts.reference_pages`; do not edit. -->\n"


class Option(NamedTuple):
    """One row of the options page."""

    key: str
    type: str
    default: str
    meaning: str


def options() -> Iterator[Option]:
    """Yields every option of a run's configuration, depth first."""
    yield from _fields(RunConfig, "")


def options_page() -> str:
    """Returns the text of docs/options.md."""
    lines = [
        _HEAD,
        "# Options\n",
        "Every key of a configuration file (`conf/*.yaml`) and of `--set key=value`. `required` "
        "has no default; `[]` stands for the entries of a list, `<name>` for a key of your own.\n",
    ]
    section = ""
    for option in options():
        head = option.key.split(".")[0]
        if head != section:
            section = head
            lines += [f"\n## {head}\n", "| key | type | default | meaning |", "|---|---|---|---|"]
        cells = (f"`{option.key}`", option.type, option.default, option.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Returns the text of docs/commands.md."""
    lines = [_HEAD, "# Commands\n", "`tessera COMMAND --help` prints the same.\n"]
    context = click.Context(tessera, info_name="tessera")
    for name in sorted(tessera.list_commands(context)):
        command = tessera.get_command(context, name)
        if command is not None:
            lines += _command(command, f"tessera {name}")
    return "\n".join(lines) + "\n"


def _fields(model: type[BaseModel], prefix: str) -> Iterator[Option]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        inner = list(_models(field.annotation))
        plain = inner == [field.annotation]
        default = "" if plain else _default(field)
        yield Option(key, "section" if plain else _type(field), default, field.description or "")
        for kind in inner:
            yield from _fields(kind, key + _joint(field.annotation, kind))


def _joint(annotation: Any, kind: type[BaseModel]) -> str:
    """What stands between a key and the keys of the models it holds."""
    origin = getattr(annotation, "__origin__", None)
    if annotation is kind or origin is None:
        return "."
    return ".<name>." if origin is dict else "[]."


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _type(field: FieldInfo) -> str:
    return f"`{_words(field.annotation)}`"


def _words(annotation: Any) -> str:
    """Returns a type as it would be written, without modules and constraints."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None:
        if annotation is type(None):
            return "None"
        return annotation.__name__ if isinstance(annotation, type) else str(annotation)
    if origin is Annotated:
        return _words(arguments[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin in (Union, types.UnionType):
        return " | ".join(map(_words, arguments))
    inner = ", ".join("..." if part is Ellipsis else _words(part) for part in arguments)
    return f"{origin.__name__}[{inner}]"


def _default(field: FieldInfo) -> str:
    if field.is_required() or field.default is PydanticUndefined:
        return "required" if field.default_factory is None else "empty"
    default = field.default
    if isinstance(default, BaseModel):
        default = default.model_dump(mode="json", exclude_defaults=True)
    elif isinstance(default, dict):
        default = {k: v.model_dump(exclude_none=True) if isinstance(v, BaseModel) else v
                   for k, v in default.items()}  # fmt: skip
    return f"`{default!r}`"


def _command(command: click.Command, title: str) -> list[str]:
    # Commands keep the help option that they were first asked with: it must be the group's.
    settings = {"terminal_width": 96, "max_content_width": 96, **tessera.context_settings}
    context = click.Context(command, info_name=title, **settings)
    lines = [f"\n## {title}\n", "```text", command.get_help(context).rstrip(), "```"]
    if isinstance(command, click.Group):
        for name in sorted(command.list_commands(context)):
            inner = command.get_command(context, name)
            if inner is not None:
                lines += _command(inner, f"{title} {name}")
    return lines


def main() -> None:
    """Writes both pages."""
    (DOCS / "options.md").write_text(options_page(), encoding="utf-8")
    (DOCS / "commands.md").write_text(commands_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
