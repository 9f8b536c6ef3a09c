"""Experiments: many models on equal data, compared by one evaluator."""
