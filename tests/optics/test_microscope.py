"""The microscope's settings are checked as a whole."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fluorsr.optics.microscope import Microscope


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"numerical_aperture": 1.52}, "numerical_aperture 1.52 must be below index_immersion 1.515: no light enters"),
        ({"index_coverslip": 1.39}, "numerical_aperture 1.4 must be below index_coverslip 1.39"),
        ({"excitation_nm": 600}, "excitation_nm 600.0 must not exceed emission_nm 520.0; are they swapped"),
        ({"emission_nm": 0.52}, "greater than or equal to 200"),
        ({"pinhole_airy_units": -1}, "greater than or equal to 0"),
        ({"na": 1.4}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Microscope(**settings)


def test_a_sample_of_low_index_limits_the_aperture() -> None:
    microscope = Microscope(numerical_aperture=1.49, index_sample=1.33)
    assert microscope.aperture == 1.33
    assert Microscope(numerical_aperture=1.2).airy_unit_um == pytest.approx(1.22 * 0.52 / 1.2)
