"""New, changed and withdrawn items beside the index of a published version."""
