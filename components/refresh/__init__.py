"""Components of the refresh pipeline."""
