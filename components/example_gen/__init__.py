"""Tables to training examples: validate, join by user, split, write Parquet."""
