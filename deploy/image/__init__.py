"""The pipeline image: its size and what is left out."""
