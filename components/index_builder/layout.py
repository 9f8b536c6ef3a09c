"""Names of the files and folders of a RetrievalIndex."""

from __future__ import annotations

#: SavedModel with stock ops, exact search.
RETRIEVER = "retriever"
#: The same signatures over a ScaNN index, with ScaNN's ops.
SCANN_RETRIEVER = "retriever_scann"
#: ScaNN's native index.
NATIVE_INDEX = "scann"
#: With `index.shards`: a SavedModel per shard (`shards/0`, ...), and the router's.
SHARDS = "shards"
ROUTER = "router"
ITEMS_FILE = "items.parquet"
#: What requests filter by, where `retrieval.filters` names columns: a column of text each.
ATTRIBUTES_FILE = "item_attributes.parquet"
#: Neighbours of each item, where `retrieval.neighbours` is on and pays.
NEIGHBOURS_FILE = "item_neighbours.parquet"
EMBEDDINGS_FILE = "item_embeddings.npy"
#: Beside an index with a delta: its items as in ITEMS_FILE, and what requests filter them by.
DELTA_ITEMS = "delta_items.parquet"
DELTA_ATTRIBUTES = "delta_attributes.parquet"
#: Ids of ITEMS_FILE that are withdrawn or changed.
DELTA_GONE = "delta_gone.parquet"
INDEX_FILE = "index.json"
