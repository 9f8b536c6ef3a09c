"""Names of raw and transformed features: the one place where they are spelled.

Raw features are what `RetrievalExampleGen` writes and what a serving request
holds; transformed features are what the transform graph makes of them. Lists
about a user's history and follows are NEWEST FIRST everywhere.
"""

from __future__ import annotations

USER_ID = "user_id"
TIMESTAMP = "timestamp"
HISTORY_ITEM_ID = "history_item_id"
HISTORY_TIMESTAMP = "history_timestamp"
HISTORY_ACTION = "history_action"
FOLLOWED_TOPIC = "followed_topic"
ITEM_ID = "item_id"
ITEM_TOPICS = "item_topics"
ACTION = "action"
SOURCE = "source"
SOURCE_TOPIC = "source_topic"
SOURCE_TOPIC_DERIVED = "source_topic_derived"

#: What a request holds (and what every training example holds of its user).
USER_FEATURES = (TIMESTAMP, HISTORY_ITEM_ID, HISTORY_TIMESTAMP, HISTORY_ACTION, FOLLOWED_TOPIC)
#: What the item tower reads.
ITEM_FEATURES = (ITEM_ID, ITEM_TOPICS)

#: int64 features; every other raw feature is bytes.
INT_FEATURES = (TIMESTAMP, HISTORY_TIMESTAMP, SOURCE_TOPIC_DERIVED)

#: Raw features with exactly one value per row; every other one is a list.
DENSE_FEATURES = (USER_ID, TIMESTAMP, ITEM_ID)

#: Column order of the raw examples.
RAW_FEATURES = (
    USER_ID,
    TIMESTAMP,
    HISTORY_ITEM_ID,
    HISTORY_TIMESTAMP,
    HISTORY_ACTION,
    FOLLOWED_TOPIC,
    ITEM_ID,
    ITEM_TOPICS,
    ACTION,
    SOURCE,
    SOURCE_TOPIC,
    SOURCE_TOPIC_DERIVED,
)

#: Columns of a run with `features:`, beside those above: texts `name=value` of the features
#: that the item, or the user, has a value for (`trainer.feature_values`).
ITEM_VALUES = "item_features"
USER_VALUES = "user_features"
VALUE_FEATURES = (ITEM_VALUES, USER_VALUES)

#: Training alone: targets of the global batch, in the slice of each replica of several.
BATCH_TARGETS = "batch_targets"

TRAIN_SPLIT = "train"
VALIDATION_SPLIT = "validation"
EVAL_SPLIT = "eval"
CORPUS_SPLIT = "corpus"
SPLITS = (TRAIN_SPLIT, VALIDATION_SPLIT, EVAL_SPLIT, CORPUS_SPLIT)


def transformed_name(raw_name: str) -> str:
    """Returns the name that the transform graph gives to a feature."""
    return f"{raw_name}_xf"
