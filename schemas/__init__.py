"""Curated TFMD schemas of the raw examples."""
