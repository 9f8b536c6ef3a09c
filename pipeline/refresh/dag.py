"""The short pipeline: a new item table over the published model, without training.

published bundle ── BundleSource ─┬─ model ────────────┐
                                  └─ requests ─┐       │
items table ───────────────────── CatalogueGen ┴─ IndexBuilder ─ ServingValidator ─ Pusher
"""

from __future__ import annotations

from tfx.dsl.components.base.base_node import BaseNode

from components.config import PusherConfig
from components.pusher.component import Pusher
from components.pusher.push import ManifestFields
from components.refresh.bundle_source.component import BundleSource
from components.refresh.catalogue_gen.component import CatalogueGen
from components.refresh.catalogue_gen.config import CatalogueGenConfig
from components.refresh.index_refresh.component import IndexRefresh
from components.serving_validator.component import ServingValidator
from core.digest import code_digest, json_digest
from core.secrets import without_secrets
from pipeline.config import RunConfig
from pipeline.dag import Paths
from pipeline.refresh.resolve import Refresh

_CATALOGUE_CODE = ("core", "input_tables", "components", "trainer/features.py")
_SERVING_CODE = ("core", "trainer", "components")
#: Code that a manifest names, as the whole pipeline's manifests do.
_PUBLISHED_CODE = ("core", "input_tables", "components", "trainer")


def build_refresh_components(refresh: Refresh, paths: Paths) -> list[BaseNode]:
    """Builds the chain from the published bundle and the items table to a new version.

    Args:
      refresh: what `pipeline.refresh.resolve.resolve_refresh` returned.
      paths: places that the runner chose.

    Returns:
      Components in execution order.
    """
    config = refresh.config
    serving_code = code_digest(_SERVING_CODE)
    published_code = code_digest(_PUBLISHED_CODE)
    source = BundleSource(
        serving_dir=paths.serving_dir,
        name=config.name,
        version=refresh.parent.version,
        manifest_digest=refresh.parent.manifest.manifest_digest,
        code_digest=serving_code,
    )
    catalogue = _catalogue_gen(config, paths, source)
    index = IndexRefresh(
        model=source.outputs["model"],
        examples=catalogue.outputs["examples"],
        report=catalogue.outputs["report"],
        bundle=source.outputs["bundle"],
        config_json=config.index.canonical_json(),
        retrieval_json=config.retrieval.canonical_json(),
        published_code=published_code,
        code_digest=serving_code,
    ).with_id("IndexBuilder")
    validator = ServingValidator(
        index=index.outputs["index"],
        examples=catalogue.outputs["examples"],
        config_json=config.serving.canonical_json(),
        code_digest=serving_code,
    )
    pusher = Pusher(
        index=index.outputs["index"],
        model=source.outputs["model"],
        evaluation=source.outputs["evaluation"],
        blessing=source.outputs["blessing"],
        validation=validator.outputs["validation"],
        serving_dir=paths.serving_dir,
        name=config.name,
        config_json=pusher_config(refresh).canonical_json(),
        manifest_json=manifest_fields(refresh, published_code).canonical_json(),
        code_digest=serving_code,
    )
    return [source, catalogue, index, validator, pusher]


def _catalogue_gen(config: RunConfig, paths: Paths, source: BaseNode) -> CatalogueGen:
    run_date = config.data.run_date
    settings = CatalogueGenConfig(
        data=config.data.model_copy(update={"root": paths.data_root}),
        time_unit=config.examples.time_unit,
        attributes=config.retrieval.attribute_columns(),
        max_bad_share=config.examples.max_bad_share,
        max_removed_share=config.refresh.max_removed_share,
    )
    return CatalogueGen(
        bundle=source.outputs["bundle"],
        data_root=paths.data_root,
        run_date=run_date.isoformat() if run_date else "",
        config_json=settings.canonical_json(),
        dead_letter_dir=paths.dead_letter_dir,
        code_digest=code_digest(_CATALOGUE_CODE),
    )


def pusher_config(refresh: Refresh) -> PusherConfig:
    """Returns how the new version is published.

    Where labels say what is served, a new version takes nothing away from a later day's:
    it is published, and served when somebody promotes it. Nor does it matter to somebody
    who names the version to refresh.
    """
    config = refresh.config.pusher
    if refresh.served_labels or refresh.config.refresh.version is not None:
        return config.model_copy(update={"allow_older_span": True})
    return config


def manifest_fields(refresh: Refresh, published_code: str) -> ManifestFields:
    """Returns what the new manifest records: the model's origin, as the parent's did.

    A later training therefore finds the version as its baseline where it would have found
    the parent.
    """
    parent = refresh.parent.manifest
    dumped = without_secrets(refresh.config.model_dump(mode="json"))
    return ManifestFields(
        training_digest=parent.training_digest,
        config_digest=json_digest(dumped),
        code_digest=published_code,
        span=parent.span,
        data_fingerprint=parent.data_fingerprint,
        data_root=parent.data_root,
        time_unit=parent.time_unit,
        primary_metric=parent.primary_metric,
        baseline_version=parent.baseline_version,
        refreshed_from=parent.version,
        model_version=parent.model_version or parent.version,
        config=dumped,
    )
