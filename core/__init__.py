"""What every Tessera package shares: errors, configuration base, digests, staged writes, progress."""
