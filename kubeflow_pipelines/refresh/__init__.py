"""A refresh as one task: what it is planned with is known only when it starts."""
