"""The forward model of a microscope: point spread functions and the camera."""
