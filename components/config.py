"""Typed configuration of the components."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from core.config import BaseConfig, Removed
from core.feature_config import FeaturesConfig
from input_tables.config import DataConfig
from input_tables.verdict import Rules, TableChecks


class SplitConfig(BaseConfig):
    """How target engagements are divided into train, validation and eval."""

    strategy: Literal["time", "leave_last_two_out"] = Field(
        "time",
        description="time: the last days; leave_last_two_out: the last two events of every user",
    )
    eval_days: float = Field(1.0, gt=0.0, description="time split: length of the eval period")
    validation_days: float = Field(1.0, gt=0.0, description="time split: period before eval")
    min_share: float = Field(
        0.0,
        ge=0.0,
        le=0.25,
        description="time split: a period that holds less than this share of the engagements "
        "begins at the full hour from which on it holds that much, as long as half are before it",
    )


class ExamplesConfig(BaseConfig):
    """How the tables become training examples."""

    split: SplitConfig = Field(SplitConfig(), description="how targets are divided")
    history_min_items: int = Field(0, ge=0, description="targets with less history are not used")
    positive_actions: tuple[str, ...] = Field(
        ("*",), description="shell patterns of actions that make a target"
    )
    negative_actions: tuple[str, ...] = Field(
        (), description="shell patterns of actions that never make a target"
    )
    repeat_targets: Literal["drop", "keep"] = Field(
        "drop", description="targets whose item the user engaged with before"
    )
    time_unit: Literal["seconds", "order"] = Field(
        "seconds", description="order: timestamps are positions, no checks of the epoch"
    )
    max_bad_share: float = Field(
        0.01, ge=0.0, le=1.0, description="dead letters per row that stop the run"
    )
    checks: TableChecks = Field(
        TableChecks(), description="what the tables as a whole must look like"
    )
    max_events_per_user: int = Field(10_000, ge=1, description="newest events kept per user")
    bucket_rows: int = Field(200_000, ge=1, description="rows that one worker joins at a time")

    def rules(self, data: DataConfig) -> Rules:
        """Returns what a run with these settings asks of its tables."""
        return Rules(
            checks=self.checks,
            time_unit=self.time_unit,
            max_bad_share=self.max_bad_share,
            positive=self.positive_actions,
            negative=self.negative_actions,
            topics_separator=data.topics_separator,
        )


class ExampleGenConfig(ExamplesConfig):
    """What the component is told: the tables, and widths that Transform sets."""

    LATER = ("features",)

    data: DataConfig
    history_max_items: int = Field(50, ge=1)
    follows_max_topics: int = Field(50, ge=1)
    attributes: tuple[str, ...] = Field((), description="columns of the items that are kept")
    features: FeaturesConfig = Field(FeaturesConfig(), description="features of items and users")

    @property
    def wanted(self) -> tuple[str, ...]:
        """Further columns that are read, see `input_tables.contract.further_columns`."""
        return (*self.attributes, *self.features.columns())


class GateConfig(BaseConfig):
    """When the data gate stops a run."""

    min_train_examples: int = Field(100, ge=1, description="fewer training examples stop the run")
    min_eval_examples: int = Field(10, ge=1, description="fewer eval examples stop the run")
    min_items: int = Field(10, ge=1, description="fewer catalogue items stop the run")
    fail_on_anomalies: bool = Field(
        True, description="whether an anomaly against the schema stops the run"
    )
    ignored_anomalies: tuple[str, ...] = Field((), description="feature names whose anomalies pass")
    drift_policy: Literal["off", "warn", "fail"] = Field(
        "warn", description="what follows when targets of eval differ too much from those of train"
    )
    drift_max_distance: float = Field(
        0.3, gt=0.0, le=1.0, description="largest change of the share of any item or action"
    )

    @field_validator("drift_policy", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        """YAML reads a bare `off` as false."""
        return "off" if value is False else value


class IndexConfig(BaseConfig):
    """Which index is built and how good it must be."""

    SECTION = "index"
    REMOVED = {"recall_queries": Removed(500, "a constant of the index builder")}

    kind: Literal["auto", "exact", "scann"] = Field(
        "auto", description="auto: exact below scann_min_items, ScaNN from there on"
    )
    scann_min_items: int = Field(20_000, ge=16, description="auto: exact search below this size")
    partition_min_items: int = Field(
        50_000,
        ge=16,
        description="beside ScaNN: from this size on, the SavedModel with stock operations "
        "searches the parts of the catalogue near the query, not all of it",
    )
    recall_target: float = Field(
        0.95, gt=0.0, le=1.0, description="recall@100 against exact search"
    )
    batch_size: int = Field(4096, ge=1, description="items embedded at a time")
    shards: int = Field(
        1,
        ge=1,
        le=64,
        description="indexes that the items are spread over by a hash of their ids; above 1 the "
        "bundle also holds one model per shard and a router's, for servers of their own",
    )


class ThresholdConfig(BaseConfig):
    """Bounds of one metric."""

    min: float | None = Field(None, description="least value that passes")
    max: float | None = Field(None, description="largest value that passes")

    @model_validator(mode="after")
    def _one_bound(self) -> ThresholdConfig:
        if self.min is None and self.max is None:
            raise ValueError("a threshold needs min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}: nothing can pass")
        return self


#: Names of the simple recommenders that `components.evaluator.floors` ranks with.
FLOORS = (
    "popularity",
    "item_cosine",
    "last_transition",
    "topic_popularity",
    "rp3beta",
    "ease",
    "als",
)
#: In `must_beat_floors`: whichever floor but popularity is highest at the primary metric.
BEST_PERSONALISED = "best_personalised"
#: Largest catalogue that EASE is solved for: 15,000 items are 0.9 GB and about a minute.
EASE_MAX_ITEMS = 15_000


class EvaluatorConfig(BaseConfig):
    """What is measured and when a retriever is blessed."""

    ks: tuple[int, ...] = Field(
        (10, 50, 100), description="list lengths at which metrics are measured"
    )
    max_examples: int = Field(20_000, ge=1, description="eval examples used, a seeded sample")
    batch_size: int = Field(512, ge=1, description="examples per request")
    thresholds: dict[str, ThresholdConfig] = Field(
        default={"recall@100": ThresholdConfig(min=0.01)},
        description="metric name -> bounds, at least one",
    )
    max_drop_share: float = Field(
        0.05, ge=0.0, description="relative loss of the primary metric against the baseline allowed"
    )
    max_slice_drop_share: float = Field(
        0.25, ge=0.0, description="the same for each slice of at least slice_min_examples"
    )
    slice_min_examples: int = Field(200, ge=1, description="smaller slices are not judged")
    primary_metric: str = Field(
        "recall@100", description="the metric of floors, baseline and slices"
    )
    must_beat_floors: tuple[str, ...] = Field(
        (BEST_PERSONALISED,),
        description="floors whose primary metric must be beaten; best_personalised: whichever "
        "floor but popularity is highest; none: []",
    )
    ease_max_items: int = Field(
        EASE_MAX_ITEMS, ge=0, description="larger catalogues are ranked without the floor EASE"
    )
    truth: str = Field(
        "",
        description="folder of the truth of generated tables, for the limits beside the floors; "
        "a local run finds it beside its tables",
    )
    seed: int = Field(1, description="of samples and bootstrap")

    @model_validator(mode="after")
    def _checks(self) -> EvaluatorConfig:
        if not self.thresholds:
            raise ValueError("an evaluator without thresholds can never bless: give at least one")
        if not self.ks or min(self.ks) < 1:
            raise ValueError("ks needs at least one value, each 1 or more")
        known = self.metric_names()
        for key, names in (
            ("primary_metric", (self.primary_metric,)),
            ("thresholds", tuple(self.thresholds)),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(
                        f"{key} names {name!r}, which is not measured with ks={list(self.ks)}; "
                        f"known: {', '.join(known)}"
                    )
        for floor in self.must_beat_floors:
            if floor not in (BEST_PERSONALISED, *FLOORS):
                known_floors = ", ".join((BEST_PERSONALISED, *FLOORS))
                raise ValueError(f"must_beat_floors names {floor!r}; known: {known_floors}")
        return self

    def metric_names(self) -> tuple[str, ...]:
        """Returns the metrics of an evaluation (`components.evaluator.metrics.summarise`)."""
        at_k = [f"{name}@{k}" for k in self.ks for name in ("recall", "ndcg", "coverage")]
        return (*at_k, "mrr", "coverage", "topic_entropy@50", "distinct_topics")


class ServingValidatorConfig(BaseConfig):
    """What a bundle must show before it may be published (`components.serving_validator`)."""

    requests: int = Field(64, ge=1, description="real requests that are replayed")
    latency_requests: int = Field(50, ge=1, description="single requests that are timed")
    latency_budget_ms: float = Field(
        250.0, gt=0.0, description="most milliseconds of the median single request"
    )
    scann_recall_min: float = Field(
        0.9, ge=0.0, le=1.0, description="share of exact search's items that ScaNN's path returns"
    )
    warmup_requests: int = Field(
        8, ge=1, le=1000, description="warm-up requests of TensorFlow Serving (1000 at most)"
    )
    sample_requests: int = Field(
        500, ge=1, description="requests kept in the bundle, for refreshes and for the local server"
    )
    sample: Literal["plain", "hashed", "none"] = Field(
        "plain",
        description="requests of users in the bundle, with plain ids; hashed: ids by HMAC with the "
        "key in TESSERA_ID_KEY; none: no such request, and the bundle cannot be refreshed",
    )
    timeout_s: float = Field(600.0, gt=0.0, description="for each SavedModel")


class PusherConfig(BaseConfig):
    """Publishing, probing and retention of bundles."""

    keep_versions: int = Field(5, ge=2, description="newest versions kept; pinned ones always stay")
    allow_older_span: bool = Field(
        False, description="publish a model of an older day than the newest published one"
    )
    publish: Literal["rename", "ordered"] = Field(
        "rename",
        description="rename: staged, then renamed; ordered: for mounted object stores, where a "
        "folder cannot be renamed: the SavedModel's graph is written last",
    )
    server: str = Field(
        "", description="host:port of a model server's gRPC; a push waits until it has the version"
    )
    server_timeout_s: float = Field(120.0, gt=0.0, description="for the server to load a version")
