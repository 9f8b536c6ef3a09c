"""Synthetic tables with known latent interests."""

from tables.generate.config import GeneratorConfig
from tables.generate.simulate import Generated, generate
from tables.generate.write import write_generated

__all__ = ["Generated", "GeneratorConfig", "generate", "write_generated"]
