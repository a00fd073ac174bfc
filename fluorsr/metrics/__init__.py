"""How good is a restored image: one file, one metric."""
