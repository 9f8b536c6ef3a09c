"""The Pusher component."""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples, Model

from components import artifacts
from components.base import Component, channels, parameters
from components.pusher.driver import Driver
from components.pusher.executor import Executor


class PusherSpec(ComponentSpec):
    """Inputs, outputs and parameters of the Pusher."""

    PARAMETERS = parameters("serving_dir", "name", "config_json", "manifest_json", "code_digest")
    INPUTS = {
        **channels(
            index=artifacts.RetrievalIndex,
            model=Model,
            evaluation=artifacts.Evaluation,
            blessing=artifacts.Blessing,
            validation=artifacts.Validation,
        ),
        **channels(
            examples=Examples,
            report=artifacts.DataReport,
            baseline=artifacts.Bundle,
            optional=True,
        ),
    }
    OUTPUTS = channels(pushed=artifacts.PushedBundle)


class Pusher(Component):
    """Publishes a blessed and validated retriever as a new version of a bundle.

    The output artifact carries `pushed` (0 or 1), `pushed_version`,
    `pushed_destination` and `reason` as custom properties.

    Args:
      index: the RetrievalIndex to publish.
      model: the trained Model, whose warm-start files are published too.
      evaluation: figures for the manifest.
      blessing: the evaluator's decision; nothing is published without it.
      validation: the serving validator's; likewise. What it adds goes into the bundle.
      serving_dir: bundles go to `<serving_dir>/<name>/<version>`.
      name: name of the model.
      config_json: a `components.config.PusherConfig`.
      manifest_json: a `components.pusher.push.ManifestFields`.
      code_digest: digest of the code, part of the cache key.
      examples: optional; span and data fingerprint go into the manifest.
      report: optional; the same, where the examples do not carry them.
      baseline: optional; its version goes into the manifest.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
    DRIVER_CLASS = Driver
