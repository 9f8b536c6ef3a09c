"""The curated schemas that a configuration names."""

from __future__ import annotations

from pathlib import Path

from core.errors import ConfigError
from pipeline.config import RunConfig


def read_schemas(config: RunConfig) -> tuple[str, str]:
    """Returns the schemas of the raw examples and of the corpus, as text.

    Raises:
      ConfigError: one is missing.
    """
    folder = Path(config.schema_dir) if config.schema_dir else _package_folder()
    paths = (folder / "examples.pbtxt", folder / "corpus.pbtxt")
    for path in paths:
        if not path.is_file():
            raise ConfigError(f"schema_dir: {path} not found")
    examples, corpus = (path.read_text(encoding="utf-8") for path in paths)
    return examples, corpus


def _package_folder() -> Path:
    import schemas

    return Path(schemas.__file__).resolve().parent
