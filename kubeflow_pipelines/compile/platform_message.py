"""The message that describes a pod to the backend, as far as it is used here.

kfp-kubernetes 1.0 is the last that goes with kfp 2.5, which TFX 1.16 needs; its
`KubernetesExecutorConfig` knows secrets, claims and node selectors alone. The rest has been in
it since kfp-kubernetes 1.1 to 1.5, and every backend that runs the compiled file (2.14 and later)
reads it. Names and types are those of
kubernetes_platform/proto/kubernetes_executor_config.proto of Kubeflow Pipelines.
"""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FILE = "tessera/kubernetes_executor_config.proto"
_PACKAGE = "tessera_kubernetes"
_Kind = descriptor_pb2.FieldDescriptorProto
#: Message -> field -> type; `[]`: repeated, `{}`: texts by text, a name of here: a message.
_MESSAGES: dict[str, dict[str, str]] = {
    "KubernetesExecutorConfig": {
        "secret_as_volume": "SecretAsVolume[]",
        "secret_as_env": "SecretAsEnv[]",
        "pvc_mount": "PvcMount[]",
        "node_selector": "NodeSelector",
        "pod_metadata": "PodMetadata",
        "image_pull_secret": "ImagePullSecret[]",
        "config_map_as_volume": "ConfigMapAsVolume[]",
        "config_map_as_env": "ConfigMapAsEnv[]",
        "active_deadline_seconds": "int",
        "tolerations": "Toleration[]",
        "generic_ephemeral_volume": "GenericEphemeralVolume[]",
        "node_affinity": "NodeAffinityTerm[]",
        "empty_dir_mounts": "EmptyDirMount[]",
    },
    "SecretAsVolume": {"secret_name": "text", "mount_path": "text"},
    "SecretAsEnv": {"secret_name": "text", "key_to_env": "SecretKeyToEnv[]"},
    "SecretKeyToEnv": {"secret_key": "text", "env_var": "text"},
    "ConfigMapAsVolume": {"config_map_name": "text", "mount_path": "text"},
    "ConfigMapAsEnv": {"config_map_name": "text", "key_to_env": "ConfigMapKeyToEnv[]"},
    "ConfigMapKeyToEnv": {"config_map_key": "text", "env_var": "text"},
    "PvcMount": {"constant": "text", "mount_path": "text"},
    "NodeSelector": {"labels": "{}"},
    "PodMetadata": {"labels": "{}", "annotations": "{}"},
    "ImagePullSecret": {"secret_name": "text"},
    "Toleration": {
        "key": "text",
        "operator": "text",
        "value": "text",
        "effect": "text",
        "toleration_seconds": "int",
    },
    "GenericEphemeralVolume": {
        "volume_name": "text",
        "mount_path": "text",
        "access_modes": "text[]",
        "size": "text",
        "default_storage_class": "bool",
        "storage_class_name": "text",
    },
    "NodeAffinityTerm": {"match_expressions": "SelectorRequirement[]", "weight": "int32"},
    "SelectorRequirement": {"key": "text", "operator": "text", "values": "text[]"},
    "EmptyDirMount": {
        "volume_name": "text",
        "mount_path": "text",
        "medium": "text",
        "size_limit": "text",
    },
}
_SCALARS = {
    "text": _Kind.TYPE_STRING,
    "int": _Kind.TYPE_INT64,
    "int32": _Kind.TYPE_INT32,
    "bool": _Kind.TYPE_BOOL,
}


@functools.cache
def executor_config_class() -> Any:
    """Returns the class of the message, for strict parsing of its JSON form."""
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            _add_field(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"{_PACKAGE}.KubernetesExecutorConfig")
    return message_factory.MessageFactory(pool).GetPrototype(found)


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    if kind == "{}":
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", 1, "text")
        _add_field(entry, "value", 2, "text")
        kind = f"{message.name}.{entry.name}[]"
    single = kind.removesuffix("[]")
    field = message.field.add(name=name, number=number)
    field.label = _Kind.LABEL_REPEATED if kind.endswith("[]") else _Kind.LABEL_OPTIONAL
    if single in _SCALARS:
        field.type = _SCALARS[single]
    else:
        field.type = _Kind.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{single}"
