"""Commands that print performance figures, each with a peer beside it."""
