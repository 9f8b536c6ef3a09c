"""Measures a retriever as it is served, compares it and decides on its blessing."""
