"""Get sound and weights: download, checks, the miniature, weights."""
