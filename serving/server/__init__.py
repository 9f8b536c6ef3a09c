"""A local model server: TensorFlow Serving's APIs over published bundles, for development.

It answers the same requests with the same errors as TensorFlow Serving and swaps
versions by the same rules, but it neither batches requests nor speaks TLS.
"""
