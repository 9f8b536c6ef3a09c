"""The span of an examples artifact."""

from __future__ import annotations

from typing import Any


def span_of(examples: Any) -> int | None:
    """Returns the last span that an Examples artifact covers, or None when it carries none.

    Args:
      examples: a TFX Examples artifact. The custom property `span` comes before
        the type's own property of that name; after Kubeflow both may be floats.
    """
    if examples.has_custom_property("span"):
        return int(examples.get_int_custom_property("span"))
    if "span" in examples.mlmd_artifact.properties:
        return int(examples.span)
    return None
