"""Tasks: what one is, synthetic and image sources, and readers of files on disk."""
