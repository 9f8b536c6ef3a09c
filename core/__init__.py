"""What every package shares: errors, configuration base, digests, staged writes, progress."""
