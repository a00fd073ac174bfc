"""BioImage.IO packages, held against bioimageio.core, the reference of that format."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from fluorsr.cli.main import app
from fluorsr.errors import InputError
from fluorsr.export.bioimageio import PAPERS
from fluorsr.export.formats import export_model
from fluorsr.export.parity import check
from fluorsr.models.architectures import ARCHITECTURES
from fluorsr.models.torchscript import quiet_jit

# of bioimageio.core and what it imports, which are not ours; it leaves files to the garbage collector
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def bioimageio(tmp_path_factory):
    """bioimageio.core, without a network: whatever would connect fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOIMAGEIO_CACHE_PATH", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("socket.socket.connect", lambda *_: pytest.fail("it reached for the network"))
        core = pytest.importorskip("bioimageio.core", reason="the extra `bioimageio` is not installed")
        yield core


def read(package, name):
    with zipfile.ZipFile(package) as archive:
        return archive.read(name)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_passes_their_test_and_ours(architecture, bioimageio, make_weights, tmp_path):
    package = export_model(make_weights(architecture), "bioimageio", tmp_path / "model.zip", author=["A. Person"])
    summary = bioimageio.test_model(package, devices=["cpu"])
    assert summary.status == "passed", summary.format()
    parity = check(package, count=4)
    assert len(parity.comparisons) == 12  # both weights' forward, and the TorchScript's infer
    assert parity.holds, parity.comparisons


def test_the_shipped_model(bioimageio, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["export", "edsr-confocal-sted-x2", "--to", "bioimageio"])
    assert result.exit_code == 0, result.output
    package = tmp_path / "edsr-confocal-sted-x2.zip"
    assert bioimageio.load_model_description(package).validation_summary.status != "failed"
    said = yaml.safe_load(read(package, "bioimageio.yaml"))
    assert (said["authors"], said["license"]) == ([{"name": "The fluorsr developers"}], "BSD-3-Clause")
    y_in, y_out = said["inputs"][0]["axes"][2], said["outputs"][0]["axes"][2]
    assert (y_in["scale"], y_in["unit"], y_out["scale"], y_out["unit"]) == (0.06, "micrometer", 0.03, "micrometer")
    assert y_out["halo"] == 2 * 20  # output pixels
    assert b"## Known failures" in read(package, "README.md")
    cover = Image.open(io.BytesIO(read(package, "cover.png")))
    assert cover.width == 2 * cover.height
    assert len(read(package, "cover.png")) < 500_000


def test_a_host_that_tiles_by_the_package_alone_gets_fluorsrs_pixels(bioimageio, make_weights, tmp_path):
    """bioimageio.core cuts its own blocks with our halo; away from the border, which it continues in its own way, the
    counts are those of `infer`."""
    weights = make_weights("edsr")
    package = export_model(weights, "bioimageio", tmp_path / "model.zip", normalise="50,900")
    frame = np.random.default_rng(0).poisson(300, (1, 1, 131, 120)).astype(np.float32)
    model = bioimageio.load_model_description(package)
    whole, blocks = (
        np.asarray(bioimageio.predict(model=model, inputs={"frames": frame}, **how).members["restored"].data)
        for how in ({}, {"blocksize_parameter": 10})
    )
    (tmp_path / "model.pt").write_bytes(read(package, "model.pt"))
    with quiet_jit(), torch.inference_mode():
        expected = torch.jit.load(tmp_path / "model.pt").infer(torch.from_numpy(frame)).numpy()
    halo = 2 * yaml.safe_load(read(package, "bioimageio.yaml"))["config"]["fluorsr"]["spec"]["halo"]
    assert whole.shape == blocks.shape == expected.shape == (1, 1, 262, 240)
    np.testing.assert_allclose(blocks, whole, atol=1e-5 * np.ptp(expected))
    inside = np.s_[..., halo:-halo, halo:-halo]
    np.testing.assert_allclose(whole[inside], expected[inside], atol=1e-5 * np.ptp(expected))


def test_whose_it_is(make_weights, tmp_path):
    weights = make_weights("edsr")
    plain = yaml.safe_load(read(export_model(weights, "bioimageio", tmp_path / "a.zip"), "bioimageio.yaml"))
    assert (plain["authors"], plain["license"]) == ([], None)
    ours = {"author": ["Ada", "Ernst"], "licence": "CC-BY-4.0"}
    said = yaml.safe_load(read(export_model(weights, "bioimageio", tmp_path / "b.zip", **ours), "bioimageio.yaml"))
    assert (said["authors"], said["license"]) == ([{"name": "Ada"}, {"name": "Ernst"}], "CC-BY-4.0")
    assert set(PAPERS) == set(ARCHITECTURES)


def test_faults(make_weights, tmp_path):
    weights = make_weights("edsr")
    with pytest.raises(InputError, match=r"no running normalisation; use --normalise frame or LOW,HIGH"):
        export_model(weights, "bioimageio", tmp_path / "x.zip", normalise="running")
    with pytest.raises(InputError, match="bioimageio has no tile: it has normalise, author, licence; --to torchscript"):
        export_model(weights, "bioimageio", tmp_path / "x.zip", tile=96)
    (tmp_path / "bad.zip").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"bad\.zip is not a BioImage\.IO package that fluorsr wrote"):
        check(tmp_path / "bad.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("model.pt", b"")
    with pytest.raises(InputError, match=r"empty\.zip is not a BioImage\.IO package .*model\.onnx"):
        check(tmp_path / "empty.zip")
