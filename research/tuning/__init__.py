"""A small hyper-parameter search, the same for every model."""
