"""Further columns of items and users that tell of their latent interests, with noise and gaps.

They are drawn from streams of their own, so the tables beside them stay as they are without.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from input_tables.generate.config import GeneratorConfig

#: Share of the values that are missing, and of the others that tell the truth.
_MISSING, _TRUE = 0.1, 0.8
#: Tags of an interest.
_TAGS = 4
EMBEDDING_SIZE = 8
#: Spread of a number and of an embedding around what is typical of the interest.
_YEARS, _NOISE = 4.0, 0.4


def add_item_features(config: GeneratorConfig, items: pa.Table, truth: pa.Table) -> pa.Table:
    """Adds `studio`, `tags`, `year` and `embedding` to the items.

    Args:
      config: its seed decides the values.
      items: the items.
      truth: their interests, in the same order.
    """
    rng = np.random.default_rng([config.seed, 3])
    interest = truth["interest"].to_numpy()
    interests, rows = int(interest.max(initial=0)) + 1, len(interest)
    seems = _mostly(rng, interest, interests)
    own = _TAGS * seems[:, np.newaxis] + rng.integers(0, _TAGS, (rows, 2))
    tags = np.concatenate([own, rng.integers(0, _TAGS * interests, (rows, 1))], axis=1)
    typical = rng.integers(1960, 2021, interests)
    years = np.rint(typical[interest] + rng.normal(0.0, _YEARS, rows)).astype(np.int64)
    centres = rng.normal(size=(interests, EMBEDDING_SIZE))
    vectors = centres[interest] + rng.normal(0.0, _NOISE, (rows, EMBEDDING_SIZE))
    columns = {
        "studio": _words("studio {}", _mostly(rng, interest, interests)),
        "tags": _lists(_words("tag {}", tags.ravel()), 3),
        "year": pa.array(years),
        "embedding": _lists(pa.array(vectors.ravel(), pa.float32()), EMBEDDING_SIZE),
    }
    for name, column in columns.items():
        items = items.append_column(name, _with_gaps(rng, column))
    return items


def user_features(config: GeneratorConfig, truth: pa.Table, portion: int) -> pa.Table:
    """Returns `user_id`, `region` and `age`, which lean on the user's strongest interest.

    Args:
      config: its seed decides the values.
      truth: interests of some users with their weights.
      portion: number of these users' portion.
    """
    rng = np.random.default_rng([config.seed, 4, portion])
    ids = truth["user_id"].to_numpy().astype(str)
    interest = truth["interest"].to_numpy()
    order = np.lexsort((-truth["weight"].to_numpy(), ids))
    first = order[np.unique(ids[order], return_index=True)[1]]
    strongest = interest[first]
    regions = int(config.topics * config.styles_per_topic)
    ages = np.clip(rng.normal(20 + strongest * 50.0 / regions, 4.0), 12, 90).astype(np.int64)
    return pa.table(
        {
            "user_id": pa.array(ids[first]),
            "region": _with_gaps(rng, _words("region {}", _mostly(rng, strongest, regions))),
            "age": _with_gaps(rng, pa.array(ages)),
        }
    )


def _mostly(rng: np.random.Generator, interest: np.ndarray, interests: int) -> np.ndarray:
    """Returns the interests, but for some that are any other."""
    other = rng.integers(0, interests, len(interest))
    return np.where(rng.random(len(interest)) < _TRUE, interest, other)


def _words(pattern: str, codes: np.ndarray) -> pa.Array:
    return pa.array([pattern.format(code) for code in codes])


def _lists(values: pa.Array, size: int) -> pa.Array:
    offsets = pa.array(np.arange(0, len(values) + 1, size), pa.int32())
    return pa.ListArray.from_arrays(offsets, values)


def _with_gaps(rng: np.random.Generator, column: pa.Array) -> pa.Array:
    there = np.flatnonzero(rng.random(len(column)) >= _MISSING)
    place = np.full(len(column), -1)
    place[there] = there
    return column.take(pa.array(place, mask=place < 0))
