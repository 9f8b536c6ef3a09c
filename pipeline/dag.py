"""The pipeline, once: a pure function from configuration to TFX components.

Runners add root, metadata, image and schedule (`pipeline.local.runner`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from tfx.components import ExampleValidator, StatisticsGen, Trainer, Transform
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import trainer_pb2, transform_pb2

from components.baseline_resolver.component import BaselineResolver
from components.candidates.component import CandidateGen
from components.candidates.config import CandidateGenConfig
from components.config import EvaluatorConfig, ExampleGenConfig
from components.curated_schema.component import CuratedSchema
from components.data_gate.component import DataGate
from components.evaluator.component import RetrievalEvaluator
from components.example_gen.component import RetrievalExampleGen
from components.index_builder.component import IndexBuilder
from components.pusher.component import Pusher
from components.pusher.push import ManifestFields
from components.serving_validator.component import ServingValidator
from core.digest import code_digest, json_digest
from core.secrets import redacted, without_secrets
from pipeline.config import RunConfig, model_config
from trainer import features

#: Code that decides what each component does: a change anywhere in it runs the component
#: anew, a change elsewhere (of the pusher, say) leaves examples and model in the cache.
EXAMPLES_CODE = (
    "core",
    "input_tables",
    "components/artifacts.py",
    "components/base.py",
    "components/beam_job.py",
    "components/config.py",
    "components/example_gen",
    "trainer/features.py",
)
GATE_CODE = (*EXAMPLES_CODE, "components/data_gate", "components/examples_io.py")
TRANSFORM_CODE = (
    "core",
    "trainer/config.py",
    "trainer/feature_values.py",
    "trainer/features.py",
    "trainer/preprocessing.py",
)
_DATA_CODE = ("core", "input_tables", "components")
_MODEL_CODE = ("core", "trainer")
_SERVING_CODE = ("core", "trainer", "components")

#: A value that is known now, or a parameter that every run on Kubeflow is given.
Text: TypeAlias = "str | RuntimeParameter"


@dataclass(frozen=True)
class Paths:
    """Values that depend on the runner, not on the configuration.

    Attributes:
      data_root: folder or URL of the input tables.
      serving_dir: folder or URL of pushed bundles.
      schema: curated schema of the raw examples, as text.
      corpus_schema: curated schema of the corpus, as text.
      checkpoint_dir: folder for training checkpoints that outlive a killed run.
      dead_letter_dir: folder for dead letters of a run that was stopped.
      run_date: last day of the data; None: the configuration's.
      model_name: name that bundles are pushed under; None: the configuration's.
    """

    data_root: Text
    serving_dir: Text
    schema: str
    corpus_schema: str
    checkpoint_dir: str
    dead_letter_dir: str
    run_date: Text | None = None
    model_name: Text | None = None


def example_gen_config(config: RunConfig, data_root: Text) -> ExampleGenConfig:
    """Returns the configuration of `RetrievalExampleGen`."""
    # A root that only a run knows replaces the configured one there.
    update = {"root": data_root} if isinstance(data_root, str) else {}
    return ExampleGenConfig(
        data=config.data.model_copy(update=update),
        history_max_items=config.transform.history_max_items,
        follows_max_topics=config.transform.follows_max_topics,
        attributes=config.retrieval.attribute_columns(),
        features=config.features,
        **config.examples.model_dump(),
    )


def _evaluator_config(config: RunConfig, paths: Paths) -> EvaluatorConfig:
    """Returns the evaluator's configuration, with the truth that lies beside local tables."""
    found = Path(str(paths.data_root)) / "truth"
    if config.evaluator.truth or not isinstance(paths.data_root, str) or not found.is_dir():
        return config.evaluator
    return config.evaluator.model_copy(update={"truth": str(found)})


def training_digest(config: RunConfig) -> str:
    """Returns the digest of everything but the data that decides the trained model."""
    parts = ("examples", "features", "transform", "model", "trainer", "index", "retrieval")
    dumped = config.model_dump(mode="json")
    code = code_digest((*_DATA_CODE, *_MODEL_CODE))
    named = {part: dumped[part] for part in parts if part in dumped}
    return json_digest({"config": named, "code": code})


def checkpoint_digest(config: RunConfig) -> str:
    """Returns the digest of what trains a model from given examples.

    It names the folder of checkpoints, which is part of the Trainer's cache key: what is
    done with the model afterwards (index, retrieval) must not be in it.
    """
    dumped = config.model_dump(mode="json")
    names = ("name", "features", "transform", "model", "trainer")
    parts = {part: dumped[part] for part in names if part in dumped}
    return json_digest({"config": parts, "code": code_digest(_MODEL_CODE)})


def build_components(config: RunConfig, paths: Paths) -> list[BaseNode]:
    """Builds the whole chain, ExampleGen to Pusher.

    Args:
      config: the validated configuration.
      paths: places that the runner chose.

    Returns:
      Components in execution order.
    """
    data = _data_nodes(config, paths)
    return [*data.nodes, *_model_nodes(config, paths, data)]


def build_data_components(config: RunConfig, paths: Paths) -> list[BaseNode]:
    """Builds the chain as far as Transform, for those who train by themselves.

    Args:
      config: the validated configuration.
      paths: places that the runner chose.

    Returns:
      Components in execution order, the same (and with the same cache keys) as those of
      `build_components`.
    """
    return list(_data_nodes(config, paths).nodes)


class _DataNodes(NamedTuple):
    """Tables to transformed examples."""

    nodes: list[BaseNode]
    example_gen: BaseNode
    schema_gen: BaseNode
    transform: BaseNode


def _data_nodes(config: RunConfig, paths: Paths) -> _DataNodes:
    example_gen = RetrievalExampleGen(
        data_root=paths.data_root,
        run_date=_run_date(config, paths),
        config_json=example_gen_config(config, paths.data_root).canonical_json(),
        dead_letter_dir=paths.dead_letter_dir,
        code_digest=code_digest(EXAMPLES_CODE),
    )
    statistics_gen = StatisticsGen(examples=example_gen.outputs["examples"])
    schema_gen = CuratedSchema(schema_text=_with_features(paths.schema, config))
    validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        exclude_splits=[features.CORPUS_SPLIT],
    )
    gate = DataGate(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        anomalies=validator.outputs["anomalies"],
        report=example_gen.outputs["report"],
        config_json=config.gate.canonical_json(),
        corpus_schema=_with_features(paths.corpus_schema, config, corpus=True),
        code_digest=code_digest(GATE_CODE),
    )
    transform = Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="trainer.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(
            analyze=[features.TRAIN_SPLIT, features.CORPUS_SPLIT], transform=list(features.SPLITS)
        ),
        custom_config={
            "transform": config.transform.canonical_json(),
            **_named_features(config),
            "code_digest": code_digest(TRANSFORM_CODE),
        },
        disable_statistics=True,
    )
    # TFX alone never stops on anomalies: nothing is transformed before the gate passed.
    transform.add_upstream_node(gate)
    nodes = [example_gen, statistics_gen, schema_gen, validator, gate, transform]
    return _DataNodes(nodes, example_gen, schema_gen, transform)


def _model_nodes(config: RunConfig, paths: Paths, data: _DataNodes) -> list[BaseNode]:
    """Transformed examples to a pushed bundle."""
    examples = data.example_gen.outputs["examples"]
    name = config.name if paths.model_name is None else paths.model_name
    resolver = BaselineResolver(
        examples=examples,
        serving_dir=paths.serving_dir,
        name=name,
        training_digest=training_digest(config),
        code_digest=code_digest(_SERVING_CODE),
    )
    trainer = _trainer(config, paths, data, resolver)
    index_builder = IndexBuilder(
        model=trainer.outputs["model"],
        examples=examples,
        config_json=config.index.canonical_json(),
        retrieval_json=config.retrieval.canonical_json(),
        code_digest=code_digest(_SERVING_CODE),
    )
    evaluator = RetrievalEvaluator(
        examples=examples,
        index=index_builder.outputs["index"],
        baseline=resolver.outputs["baseline"],
        config_json=_evaluator_config(config, paths).canonical_json(),
        code_digest=code_digest(_SERVING_CODE),
    )
    serving_validator = ServingValidator(
        index=index_builder.outputs["index"],
        examples=examples,
        config_json=config.serving.canonical_json(),
        code_digest=code_digest(_SERVING_CODE),
    )
    pusher = Pusher(
        index=index_builder.outputs["index"],
        model=trainer.outputs["model"],
        examples=examples,
        report=data.example_gen.outputs["report"],
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        validation=serving_validator.outputs["validation"],
        baseline=resolver.outputs["baseline"],
        serving_dir=paths.serving_dir,
        name=name,
        config_json=config.pusher.canonical_json(),
        manifest_json=_manifest_fields(config, paths).canonical_json(),
        code_digest=code_digest(_SERVING_CODE),
    )
    nodes = [resolver, trainer, index_builder, evaluator, serving_validator, pusher]
    return [*nodes, _candidates(config, paths, pusher)] if config.candidates.out else nodes


def _candidates(config: RunConfig, paths: Paths, pusher: BaseNode) -> BaseNode:
    wanted = CandidateGenConfig(
        candidates=config.candidates,
        data=config.data,
        time_unit=config.examples.time_unit,
        follows_max_topics=config.transform.follows_max_topics,
    )
    return CandidateGen(
        pushed=pusher.outputs["pushed"],
        data_root=paths.data_root,
        run_date=_run_date(config, paths),
        config_json=wanted.canonical_json(),
        code_digest=code_digest(_SERVING_CODE),
    )


def _trainer(config: RunConfig, paths: Paths, data: _DataNodes, resolver: BaseNode) -> Trainer:
    # Without spans nothing starts warm. An input that says so would still be another one
    # after every push, and train anew what the cache holds.
    warm = _run_date(config, paths) != "" and config.trainer.warm_start
    return Trainer(
        run_fn="trainer.run_fn.run_fn",
        examples=data.transform.outputs["transformed_examples"],
        transform_graph=data.transform.outputs["transform_graph"],
        schema=data.schema_gen.outputs["schema"],
        base_model=resolver.outputs["model"] if warm else None,
        train_args=trainer_pb2.TrainArgs(splits=[features.TRAIN_SPLIT]),
        eval_args=trainer_pb2.EvalArgs(splits=[features.VALIDATION_SPLIT]),
        custom_config={
            "transform": config.transform.canonical_json(),
            "model": model_config(config).canonical_json(),
            "trainer": config.trainer.canonical_json(),
            **_named_features(config),
            "checkpoint_dir": paths.checkpoint_dir,
            "code_digest": code_digest(_MODEL_CODE),
        },
    )


def _named_features(config: RunConfig) -> dict[str, str]:
    """Returns what Transform and Trainer are told of features, nothing where there are none."""
    return {"features": config.features.canonical_json()} if config.features else {}


def _with_features(schema: str, config: RunConfig, corpus: bool = False) -> str:
    """Returns a schema with the columns of features, where there are any it does not have."""
    if not config.features:
        return schema
    for name in features.VALUE_FEATURES:
        most = "max: 0 " if corpus and name == features.USER_VALUES else ""
        if f'name: "{name}"' not in schema:
            schema += f'feature {{ name: "{name}" type: BYTES value_count {{ min: 0 {most}}} }}\n'
    return schema


def _run_date(config: RunConfig, paths: Paths) -> Text:
    """Returns the last day of the data, '' where tables have no spans."""
    if paths.run_date is not None:
        return paths.run_date
    return config.data.run_date.isoformat() if config.data.run_date else ""


def _manifest_fields(config: RunConfig, paths: Paths) -> ManifestFields:
    """Returns what is known now; the Pusher takes the rest from the artifacts."""
    run_date = _run_date(config, paths)
    dumped = without_secrets(config.model_dump(mode="json"))
    return ManifestFields(
        training_digest=training_digest(config),
        config_digest=json_digest(dumped),
        code_digest=code_digest((*_DATA_CODE, "trainer")),
        run_date=run_date if isinstance(run_date, str) else "",
        data_root=redacted(paths.data_root) if isinstance(paths.data_root, str) else "",
        time_unit=config.examples.time_unit,
        primary_metric=config.evaluator.primary_metric,
        config=dumped,
    )
