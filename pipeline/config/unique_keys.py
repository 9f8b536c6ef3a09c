"""YAML in which a key that stands twice is an error, as YAML 1.2 says; PyYAML takes the last."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, yaml.Mark] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key: Any = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # named by the loader itself
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"key {key!r} stands twice: in line {seen[key].line + 1} and in line "
                    f"{key_node.start_mark.line + 1}; keep one",
                    None,
                )
            seen[key] = key_node.start_mark
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """Returns the value of a YAML text.

    Raises:
      yaml.YAMLError: not YAML, or a key stands twice in one mapping (both lines are named).
    """
    return yaml.load(text, Loader=_Loader)
