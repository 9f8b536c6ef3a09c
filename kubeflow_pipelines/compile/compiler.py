"""Compiles the pipeline for Kubeflow Pipelines v2, without a network.

TFX's own compiler makes the specification; `kubeflow_pipelines.compile.finalize` mends and
completes it, `kubeflow_pipelines.compile.lint` checks it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)
from tfx.orchestration.pipeline import Pipeline

from components.status_report.component import StatusReport
from core.digest import code_digest
from core.errors import ConfigError
from core.secrets import without_secrets
from kubeflow_pipelines.compile.finalize import EXIT_HANDLER, finalize
from kubeflow_pipelines.compile.lint import ENTRYPOINT, lint
from kubeflow_pipelines.compile.platform import platform_spec
from kubeflow_pipelines.parameters import (
    DATA_ROOT,
    MODEL_NAME,
    RUN_DATE,
    SERVING_ROOT,
    pipeline_name,
)
from kubeflow_pipelines.refresh.component import CatalogueRefresh
from pipeline.beam.placement import pipeline_args, place
from pipeline.config import RunConfig
from pipeline.config.kubeflow import MONITOR, KubeflowConfig
from pipeline.dag import Paths, build_components
from pipeline.schema_files import read_schemas

#: What a refresh runs.
_REFRESH_CODE = ("core", "input_tables", "components", "trainer", "pipeline")


def compile_pipeline(config: RunConfig) -> list[dict[str, Any]]:
    """Compiles a configuration.

    Args:
      config: its `kubeflow.image` must be set.

    Returns:
      The pipeline specification, and the platform specification where one is needed:
      the documents of the YAML file.

    Raises:
      ConfigError: the configuration cannot run on Kubeflow; lists every reason.
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
        StatusReport(
            run_date="",
            model_name=config.name,
            status_dir=status_dir(config),
            pipeline=config.pipeline,
        )
    )
    nodes = _nodes(config)
    known = {*(node.id for node in nodes), EXIT_HANDLER, "default"}
    _require_known("resources", config.kubeflow.resources, known)
    _require_known("pods", config.kubeflow.pods, {*known, MONITOR})
    place(nodes, config.beam)
    pipeline = Pipeline(
        pipeline_name=pipeline_name(config),
        pipeline_root=config.kubeflow.pipeline_root,
        components=nodes,
        enable_cache=False,
        beam_pipeline_args=pipeline_args(config.beam),
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


def status_dir(config: RunConfig) -> str:
    """Returns where the exit handler keeps how runs ended: a refresh has a folder of its own."""
    folder = config.kubeflow.status_dir
    return f"{folder.rstrip('/')}/refresh" if folder and config.pipeline == "refresh" else folder


def _nodes(config: RunConfig) -> list[BaseNode]:
    if config.pipeline == "train":
        return build_components(config, _paths(config))
    left_out = ("work_dir", "pipeline", "name", "serving_dir", "kubeflow")
    given = config.model_dump(mode="json", exclude_unset=True)
    kept = {key: value for key, value in given.items() if key not in left_out}
    refresh = CatalogueRefresh(
        data_root=RuntimeParameter(DATA_ROOT, ptype=str),
        run_date=RuntimeParameter(RUN_DATE, ptype=str),
        serving_dir=RuntimeParameter(SERVING_ROOT, ptype=str),
        name=RuntimeParameter(MODEL_NAME, ptype=str),
        config_json=json.dumps(without_secrets(kept), sort_keys=True, separators=(",", ":")),
        code_digest=code_digest(_REFRESH_CODE),
    )
    return [refresh]


def _recorded(config: RunConfig) -> RunConfig:
    """Returns what manifests record of a configuration.

    Neither a folder of this machine nor where and when the file is sent belongs to it.
    """
    sent = (
        "host", "namespace", "experiment", "service_account", "schedule", "sign_in", "ca_cert",
        "proxy", "monitor",
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
