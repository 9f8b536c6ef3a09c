"""Multi-interest models of a public PyTorch library beside ours, in the same run."""
