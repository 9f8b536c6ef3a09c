"""Compiles the pipeline for Kubeflow Pipelines v2, without a network.

TFX's own compiler makes the specification; `kubeflow_pipelines.compile.finalize` mends and
completes it, `kubeflow_pipelines.compile.lint` checks it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)
from tfx.orchestration.pipeline import Pipeline

from components.status_report.component import StatusReport
from core.errors import ConfigError
from kubeflow_pipelines.compile.finalize import EXIT_HANDLER, finalize
from kubeflow_pipelines.compile.lint import ENTRYPOINT, lint
from kubeflow_pipelines.compile.platform import platform_spec
from kubeflow_pipelines.parameters import DATA_ROOT, MODEL_NAME, RUN_DATE, SERVING_ROOT
from pipeline.config import RunConfig
from pipeline.config.kubeflow import KubeflowConfig
from pipeline.dag import Paths, build_components
from pipeline.schema_files import read_schemas


def compile_pipeline(config: RunConfig) -> list[dict[str, Any]]:
    """Compiles a configuration.

    Args:
      config: its `kubeflow.image` must be set.

    Returns:
      The pipeline specification, and the platform specification where one is needed:
      the documents of the YAML file.

    Raises:
      ConfigError: the configuration can not run on Kubeflow; lists every reason.
    """
    _refuse(config)
    config = _recorded(config)
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            default_image=config.kubeflow.image,
            # TFX's own entry point does not run on open-source Kubeflow.
            default_commands=list(ENTRYPOINT),
            # The only version of the schema that the open-source backend takes.
            use_pipeline_spec_2_1=True,
        )
    )
    runner.set_exit_handler(
        StatusReport(run_date="", model_name=config.name, status_dir=config.kubeflow.status_dir)
    )
    nodes = build_components(config, _paths(config))
    known = {*(node.id for node in nodes), EXIT_HANDLER, "default"}
    _require_known("resources", config.kubeflow.resources, known)
    _require_known("pods", config.kubeflow.pods, known)
    pipeline = Pipeline(
        pipeline_name=config.name,
        pipeline_root=config.kubeflow.pipeline_root,
        components=nodes,
        enable_cache=False,
        beam_pipeline_args=list(config.beam.args),
    )
    compiled = runner.run(pipeline, write_out=False)["pipelineSpec"]
    spec = finalize(compiled, config, _defaults(config))
    documents = [spec, *platform_spec(spec, config.kubeflow)]
    problems = lint(documents)
    if problems:
        raise ConfigError(
            f"the compiled pipeline would not run on Kubeflow, for {len(problems)} reason(s):\n  "
            + "\n  ".join(problems)
        )
    return documents


def _recorded(config: RunConfig) -> RunConfig:
    """Returns what manifests record of a configuration.

    Neither a folder of this machine nor where and when the file is sent belongs to it.
    """
    sent = (
        "host", "namespace", "experiment", "service_account", "schedule", "sign_in", "ca_cert",
        "proxy",
    )  # fmt: skip
    defaults = {name: KubeflowConfig.model_fields[name].default for name in sent}
    return config.model_copy(
        update={
            "work_dir": RunConfig.model_fields["work_dir"].default,
            "kubeflow": config.kubeflow.model_copy(update=defaults),
        }
    )


def _refuse(config: RunConfig) -> None:
    if not config.kubeflow.image:
        raise ConfigError(
            "kubeflow.image is not set: give the image of this project, NAME@sha256:DIGEST or "
            "NAME:TAG (see the Dockerfile)"
        )
    if config.pipeline != "train":
        raise ConfigError(
            "pipeline: refresh can not be compiled: it is planned with the version that is served "
            "when it starts; run `tessera run --conf` with it in a container instead"
        )


def _require_known(key: str, given: Iterable[str], known: set[str]) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(
                f"kubeflow.{key} names {name!r}, which is no component; known: "
                f"{', '.join(sorted(known))}"
            )


def _defaults(config: RunConfig) -> dict[str, str]:
    """Returns the parameters that a run need not name."""
    defaults = {
        DATA_ROOT: config.data.root,
        SERVING_ROOT: config.serving_dir,
        MODEL_NAME: config.name,
    }
    if config.data.layout == "single":
        defaults[RUN_DATE] = ""
    return defaults


def _paths(config: RunConfig) -> Paths:
    schema, corpus_schema = read_schemas(config)
    return Paths(
        data_root=RuntimeParameter(DATA_ROOT, ptype=str),
        serving_dir=RuntimeParameter(SERVING_ROOT, ptype=str),
        schema=schema,
        corpus_schema=corpus_schema,
        checkpoint_dir=config.kubeflow.checkpoint_dir,
        dead_letter_dir=config.kubeflow.dead_letter_dir,
        run_date=RuntimeParameter(RUN_DATE, ptype=str),
        model_name=RuntimeParameter(MODEL_NAME, ptype=str),
    )
