"""Models out of Python."""
