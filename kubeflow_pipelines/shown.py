"""Which tasks show what on Kubeflow's pages."""

from __future__ import annotations

METRICS, HTML = "system.Metrics", "system.HTML"
#: Component -> output key -> Kubeflow's type; `task.shown` makes them.
SHOWN = {
    "RetrievalEvaluator": {"metrics": METRICS},
    "ServingValidator": {"metrics": METRICS},
    "Pusher": {"report": HTML},
    "CatalogueRefresh": {"report": HTML},
}
#: Component -> input key -> (producer, its output): what a page needs beside the task's own inputs.
READ = {"Pusher": {"verdict": ("DataGate", "verdict")}}
#: Of the types, as kfp's own components are compiled.
TYPE_VERSION = "0.0.1"
