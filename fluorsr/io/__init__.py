"""Images from and to files."""
