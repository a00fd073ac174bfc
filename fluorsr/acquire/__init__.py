"""Live restoration beside a microscope."""

from fluorsr.acquire.live import Acquired, acquire

__all__ = ["Acquired", "acquire"]
