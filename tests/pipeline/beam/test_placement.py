"""`beam.only`: which components get `beam.args`."""

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.orchestration.pipeline import Pipeline

from core.errors import ConfigError
from pipeline.beam.placement import pipeline_args, place
from pipeline.config import RunConfig, load_config
from pipeline.config.run import BeamConfig
from pipeline.dag import build_components
from pipeline.local.runner import local_paths

ARGS = ("--runner=DataflowRunner", "--project=p", "--sdk_container_image=registry/image")


def runners(tmp_path, **beam):
    """Component -> (runner, image) that its executor gets."""
    config = RunConfig(name="x", data={"root": str(tmp_path)}, beam=BeamConfig(**beam))
    nodes = build_components(config, local_paths(config, tmp_path))
    place(nodes, config.beam)
    Pipeline(
        pipeline_name="x",
        pipeline_root=str(tmp_path),
        components=nodes,
        beam_pipeline_args=pipeline_args(config.beam),
    )
    found = {}
    for node in nodes:
        if isinstance(node, BaseBeamComponent):
            options = PipelineOptions(list(node.executor_spec.beam_pipeline_args))
            known = options.get_all_options()
            found[node.id] = known["runner"], known["sdk_container_image"]
    return found


def test_every_component_gets_the_options(tmp_path):
    found = runners(tmp_path, args=ARGS)
    assert set(found) == {"RetrievalExampleGen", "StatisticsGen", "Transform"}
    assert set(found.values()) == {("DataflowRunner", "registry/image")}


def test_those_that_are_not_named_stay_in_process(tmp_path):
    found = runners(tmp_path, args=ARGS, only=("RetrievalExampleGen",))
    assert found == {
        "RetrievalExampleGen": ("DataflowRunner", "registry/image"),
        "StatisticsGen": ("FnApiRunner", "none"),
        "Transform": ("FnApiRunner", "none"),
    }


def test_a_component_that_does_not_run_beam_is_refused(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("data: {root: /nowhere}\nbeam: {only: [Trainer]}\n")
    with pytest.raises(ConfigError, match=r"beam\.only"):
        load_config(path)
