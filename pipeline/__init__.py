"""Configuration, the pipeline definition, its runners and the command line."""
