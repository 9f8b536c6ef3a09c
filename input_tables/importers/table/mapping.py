"""What is to be read as what: from the command line, a YAML file, or both."""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from core.config import BaseConfig
from core.errors import ConfigError
from input_tables.contract import COLUMNS, ENGAGEMENTS, FOLLOWS, ITEMS, Table

TimeUnit = Literal["s", "ms", "us", "days", "iso"]
#: `--topics-separator` for JSON or Python lists, and for values that are one topic each.
LIST, NONE = "list", "none"
_NEEDED: dict[Table, tuple[str, ...]] = {
    ENGAGEMENTS: ("user_id", "item_id"),
    ITEMS: ("item_id",),
    FOLLOWS: ("user_id", "topic"),
}
_SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


class SourcePart(BaseConfig):
    """Where one canonical table comes from."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    files: tuple[str, ...] = Field((), description="files or folders of files")
    map: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="canonical column: column of the files; several for topics",
    )
    where: dict[str, str] = Field(
        default_factory=dict, description="column: value (or `a|b`) of the rows that are read"
    )
    separator: str | None = Field(None, description="one character; found from the header if empty")
    quotes: bool | None = Field(
        None, description='whether " begins a quoted value; if empty, not where tabs separate'
    )
    escape: str | None = Field(
        None, max_length=1, description="what goes before a quote within a value (Spark: \\)"
    )
    columns: tuple[str, ...] = Field((), description="names, for files without a header")
    time_unit: TimeUnit | None = Field(None, description="of this table's times")

    @field_validator("files", "columns", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("map", mode="before")
    @classmethod
    def _split_columns(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {k: (v,) if isinstance(v, (str, int)) else v for k, v in value.items()}

    @field_validator("separator")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        value = _SEPARATORS.get(value, value) if value else None
        if value is not None and len(value) != 1:
            raise ValueError(f"must be one character (or tab), got {value!r}")
        return value


class TableMapping(SourcePart):
    """What `tessera data import table` reads; engagements at the top."""

    action: str | None = Field(None, description="action of rows without one")
    topics_separator: str | None = Field(
        None, description=f"of an item's topics; {LIST}: JSON or Python; {NONE}: one topic each"
    )
    encoding: str = Field("utf-8", description="of text files")
    max_bad_share: float = Field(
        0.01, ge=0, le=1, description="rows of a table that may be refused"
    )
    items: SourcePart = Field(default_factory=SourcePart, description="the catalogue")
    follows: SourcePart = Field(default_factory=SourcePart, description="followed topics")

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            codecs.lookup(value)
        except LookupError as error:
            raise ValueError(f"{value!r} is no encoding that Python knows") from error
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> TableMapping:
        if not self.files:
            raise ValueError("files: give at least one file")
        for table in (ENGAGEMENTS, ITEMS, FOLLOWS):
            _check(table, self.part(table))
        if "action" not in self.map and not self.action:
            raise ValueError("map: action=COLUMN is needed, or --action NAME for all rows")
        return self

    def part(self, table: Table) -> SourcePart:
        """Returns where a table comes from; files that are not named are the engagements' own."""
        part: SourcePart = self if table == ENGAGEMENTS else getattr(self, table)
        if part.map and not part.files:
            same = ("files", "columns", "separator", "quotes", "escape")
            return part.model_copy(update={name: getattr(self, name) for name in same})
        return part

    def unit(self, table: Table) -> TimeUnit:
        """Returns what a table's times count."""
        return self.part(table).time_unit or self.time_unit or "s"


def _check(table: Table, part: SourcePart) -> None:
    if table != ENGAGEMENTS and part == SourcePart():
        return
    prefix = "" if table == ENGAGEMENTS else f"{table}."
    known = [column.name for column in COLUMNS[table]]
    if table == FOLLOWS:
        known.append("topics")
    for name, columns in part.map.items():
        if name not in known:
            raise ValueError(f"{prefix}map: {name!r} is no column of {table}{_near(name, known)}")
        if not columns or (len(columns) > 1 and name != "topics"):
            raise ValueError(f"{prefix}map: {name} needs one column, got {len(columns)}")
    given = {"topic" if name == "topics" else name for name in part.map}
    missing = [name for name in _NEEDED[table] if name not in given and name not in part.map]
    if missing:
        raise ValueError(f"{prefix}map: {missing[0]}=COLUMN is needed")


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f" (known: {', '.join(known)})"


def pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """Returns the pairs of `a=b,c=d` texts; raises ConfigError for anything else."""
    found: dict[str, str] = {}
    for text in texts:
        for pair in text.split(","):
            key, equals, value = (word.strip() for word in pair.partition("="))
            if not (key and equals and value):
                raise ConfigError(f"{option}: expected NAME=COLUMN, got {pair.strip()!r}")
            if key in found:
                raise ConfigError(f"{option}: {key} is given twice")
            found[key] = value
    return found


def mapping_of(path: Path | None, given: dict[str, Any]) -> TableMapping:
    """Returns the mapping of a YAML file (or of an earlier `source.json`) and of options.

    Args:
      path: the file; paths in it are relative to its folder.
      given: what was said on the command line, which goes before the file.

    Raises:
      ConfigError: the file cannot be read, a key is there twice or unknown, or
        something that is needed was not given.
    """
    tree = _read(path) if path else {}
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            value = {**tree[key], **value}
        if value not in (None, (), {}):
            tree[key] = value
    try:
        return TableMapping.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = str(first["msg"]).removeprefix("Value error, ")
        where = f"--mapping {path}: " if path else ""
        raise ConfigError(f"{where}{place + ': ' if place else ''}{reason}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"--mapping {path}: cannot be read: {error}") from error
    if isinstance(tree, dict) and isinstance(tree.get("mapping"), dict):
        return dict(tree["mapping"])
    if not isinstance(tree, dict):
        raise ConfigError(f"--mapping {path}: expected keys such as files and map")
    for part in (tree, tree.get("items"), tree.get("follows")):
        if isinstance(part, dict) and part.get("files"):
            files = part["files"]
            files = [files] if isinstance(files, str) else files
            part["files"] = [str(path.parent / str(file)) for file in files]
    return tree


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, where YAML would take the last one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                raise ValueError(f"{key.value!r} is in line {lines[key.value]} and in line {line}")
            lines[key.value] = line
        return super().construct_mapping(node, deep)
