"""Where Beam runs: what the engines of the presets in `conf/beam` need of this repository."""
