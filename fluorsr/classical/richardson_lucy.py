"""Richardson-Lucy deconvolution (Richardson 1972, Lucy 1974) with a Gaussian spot, at the output's pixels.

    x <- x * K^T(y / K x)        y the measured light, K the blur; K is symmetric, so K^T is K

It multiplies, so it takes light that is not negative: tiles are clipped at 0, the image's low percentile, which is its
background. One iteration carries a pixel's influence by two kernel radii; the halo counts them all.
"""

from __future__ import annotations

import math

from torch import Tensor

from fluorsr.classical.bicubic import upsample
from fluorsr.errors import InputError
from fluorsr.optics.psf import gaussian_blur, gaussian_radius
from fluorsr.restorer import RestorerSpec

FLOOR = 1e-6
"""Smallest blurred light divided by, in the normalised range."""


class RichardsonLucy:
    """Restorer: bicubic interpolation to the output's pixels, then Richardson-Lucy there.

    fwhm_px      width of the spot in input pixels
    iterations   more are sharper and noisier
    max_halo     input pixels kept around a tile; where the true reach is wider the restorer says that it is not exact
    Raises InputError for a width that is not positive or less than one iteration.
    """

    def __init__(self, fwhm_px: float, iterations: int = 10, scale: int = 2, max_halo: int = 128) -> None:
        if not fwhm_px > 0 or iterations < 1:
            raise InputError(
                f"Richardson-Lucy needs fwhm_px above 0 and iterations of at least 1, not {fwhm_px}, {iterations}"
            )
        self.iterations = iterations
        self.fwhm_px = fwhm_px
        self._radius = gaussian_radius(fwhm_px * scale, sigmas=3.0)
        reach = math.ceil(2 * iterations * self._radius / scale) + (2 if scale > 1 else 0)
        self._spec = RestorerSpec(
            name=f"richardson-lucy-{iterations}-x{scale}",
            scale=scale,
            halo=min(reach, max_halo),
            exact=reach <= max_halo,
        )

    @property
    def spec(self) -> RestorerSpec:
        return self._spec

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        """See fluorsr.restorer.Restorer."""
        measured = upsample(tiles, self._spec.scale).clamp(min=0)
        estimate = measured.clamp(min=FLOOR)
        width = self.fwhm_px * self._spec.scale
        for _ in range(self.iterations):
            blurred = gaussian_blur(estimate, width, radius=self._radius).clamp(min=FLOOR)
            estimate = estimate * gaussian_blur(measured / blurred, width, radius=self._radius)
        return estimate
