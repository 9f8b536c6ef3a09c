"""The three canonical tables: contract, reading, generation and import."""
