"""Typed configuration of features, models, training and retrieval.

Free of TensorFlow, so that a wrong value is refused before anything heavy loads.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from core.config import BaseConfig, Removed


class TransformConfig(BaseConfig):
    """What the transform graph does to the raw features."""

    history_max_items: int = Field(50, ge=1, description="history items kept, newest first")
    follows_max_topics: int = Field(20, ge=1, description="followed topics kept")
    item_topics_max: int = Field(10, ge=1, description="topics kept per item")
    item_oov_buckets: int = Field(16, ge=1, description="hash buckets for unknown items")
    topic_oov_buckets: int = Field(4, ge=1, description="hash buckets for unknown topics")
    age_buckets: int = Field(32, ge=2, description="buckets of log2(1 + age)")


#: `found_by` of an answer holds one bit per slot in an int64 whose sign bit stays free.
MAX_SLOTS = 62
#: Folder beside the exported model, where that is a refit: the model that validation chose.
BEFORE_REFIT = "before_refit"
#: Models with implicit slots alone; each also exists with explicit slots, as `<name>_cr`.
IMPLICIT_MODELS = (
    "two_tower",
    "self_attention",
    "interest_token",
    "mind",
    "dcm",
    "last_k",
    "pfs",
)
MODELS = (*IMPLICIT_MODELS, "cr", *(f"{name}_cr" for name in IMPLICIT_MODELS))
if TYPE_CHECKING:
    ModelName: TypeAlias = str
else:
    ModelName = Literal[MODELS]


class AblationConfig(BaseConfig):
    """Parts of the model that experiments take away or replace one at a time."""

    routing_matrix: bool = Field(
        False, description="dcm: keep the capsules' shared bilinear map S (Eq. 1); mind has it"
    )
    centroid_init: Literal["farthest", "random_items", "gaussian"] = Field(
        "farthest", description="dcm: farthest is VA-FPI (Eq. 5-6); gaussian: MIND's random start"
    )
    validity_aware: bool = Field(
        True, description="dcm: invalid history items are never a centroid and feed none (Eq. 6)"
    )
    single_assignment: bool = Field(
        True, description="dcm: SAR (Eq. 7); false: every item feeds every centroid softly"
    )
    centroid_norm: Literal["l2", "squash"] = Field("l2", description="squash: paper Eq. 3")
    history_actions: bool = Field(True, description="action types as part of the history")
    mask_negative_actions: bool = Field(
        True, description="false: history items with a negative action count like any other"
    )
    missing_item_share: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="share of the items whose features are missing in histories",
    )
    derived_sources: bool = Field(True, description="use source topics that were not logged")
    null_condition: bool = Field(
        True, description="train the explicit tower on examples without a source as well"
    )


class ModelConfig(BaseConfig):
    """The retrieval model: towers, interest extractor, conditions, association."""

    SECTION = "model"
    REMOVED = {
        "cluster_features": Removed(True, "clusters always have features"),
        "topic_init_scale": Removed(2.0, "a constant of the towers"),
    }
    MOVED = {"ablation": tuple(AblationConfig.model_fields)}

    name: ModelName = Field(
        "dcm_cr", description="interest extractor; `_cr` adds explicit slots of followed topics"
    )
    embedding_dim: int = Field(64, ge=2, description="width of item and user embeddings")
    hidden_units: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (128,), description="user tower MLP, hidden layers"
    )
    normalize: bool = Field(True, description="L2-normalise user and item embeddings")
    num_interests: int = Field(4, ge=1, description="K, implicit slots")
    routing_iterations: int = Field(3, ge=1, description="T of the routing, paper Eq. 1-2")
    routing_temperature: float = Field(1.0, gt=0.0, description="of the softmax over centroids")
    duplicate_epsilon: float = Field(
        1e-4, ge=0.0, description="least cosine distance between two first centroids"
    )
    adaptive_interests: Literal["fixed", "history_size", "cluster_mass"] = Field(
        "fixed",
        description="slots per user: all K; max(1, min(K, log2 of the history)); or those "
        "that hold at least adaptive_min_mass_share of the mass",
    )
    adaptive_min_mass_share: float = Field(
        0.1,
        ge=0.0,
        lt=1.0,
        description="adaptive_interests cluster_mass: least share of the mass of a slot",
    )
    attention_units: int = Field(
        256, ge=1, description="self_attention: hidden units of the attention (ComiRec-SA: 4 dim)"
    )
    label_attention_power: float = Field(
        20.0, ge=0.0, description="association label_aware: exponent p of MIND's label attention"
    )
    item_clusters: int = Field(32, ge=1, description="pfs: offline clusters of the catalogue")
    item_cluster_method: Literal["kmeans", "ward"] = Field(
        "kmeans", description="pfs: how the catalogue is clustered"
    )
    followed_topics_feature: bool = Field(
        False, description="mean of the followed topics as an input of every user embedding"
    )
    negative_actions: tuple[str, ...] = Field(
        (), description="shell patterns of actions that feed no interest"
    )
    explicit_slots: int = Field(5, ge=1, description="K_ex, followed topics asked per request")
    condition: Literal["source_interest", "item_interest"] = Field(
        "source_interest",
        description="topic of the explicit loss: what served the target, or one of its own",
    )
    joint_association: bool = Field(
        True,
        description="one loss over implicit and explicit slots, as they are served, so that all "
        "scores of a user stand on one scale; false: the paper's two losses, the explicit one "
        "under the source topic. Only for models with both kinds of slots",
    )
    untrained_items: Literal["unknown_id", "own_id"] = Field(
        "unknown_id",
        description="items with fewer training targets than item_min_targets: known by their "
        "topics and features alone, like items that are new at serving; own_id: an id vector "
        "that hardly anything but negatives moves",
    )
    item_min_targets: int = Field(
        1,
        ge=1,
        description="training targets that an item needs for an id vector of its own; of no "
        "effect with untrained_items own_id",
    )
    item_start: Literal["random", "co_occurrence"] = Field(
        "random",
        description="where item vectors start; co_occurrence: an SVD of which items are engaged "
        "with by the same users, for trainings that are short for their data",
    )
    explicit_loss_weight: float = Field(
        0.5, ge=0.0, description="of the explicit loss where joint_association is false"
    )
    association: Literal["best_slot", "argmax", "gumbel", "label_aware"] = Field(
        "best_slot",
        description="argmax: paper Eq. 8-9; best_slot: negatives use their best slot; gumbel: "
        "straight-through Gumbel-softmax; label_aware: MIND's label-aware attention",
    )
    gumbel_temperature: float = Field(1.0, gt=0.0, description="association gumbel")
    history_dropout: float = Field(
        0.3, ge=0.0, lt=1.0, description="dropout of the encoded history"
    )
    input_dropout: float = Field(
        0.15, ge=0.0, lt=1.0, description="dropout of the inputs of the user tower"
    )
    item_id_dropout: float = Field(
        0.05, ge=0.0, lt=1.0, description="share of item ids replaced by an unknown id in training"
    )
    ablation: AblationConfig = Field(
        AblationConfig(), description="what experiments take away or replace"
    )

    @model_validator(mode="after")
    def _slots_have_bits(self) -> ModelConfig:
        slots = self.num_interests + (self.explicit_slots if self.has_explicit_slots else 0)
        if slots > MAX_SLOTS:
            raise ValueError(
                f"num_interests and explicit_slots make {slots} slots; {MAX_SLOTS} at most, "
                "since `found_by` has one bit for each"
            )
        return self

    @property
    def has_explicit_slots(self) -> bool:
        """True where the model has embeddings of followed topics."""
        return self.name == "cr" or self.name.endswith("_cr")

    @property
    def has_both_kinds(self) -> bool:
        """True where the model has implicit and explicit slots."""
        return self.name.endswith("_cr")


class TrainerConfig(BaseConfig):
    """Optimisation, negatives, stopping and warm start."""

    SECTION = "trainer"
    REMOVED = {
        "learning_rate_final_share": Removed(0.05, "a constant of the optimizer"),
        "shuffle_buffer_examples": Removed(100_000, "a constant of the input"),
    }

    batch_size: int = Field(256, ge=1, description="examples per step, of all workers together")
    epochs: int = Field(12, ge=1, description="passes over the training split at most")
    steps_per_epoch: int | None = Field(None, ge=1, description="None: the whole training split")
    learning_rate: float = Field(3e-3, gt=0.0, description="of Adam, at the start")
    lazy_update_min_rows: int = Field(
        50_000,
        ge=0,
        description="embedding tables of at least so many rows are updated only in the rows of "
        "a step, so that a step costs the same for any catalogue; smaller ones by dense Adam",
    )
    temperature: float = Field(0.15, gt=0.0, description="of the softmax over scores")
    uniform_negatives: int = Field(1024, ge=0, description="uniform negatives shared by the batch")
    in_batch_negatives: bool = Field(False, description="the other targets of the batch")
    logq_correction: bool = Field(True, description="subtract log p(item) from in-batch logits")
    item_frequency: Literal["counted", "streaming"] = Field(
        "counted",
        description="p(item) of logQ: counted by Transform, or estimated while training "
        "(Yi et al. 2019)",
    )
    early_stopping_patience: int = Field(3, ge=1, description="epochs without a better validation")
    early_stopping_metric_k: int = Field(50, ge=1, description="k of the validation recall@k")
    validation_max_examples: int = Field(
        5000, ge=1, description="validation examples ranked after each epoch"
    )
    refit: bool = Field(
        False,
        description="train once more, for as many epochs as were best, on training and "
        "validation examples together, which costs about as much again",
    )
    warm_start: bool = Field(True, description="start from the baseline bundle where there is one")
    distribution: Literal["one", "mirrored", "multi_worker"] = Field(
        "one",
        description="mirrored: all devices of this machine; multi_worker: the processes that "
        "TF_CONFIG names, this one as their chief. Every batch is shared out among them",
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32",
        description="of the matrix products of user towers and scores while training; weights, "
        "everything else and the exported model are float32",
    )
    workers_wait_s: int = Field(
        600, ge=1, description="multi_worker: seconds to wait for the other workers at the start"
    )
    seed: int = Field(1, description="everything random follows from it")

    @property
    def product_dtype(self) -> str:
        """The dtype of matrix products while training."""
        return self.precision.removeprefix("mixed_")

    @model_validator(mode="after")
    def _some_negatives(self) -> TrainerConfig:
        if not self.uniform_negatives and not self.in_batch_negatives:
            raise ValueError("set uniform_negatives above 0 or in_batch_negatives to true")
        return self


#: What the name of a column must match that requests filter by.
FILTER_NAME = "[A-Za-z_][A-Za-z0-9_]*"


class RetrievalConfig(BaseConfig):
    """How many candidates, from which slots, and how they are merged."""

    num_results: int = Field(100, ge=1, description="N, merged items where a request does not say")
    max_results: int = Field(1000, ge=1, description="most items that a request may ask for")
    explicit_share: float = Field(
        0.2, ge=0.0, le=1.0, description="share of N for followed topics, when there are any"
    )
    merge: Literal["balanced", "round_robin", "score"] = Field(
        "balanced",
        description="balanced: by score, less what grows as a slot uses up its budget; "
        "round_robin: the slots in turn, within their budgets first; score: by score alone",
    )
    balance: float = Field(
        0.15,
        ge=0.0,
        description="merge balanced: score that a slot has lost once its budget is used up; "
        "0 is merge score, large values come near round_robin",
    )
    agreement: float = Field(
        0.0,
        ge=0.0,
        description="merges balanced and score: temperature at which the scores that several "
        "slots give an item add up (log-sum-exp); 0: its best slot alone",
    )
    neighbours: Literal["off", "rp3beta", "ease"] = Field(
        "off",
        description="a further source beside the slots: items that users of the history's items "
        "engaged with as well, by the floor RP3beta or EASE over training and validation events; "
        "lifts what the slots found and joins what they did not. Not with merge round_robin; ease "
        "for catalogues of up to 15,000 items, larger ones have rp3beta",
    )
    neighbours_per_item: int = Field(
        100, ge=1, description="neighbours kept of each item; fewer where the catalogue is large"
    )
    neighbour_weight: float | None = Field(
        None,
        ge=0.0,
        description="score that a user's best neighbour gains; None: the best of several on "
        "validation examples, 0 (no neighbours) among them",
    )
    implicit_budget: Literal["mass", "equal"] = Field(
        "mass", description="budgets of implicit slots: by routing mass, or equal"
    )
    topic_filter: bool = Field(True, description="explicit slots return items of their topic only")
    exclude_seen: bool = Field(True, description="history items are never returned")
    filters: tuple[str, ...] = Field(
        (),
        description="columns of the items table that requests may filter by: topics, created_at, "
        "further columns as NAME (text) or NAME:number; item_id alone gives allow and deny "
        "lists, which come with any other as well",
    )

    explore_share: float = Field(
        0.0,
        ge=0.0,
        le=0.5,
        description="share of each list for new items, drawn at random and seeded by the request; "
        "0 for none; needs `created_at` of the items",
    )
    delta: bool = Field(
        False,
        description="room beside the index for new, changed and withdrawn items, which "
        "`tessera refresh --delta` publishes without building an index",
    )
    explore_newest: float = Field(
        0.05, gt=0.0, le=1.0, description="share of the catalogue, the newest, that counts as new"
    )

    @model_validator(mode="after")
    def _readable_filters(self) -> RetrievalConfig:
        for name in self.filters:
            if not re.fullmatch(rf"{FILTER_NAME}(:number)?", name):
                raise ValueError(
                    f"filters: {name!r} is no column; give NAME or NAME:number (letters, digits, _)"
                )
        names = [name.split(":")[0] for name in self.filters]
        if len(set(names)) < len(names):
            raise ValueError(f"filters: a column occurs twice in {', '.join(self.filters)}")
        for name in ("title:number", "topics:number", "item_id:number", "title"):
            if name in self.filters:
                raise ValueError(f"filters: {name} cannot be filtered by")
        return self

    def filter_columns(self) -> dict[str, Literal["text", "number"]]:
        """Returns the columns that conditions may name; `item_id` has its own inputs."""
        columns: dict[str, Literal["text", "number"]] = {}
        for given in self.filters:
            name, _, kind = given.partition(":")
            if name != "item_id":
                columns[name] = "number" if kind or name == "created_at" else "text"
        return columns

    def attribute_columns(self) -> tuple[str, ...]:
        """Returns the columns of the items table, beside topics, that the index must know."""
        columns = dict.fromkeys(name for name in self.filter_columns() if name != "topics")
        if self.explore_share:
            columns["created_at"] = None
        return tuple(columns)

    @field_validator("neighbours", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        """YAML reads a bare `off` as false."""
        return "off" if value is False else value

    @property
    def weighs_neighbours(self) -> bool:
        """Whether validation chooses the weight of the neighbours."""
        return self.neighbours != "off" and self.neighbour_weight is None

    @model_validator(mode="after")
    def _neighbours_have_scores(self) -> RetrievalConfig:
        if self.neighbours != "off" and self.merge == "round_robin":
            raise ValueError(
                "neighbours need a merge by score: set merge to balanced or score, or "
                "neighbours to off"
            )
        return self

    @model_validator(mode="after")
    def _within_the_most(self) -> RetrievalConfig:
        if self.num_results > self.max_results:
            raise ValueError(
                f"num_results ({self.num_results}) must not exceed max_results ({self.max_results})"
            )
        return self
