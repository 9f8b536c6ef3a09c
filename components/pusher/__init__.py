"""Publishes a blessed retriever as a new, immutable version of a bundle."""
