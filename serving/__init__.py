"""What a deployment needs."""
