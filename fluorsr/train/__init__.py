"""One training loop; objectives that own their step; recipes."""
