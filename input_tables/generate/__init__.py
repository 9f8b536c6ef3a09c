"""Synthetic tables with known latent interests."""

from input_tables.generate.config import GeneratorConfig
from input_tables.generate.simulate import Generated, generate
from input_tables.generate.write import write_generated

__all__ = ["Generated", "GeneratorConfig", "generate", "write_generated"]
