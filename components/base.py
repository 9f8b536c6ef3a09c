"""What the components of this package share: their bases, and reading artifacts by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

from tfx import types
from tfx.dsl.components.base import base_beam_component, base_component, base_driver
from tfx.orchestration import data_types_utils, metadata
from tfx.orchestration.portable import base_driver as portable_base_driver
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

Artifacts: TypeAlias = dict[str, list[types.Artifact]]
Properties: TypeAlias = dict[str, Any]


def channels(*, optional: bool = False, **artifact_types: type) -> dict[str, ChannelParameter]:
    """Returns the channels of a ComponentSpec by name.

    Args:
      optional: whether a node may be built without them.
      **artifact_types: type of artifact by channel.
    """
    return {
        key: ChannelParameter(type=kind, optional=optional) for key, kind in artifact_types.items()
    }


def parameters(*texts: str, **others: type) -> dict[str, ExecutionParameter]:
    """Returns the parameters of a ComponentSpec by name.

    Args:
      *texts: names of those that are strings.
      **others: type by name of the others.
    """
    kinds = {**dict.fromkeys(texts, str), **others}
    return {name: ExecutionParameter(type=kind) for name, kind in kinds.items()}


class Component(base_component.BaseComponent):
    """A node that is built from the channels and parameters of its `SPEC_CLASS`."""

    #: Parameters that need not be given.
    DEFAULTS: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, **given: Any) -> None:
        """Builds the node.

        Args:
          **given: input channels and parameters of `SPEC_CLASS`, which the docstring of each
            component explains; an optional one may be None. Outputs are made here.

        Raises:
          TypeError: one that the component does not have, or of another type.
          ValueError: one is missing.
        """
        spec = self.SPEC_CLASS
        if unknown := given.keys() - spec.INPUTS.keys() - spec.PARAMETERS.keys():
            raise TypeError(f"{type(self).__name__} takes no {', '.join(sorted(unknown))}")
        outputs = {key: types.Channel(type=output.type) for key, output in spec.OUTPUTS.items()}
        chosen = {key: value for key, value in given.items() if value is not None}
        super().__init__(spec=spec(**{**self.DEFAULTS, **chosen, **outputs}))


class BeamComponent(Component, base_beam_component.BaseBeamComponent):
    """A `Component` whose executor runs Beam pipelines."""


class KeyedDriver(base_driver.BaseDriver, portable_base_driver.BaseDriver):
    """Adds properties to the execution before TFX looks into its cache, whose key they enter."""

    def __init__(self, mlmd_connection: metadata.Metadata) -> None:
        base_driver.BaseDriver.__init__(self, mlmd_connection)
        portable_base_driver.BaseDriver.__init__(self, mlmd_connection)
        self.connection = mlmd_connection

    def key(self, properties: Properties, inputs: Artifacts) -> dict[str, int | str]:
        """Returns what is added.

        Args:
          properties: of the execution so far.
          inputs: artifacts by channel.
        """
        raise NotImplementedError

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """See base class."""
        result = driver_output_pb2.DriverOutput()
        key = self.key(execution_info.exec_properties, execution_info.input_dict)
        for name, value in key.items():
            data_types_utils.set_metadata_value(result.exec_properties[name], value)
        return result


def only(artifacts: Artifacts, key: str) -> types.Artifact:
    """Returns a channel's only artifact.

    Raises:
      KeyError: the channel is not there.
      ValueError: it has none, or several.
    """
    return artifact_utils.get_single_instance(artifacts[key])


def uri(artifacts: Artifacts, key: str) -> str:
    """Returns the URI of a channel's only artifact; raises as `only` does."""
    return str(only(artifacts, key).uri)


def mark(artifact: types.Artifact, **values: bool | int | float | str) -> None:
    """Sets custom properties of an artifact; a bool becomes 0 or 1."""
    for name, value in values.items():
        if isinstance(value, str):
            artifact.set_string_custom_property(name, value)
        elif isinstance(value, float):
            artifact.set_float_custom_property(name, value)
        else:
            artifact.set_int_custom_property(name, int(value))
