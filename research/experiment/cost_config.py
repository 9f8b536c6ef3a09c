"""What the cost experiment measures: a base point and the axes that leave it.

Free of TensorFlow, so that a wrong value is refused before anything heavy loads.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from core.config import BaseConfig
from trainer.config import ModelConfig

AxisName = Literal["history_length", "num_interests", "items", "batch_size"]
#: The axes in the order of the table.
AXES: tuple[AxisName, ...] = ("history_length", "num_interests", "items", "batch_size")
_Positive = Annotated[int, Field(ge=1)]


class CostPoint(BaseConfig):
    """One point: a model's sizes."""

    history_length: int = Field(50, ge=1, description="items in every history")
    num_interests: int = Field(7, ge=1, description="K, implicit slots")
    items: int = Field(20_000, ge=100, description="items of the catalogue")
    batch_size: int = Field(1024, ge=1)
    embedding_dim: int = Field(64, ge=2)
    negatives: int = Field(1024, ge=1, description="uniform negatives shared by the batch")


class CostAxes(BaseConfig):
    """Values of each axis; the base point's own value is measured as well."""

    history_length: tuple[_Positive, ...] = (20, 50, 100, 200, 500)
    num_interests: tuple[_Positive, ...] = (1, 2, 4, 8, 16)
    items: tuple[Annotated[int, Field(ge=100)], ...] = (10_000, 100_000, 1_000_000)
    batch_size: tuple[_Positive, ...] = (256, 1024, 4096)


class CostConfig(BaseConfig):
    """The cost experiment: models, base point, axes and how long each point is measured."""

    models: tuple[str, ...] = Field(("two_tower", "dcm", "dcm_cr"), min_length=1)
    base: CostPoint = CostPoint()
    axes: CostAxes = CostAxes()
    axes_of: dict[str, tuple[AxisName, ...]] = Field(
        {}, description="axes along which a model is measured; all for a model not named here"
    )
    seconds_per_point: float = Field(6.0, gt=0.0, description="training steps, after warm-up")
    warm_up_steps: int = Field(3, ge=1, description="first steps, which trace and allocate")
    requests: int = Field(200, ge=10, description="serving requests of batch 1, after warm-up")
    num_results: int = Field(100, ge=1, description="N, merged items per request")

    @field_validator("models")
    @classmethod
    def _known_models(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for name in models:
            ModelConfig.model_validate({"name": name})
        return models

    @model_validator(mode="after")
    def _axes_of_measured_models(self) -> CostConfig:
        unknown = sorted(set(self.axes_of) - set(self.models))
        if unknown:
            raise ValueError(f"axes_of names {unknown[0]!r}, which is not one of models")
        return self

    def rows(self) -> list[tuple[str, AxisName, CostPoint]]:
        """Returns the rows of the table: model, axis and point, one axis varied at a time.

        A model with one slot has no axis `num_interests`.
        """
        found: list[tuple[str, AxisName, CostPoint]] = []
        for model in self.models:
            for axis in AXES:
                if axis not in self.axes_of.get(model, AXES):
                    continue
                if axis == "num_interests" and has_one_interest(model):
                    continue
                own = getattr(self.base, axis)
                for value in sorted({own, *getattr(self.axes, axis)}):
                    found.append((model, axis, self.base.model_copy(update={axis: value})))
        return found


def has_one_interest(model: str) -> bool:
    """Returns whether a model has at most one implicit slot, whatever K is."""
    return model.removesuffix("_cr") == "two_tower" or model == "cr"
