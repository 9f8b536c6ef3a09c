"""What was served beside what was trained on: figures, bounds, a page."""
