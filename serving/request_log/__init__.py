"""What was asked and answered, for `tessera monitor`: format, writer, readers."""
