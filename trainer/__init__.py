"""Everything TensorFlow: features, towers, interests, losses, retrieval and export."""
