"""Embeds the catalogue, builds the search index and writes the served retriever."""
