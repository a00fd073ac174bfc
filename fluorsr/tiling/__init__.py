"""One global grid of tiles, and the cutting and blending on it."""
