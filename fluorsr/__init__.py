"""fluorsr: super-resolution for fluorescence microscopy."""

__version__ = "0.1.0"
