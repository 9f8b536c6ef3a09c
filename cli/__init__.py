"""One module per command of `tessera`."""
