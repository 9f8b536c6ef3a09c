"""TFX executor of the BaselineResolver."""

from __future__ import annotations

import logging
from pathlib import Path

from tfx.dsl.components.base import base_executor

from components.base import Artifacts, Properties, mark, only
from components.baseline_resolver.resolve import resolve, write_outputs
from components.bundle.mirror import mirrored
from components.bundle.span import parse_span, span_of

_log = logging.getLogger("tessera")


class Executor(base_executor.BaseExecutor):
    """Copies the baseline into the run's own artifacts, or says that there is none."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """See base class."""
        bundle, model = only(output_dict, "baseline"), only(output_dict, "model")
        with mirrored(exec_properties["serving_dir"], exec_properties["name"]) as serving_dir:
            baseline = resolve(
                serving_dir / exec_properties["name"],
                exec_properties["training_digest"],
                effective_span(exec_properties["span"], input_dict),
                data_fingerprint(input_dict),
            )
            write_outputs(baseline, Path(bundle.uri), Path(model.uri))
        version = 0 if baseline.found is None else baseline.found.version
        for artifact in (bundle, model):
            mark(artifact, found=baseline.found is not None, version=version)
        _log.info("%s", baseline.reason)


def effective_span(span: str, input_dict: Artifacts) -> int | None:
    """Returns the last day of the run's data, in days since 1970-01-01; None: no spans.

    Args:
      span: the component's parameter; '' means that of the examples.
      input_dict: the component's inputs.
    """
    given = parse_span(span)
    return span_of(input_dict["examples"][0]) if given is None else given


def data_fingerprint(input_dict: Artifacts) -> str:
    """Returns the digest of the data that the examples were made from, '' when not recorded."""
    return str(input_dict["examples"][0].get_string_custom_property("fingerprint"))
