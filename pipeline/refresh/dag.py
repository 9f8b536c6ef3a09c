"""The short pipeline: a new item table over the published model, without training.

published bundle ── BundleSource ─┬─ model ────────────┐
                                  └─ requests ─┐       │
items table ───────────────────── CatalogueGen ┴─ IndexBuilder ─ ServingValidator ─ Pusher
"""

from __future__ import annotations

from tfx.dsl.components.base.base_node import BaseNode

from components.pusher.component import Pusher
from components.refresh.bundle_source.component import BundleSource
from components.refresh.catalogue_gen.component import CatalogueGen
from components.refresh.catalogue_gen.config import CatalogueGenConfig
from components.refresh.index_refresh.component import IndexRefresh
from components.serving_validator.component import ServingValidator
from core.digest import code_digest
from pipeline.config import RunConfig
from pipeline.dag import Paths
from pipeline.refresh.fields import manifest_fields, pusher_config
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
        features=config.features,
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
