"""Takes the model and the requests of a published bundle, to build a new index for it."""
