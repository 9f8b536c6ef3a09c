"""From a user's embeddings to one merged list of items, inside one TensorFlow graph."""
