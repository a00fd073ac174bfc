"""Stripes in a file: what was measured comes back, and a file that is wrong or another microscope's is told why."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from fluorsr.classical.registry import WienerSimMethod, make_method
from fluorsr.classical.sim_autocorrelation import measure_stripes
from fluorsr.classical.sim_parameters import NoStripesError, estimate_parameters
from fluorsr.classical.sim_stripes import Stripes, settled
from fluorsr.classical.wiener_sim import WienerSim
from fluorsr.errors import FormatError, InputError, StorageError
from fluorsr.models.load import load

FIT = {"angles": 3, "beams": 3, "pixel_size_um": 0.06, "cutoff_per_um": 5.3}


@pytest.fixture(scope="module")
def stripes(three_beams) -> Stripes:
    return Stripes.measured(estimate_parameters(three_beams.frames, three_beams.optics), three_beams.optics, "b.tif")


@pytest.fixture
def file(stripes: Stripes, tmp_path: Path) -> Path:
    stripes.save(tmp_path / "scope.json")
    return tmp_path / "scope.json"


def changed(file: Path, **entries: object) -> Path:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))
    return file


def test_a_reader_finds_what_was_drawn_and_a_program_the_same(stripes: Stripes, file: Path, three_beams) -> None:
    assert Stripes.read(file) == stripes
    lines = file.read_text().splitlines()
    assert lines[1:6] == [
        ' "format": "fluorsr stripes 1",',
        ' "source": "b.tif",',
        ' "pixel_size_um": 0.06,',
        ' "beams": 3,',
        ' "phases": 5,',
    ]
    assert max(map(len, lines)) < 100
    first = json.loads(file.read_text())["angles"][0]
    assert first["period_nm"] == pytest.approx(494.0, rel=1e-3)
    assert first["angle_deg"] == pytest.approx(math.degrees(0.25), abs=0.05)
    assert len(first["phases_deg"]) == 5
    assert len(first["modulation"]) == 2
    assert first["clarity"] > 3
    true = three_beams.stripes.wave_per_um.reshape(3, 5, 2)[:, 0]
    np.testing.assert_allclose(stripes.vectors("wiener-sim", **FIT), true, rtol=2e-3, atol=2e-3)


def test_what_fits_another_microscope_is_refused_with_all_that_differs(stripes: Stripes) -> None:
    assert len(stripes.vectors("wiener-sim", **FIT | {"pixel_size_um": 0.0604})) == 3
    with pytest.raises(InputError) as caught:
        stripes.vectors("wiener-sim", angles=2, beams=2, pixel_size_um=0.061, cutoff_per_um=3.0)
    for part in (
        r"handed over (b.tif) do not fit: they have 3 angles, and wiener-sim takes 2",
        "of 3 beams, and wiener-sim takes 2",
        "camera pixels of 60 nm, and these are 61 nm, which differs by more than 1 %",
        "the highest order of angle 1 has 4.05 cycles per um, and the microscope passes 3.00",
        "fluorsr info BRIGHT",
    ):
        assert part in str(caught.value)


def test_a_file_that_is_none_is_told_why(file: Path, tmp_path: Path) -> None:
    angles = json.loads(file.read_text())["angles"]
    with pytest.raises(FormatError, match=r"none.json cannot be read for its stripes: No such file.*--save-stripes"):
        Stripes.read(tmp_path / "none.json")
    for entries, told in (
        ({"angles": angles[:1]}, "angles: Tuple should have at least 2 items"),
        ({"pixel_size_um": 0}, "pixel_size_um: Input should be greater than 0"),
        ({"format": "other"}, "format: Input should be 'fluorsr stripes 1'"),
        ({"pixel_sise_um": 1}, "pixel_sise_um: Extra inputs"),
        ({"angles": [angles[0], {"period_nm": 494.0}]}, "angles.1.wave_per_um: Field required"),
        (
            {"angles": [angles[0], angles[1] | {"period_nm": 510.0}]},
            r"wave_per_um says 494.\d nm at .* make them agree",
        ),
        ({"angles": [angles[0], angles[1] | {"wave_per_um": [0, 0]}]}, r"\(0, 0\), which is no stripes"),
    ):
        wrong = tmp_path / "wrong.json"
        wrong.write_text(file.read_text())
        with pytest.raises(FormatError, match=told):
            Stripes.read(changed(wrong, **entries))
    file.write_text("period: 494")
    with pytest.raises(FormatError, match="it is not JSON"):
        Stripes.read(file)
    file.write_text("[1, 2]")
    with pytest.raises(FormatError, match="no keys and values"):
        Stripes.read(file)
    with pytest.raises(StorageError, match="a folder on this path does not exist"):
        Stripes.from_json(settled_of(angles)).save(tmp_path / "no" / "folder.json")


def settled_of(angles: list[dict[str, object]]) -> dict[str, object]:
    return {"pixel_size_um": 0.06, "beams": 3, "phases": 5, "angles": angles}


def test_options_hold_the_content_and_methods_and_networks_take_it(stripes: Stripes, file: Path) -> None:
    assert settled(None) is None
    for given in (str(file), file, stripes, stripes.to_json()):
        assert settled({"stripes": given, "notch": 0.1}) == {"stripes": stripes.to_json(), "notch": 0.1}
    method = make_method("wiener-sim", {"stripes": str(file)})
    assert isinstance(method, WienerSimMethod)
    assert method.digest("wiener-sim") != WienerSimMethod().digest("wiener-sim")
    restorer = method.make(None)  # the file tells the pixel size where the image does not
    assert isinstance(restorer, WienerSim)
    torch.testing.assert_close(restorer.wave_per_um, stripes.vectors("", **FIT))
    assert load("unet-sim3-x2", options={"stripes": stripes}, precision="fp32", pixel_size_um=0.06).notes == ()
    with pytest.raises(InputError, match=r"unet-sim3-x2 is a network, which has no options but stripes, so not notch"):
        load("unet-sim3-x2", options={"stripes": stripes, "notch": 0.1}, pixel_size_um=0.06)
    with pytest.raises(InputError, match="edsr-confocal-sted-x2 is a network, which has no options, so not stripes"):
        load("edsr-confocal-sted-x2", options={"stripes": stripes})
    with pytest.raises(InputError, match="and unet-sim15-x2 takes 3"):
        load("unet-sim15-x2", options={"stripes": two_beams(stripes)}, precision="fp32", pixel_size_um=0.06)


def two_beams(stripes: Stripes) -> Stripes:
    """Stripes of half the period, of two beams."""
    values = stripes.to_json()
    for angle in values["angles"]:
        angle["wave_per_um"] = [2 * k for k in angle["wave_per_um"]]
        angle["period_nm"] /= 2
    return Stripes.from_json(values | {"beams": 2, "phases": 3})


def test_two_beams_are_the_second_order_of_twice_the_period(stripes: Stripes) -> None:
    loaded = load("unet-sim9-x2", options={"stripes": two_beams(stripes)}, precision="fp32", pixel_size_um=0.06)
    assert loaded.notes == ()
    longer = stripes.to_json()
    for angle in longer["angles"]:
        angle["wave_per_um"] = [k * 494 / 600 for k in angle["wave_per_um"]]
        angle["period_nm"] *= 600 / 494
    strange = load("unet-sim9-x2", options={"stripes": longer}, precision="fp32", pixel_size_um=0.06)
    assert "trained on periods of 420 to 560 nm, and the stripes handed over have 600, 600, 600 nm" in strange.notes[0]


@pytest.mark.parametrize("phases", [1, 3, 5])
def test_frames_that_do_not_show_the_known_stripes_are_refused(phases: int, three_beams) -> None:
    frames, waves = three_beams.frames[:, :phases], three_beams.stripes.wave_per_um.reshape(3, 5, 2)[:, 0]
    assert torch.equal(measure_stripes(frames, three_beams.optics, wave_per_um=waves).wave_per_um, waves)
    noise = 100 + 3 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    turned = waves.flip(1) * torch.tensor([1.0, -1.0])  # another microscope's: by 90 degrees
    for wrong, known in ((noise, waves), (frames, turned)):
        with pytest.raises(
            NoStripesError, match=r"do not show the stripes whose vectors are known.* strength [01]\.\d"
        ):
            measure_stripes(wrong, three_beams.optics, wave_per_um=known)
