"""How good restorations are: over files, over many images and methods, and without a truth."""
