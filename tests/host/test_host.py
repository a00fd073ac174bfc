"""fluorsr-host and its C library against fluorsr-infer. Built by tools/host.sh.

FLUORSR_HOST names another build: after `tools/host.sh --asan`, FLUORSR_HOST=build/host-asan runs the same tests with
AddressSanitizer, LeakSanitizer and UBSan in our own code; LibTorch is as it was built. (Not Valgrind: it does not know
AVX-512, which LibTorch computes with.)
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import struct
import subprocess
import time
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
import torch

from fluorsr.classical.sim_autocorrelation import measure_stripes
from fluorsr.classical.sim_orders import SimOptics
from fluorsr.classical.sim_stripes import Stripes
from fluorsr.data.simulate import configure, simulate_pair
from fluorsr.export.torchscript import export_torchscript
from fluorsr.image import Image
from fluorsr.models.architectures import build
from fluorsr.models.reach import measure_module
from fluorsr.models.sim_network import USUAL
from fluorsr.models.torchscript import quiet_jit
from fluorsr.models.weights import save_weights
from fluorsr.normalize import Normalization
from fluorsr.pipeline.memory import restore
from fluorsr.restorer import RestorerSpec

ROOT = Path(__file__).parents[2]
BUILD = Path(os.environ.get("FLUORSR_HOST") or ROOT / "build/host").resolve()
SANITIZED = BUILD.name.endswith("asan")
pytestmark = pytest.mark.skipif(
    not (BUILD / "fluorsr-host").is_file(), reason="fluorsr-host is not built: bash tools/host.sh builds it"
)
PROGRAM = [str(BUILD / "fluorsr-host")]
HEADER = struct.Struct("<8s4I2Q")


def frames(count, size, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.gamma(0.5, 60, (count, *size))).clip(0, 255).astype(dtype)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Name -> exported file: one frame at scale 2, and three frames of a pooling network that needs even tiles."""
    folder = tmp_path_factory.mktemp("host")
    for name, architecture, config in (
        ("edsr", "edsr", {"blocks": 1, "width": 4}),
        ("sim", "unet_sim", {"frames": 3, "widths": (4, 8)}),
    ):
        torch.manual_seed(0)
        module = build(architecture, config).eval()
        spec = RestorerSpec(name, **vars(measure_module(module)))
        weights = folder / f"{name}.safetensors"
        save_weights(weights, module, architecture=architecture, config=config, spec=spec, notes={})
        export_torchscript(weights, folder / f"{name}.ts", tile=96)
    return folder


def host(*arguments, data=None, fails=False):
    done = subprocess.run([*PROGRAM, *map(str, arguments)], input=data, capture_output=True, check=False, timeout=120)
    assert (done.returncode != 0) == fails, done.stderr.decode()
    return done.stdout, done.stderr.decode()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("size", [(130, 71), (1, 5), (96, 96)])
def test_the_same_bits_as_fluorsr_infer(models, dtype, size, tmp_path):
    pixels = frames(1, size, dtype)[0]
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    expected = restore(pixels, models / "edsr.ts", precision="fp32", tile=64).data
    for threads in (1, 3):
        options = ("--tile", 64, "--threads", threads)
        host(models / "edsr.ts", "--in", tmp_path / "in.tif", "--out", tmp_path / "out.tif", *options)
        found = tifffile.imread(tmp_path / "out.tif")
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)


def test_series_of_raw_frames_through_a_pooling_network(models, tmp_path):
    series = frames(6, (50, 44), "uint16")
    tifffile.imwrite(tmp_path / "in.tif", series, photometric="minisblack")
    _, report = host(models / "sim.ts", "--in", tmp_path / "in.tif", "--out", tmp_path / "out.tif", "--tile", 48)
    assert json.loads(report)["frames"] == 2
    found = tifffile.imread(tmp_path / "out.tif")
    for i in range(2):
        one = restore(series[3 * i : 3 * i + 3], models / "sim.ts", precision="fp32", tile=48, frames_axis="z")
        np.testing.assert_array_equal(found[i], one.to_numpy().squeeze())


def test_raw_sim_frames_whose_stripes_the_program_measures(tmp_path):
    """Two series in one file; the bits of fluorsr-infer with the same program, the pixels of it with the weights."""
    config = {"frames": 15, "widths": (4, 6), "scale": 2, "periods_um": (0.42, 0.56)}
    torch.manual_seed(0)
    module = build("unet_sim", config).eval()
    spec = RestorerSpec("sim", **vars(measure_module(module)), pixel_size_um=0.062)
    save_weights(tmp_path / "sim.safetensors", module, architecture="unet_sim", config=config, spec=spec, notes={})
    made = simulate_pair(configure("sim-3x5", fixed=True, size_px=150, photons=1500.0, pixel_size_um=0.062), 5, 0)
    pixels = made.degraded[:, :120, :139].astype(np.uint16)
    optics = SimOptics(microscope=USUAL, pixel_size_um=0.062)
    frames = torch.from_numpy(pixels.astype(np.float32)).unflatten(0, (3, 5))
    Stripes.measured(measure_stripes(frames, optics), optics).save(tmp_path / "scope.json")
    export_torchscript(tmp_path / "sim.safetensors", tmp_path / "sim.ts", stripes=tmp_path / "scope.json")
    series = np.concatenate([pixels, pixels[:, ::-1]])
    tifffile.imwrite(tmp_path / "in.tif", series, photometric="minisblack")
    ends = ("--in", tmp_path / "in.tif", "--out", tmp_path / "out.tif", "--tile", 112)
    for threads in (1, 3):
        host(tmp_path / "sim.ts", *ends, "--threads", threads)
        found = tifffile.imread(tmp_path / "out.tif")
        assert found.shape == (2, 240, 278)
        image = Image(pixels, "qyx", {"y": 0.062, "x": 0.062})
        given = {"precision": "fp32", "tile": 112, "frames_axis": "q"}
        np.testing.assert_array_equal(found[0], restore(image, tmp_path / "sim.ts", **given).to_numpy().squeeze())
        options = {"stripes": tmp_path / "scope.json"}
        expected = restore(image, tmp_path / "sim.safetensors", dtype="float32", options=options, **given).to_numpy()
        np.testing.assert_allclose(found[0], expected.clip(0, None), rtol=0, atol=0.5 + 1e-5 * np.ptp(expected))
    tifffile.imwrite(tmp_path / "in.tif", series[:14], photometric="minisblack")
    assert "has 14 pages, no whole number of series of 15" in host(tmp_path / "sim.ts", *ends, fails=True)[1]
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((15, 40, 30), np.uint8), photometric="minisblack")
    host(tmp_path / "sim.ts", *ends)
    assert tifffile.imread(tmp_path / "out.tif").shape == (80, 60)


def test_standard_input_and_fixed_normalisation(models):
    pixels = frames(3, (40, 33), "uint16")
    options = ("--size", "40x33", "--type", "uint16", "--normalise", "3,180.5")
    out, report = host(models / "edsr.ts", "--in", "-", "--out", "-", *options, data=pixels.tobytes())
    found = np.frombuffer(out, "uint16").reshape(3, 80, 66)
    with torch.inference_mode(), quiet_jit():
        program = torch.jit.load(models / "edsr.ts")
        program.memory, program.low, program.high = 0, 3.0, 180.5
        expected = program.infer(torch.from_numpy(pixels)[:, None])[:, 0].numpy()
    np.testing.assert_array_equal(found, expected)
    assert json.loads(report)["skipped"] == 0
    assert Normalization(3, 180.5).scale == 177.5


@pytest.mark.parametrize("normalise", ["frame", "running", "3,180.5"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_raw_files_normalised_as_the_file_was_exported(models, tmp_path, normalise, dtype):
    """A scene whose brightness changes from frame to frame, and is not there at all in one."""
    pixels = frames(5, (40, 33), "float32") * np.array([1, 0.4, 1, 0.7, 0.2], np.float32)[:, None, None]
    if dtype == "float32":
        pixels[2] = np.nan
    pixels = pixels.astype(dtype)
    export_torchscript(models / "edsr.safetensors", tmp_path / "x.ts", normalise=normalise)
    (tmp_path / "in.raw").write_bytes(pixels.tobytes())
    ends = ("--in", tmp_path / "in.raw", "--out", tmp_path / "out.raw")
    host(tmp_path / "x.ts", *ends, "--size", "40x33", "--type", dtype)
    found = np.frombuffer((tmp_path / "out.raw").read_bytes(), dtype).reshape(5, 80, 66)
    with torch.inference_mode(), quiet_jit():
        expected = torch.jit.load(tmp_path / "x.ts").infer(torch.from_numpy(pixels)[:, None])[:, 0].numpy()
    np.testing.assert_array_equal(found, expected)


def test_live_takes_the_newest_frame_and_counts_the_others(models):
    """Shared memory both ways, with a producer that is much faster than the model."""
    size, count = (192, 192), 60
    name_in, name_out = f"fsr-in-{os.getpid()}", f"fsr-out-{os.getpid()}"
    memory = shared_memory.SharedMemory(name_in, create=True, size=64 + 2 * size[0] * size[1])
    try:
        view = np.frombuffer(memory.buf, np.uint16, offset=64, count=size[0] * size[1]).reshape(size)
        HEADER.pack_into(memory.buf, 0, b"FSRSHM01", 1, 1, *size, 0, 0)
        process = subprocess.Popen(
            [
                *PROGRAM,
                models / "edsr.ts",
                "--in",
                f"shm:/{name_in}",
                "--out",
                f"shm:/{name_out}",
                "--live",
            ],
            stderr=subprocess.PIPE,
        )
        for i in range(count):
            struct.pack_into("<Q", memory.buf, 24, 2 * i + 1)
            view[:] = i
            struct.pack_into("<Q", memory.buf, 24, 2 * i + 2)
            time.sleep(0.02)
        struct.pack_into("<Q", memory.buf, 32, 1)
        report = json.loads(process.communicate(timeout=60)[1])
        restored = shared_memory.SharedMemory(name_out)
        _, kind, channels, height, width, sequence, closed = HEADER.unpack_from(restored.buf, 0)
        assert (kind, channels, height, width, closed) == (1, 1, 384, 384, 1)
        last = np.frombuffer(restored.buf, np.uint16, offset=64, count=height * width).max()
        del view
        restored.close()
        restored.unlink()
    finally:
        memory.close()
        memory.unlink()
    assert sequence == 2 * report["frames"]
    assert report["frames"] + report["skipped"] == count
    assert last >= count - 2  # a constant frame is restored to about itself: the newest was


def test_a_long_stream_takes_no_more_memory(models):
    pixels = frames(1, (64, 64), "uint16")[0].tobytes()
    process = subprocess.Popen(
        [
            *PROGRAM,
            models / "edsr.ts",
            "--in",
            "-",
            "--out",
            "/dev/null",
            "--size",
            "64x64",
            "--type",
            "uint16",
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    resident = []
    for _ in range(4):
        for _ in range(100):
            process.stdin.write(pixels)
        process.stdin.flush()
        resident.append(psutil.Process(process.pid).memory_info().rss)
    report = json.loads(process.communicate(timeout=100)[1])
    assert report["frames"] == 400
    assert resident[-1] - resident[1] < 8 * 2**20


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_c_interface_from_c(models, tmp_path):
    """The header is C, and a series of frames through one model leaks nothing (under LeakSanitizer)."""
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{ROOT / 'csrc/host'}"]
    flags += ["-fsanitize=address", "-g"] if SANITIZED else []
    link = [f"-L{BUILD}", "-lfluorsr_host", f"-Wl,-rpath,{BUILD}"]
    program = tmp_path / "restore"
    subprocess.run(["cc", *flags, Path(__file__).with_name("restore.c"), "-o", program, *link], check=True)
    pixels = frames(3, (90, 70), "uint16")
    command = [program, models / "edsr.ts", "90", "70"]
    done = subprocess.run(command, input=pixels.tobytes(), capture_output=True, check=True, timeout=120)
    found = np.frombuffer(done.stdout, "uint16").reshape(3, 180, 140)
    for i in range(3):
        expected = restore(pixels[i], models / "edsr.ts", precision="fp32", tile=64).data
        np.testing.assert_array_equal(found[i], expected)
    done = subprocess.run([program, "nowhere.ts", "9", "9"], capture_output=True, check=False, timeout=120)
    assert done.returncode == 1
    assert b"nowhere.ts cannot be loaded as TorchScript on cpu" in done.stderr


@pytest.mark.skipif(SANITIZED, reason="AddressSanitizer must be loaded first, and Python was; C has the same test")
def test_the_c_interface_from_another_language(models):
    library = ctypes.CDLL(str(BUILD / "libfluorsr_host.so"))
    library.fsr_open.restype = ctypes.c_void_p
    library.fsr_last_error.restype = ctypes.c_char_p
    assert library.fsr_open(b"nowhere.ts", b"cpu") is None
    assert b"nowhere.ts cannot be loaded as TorchScript on cpu" in library.fsr_last_error()
    assert library.fsr_open(str(models / "edsr.ts").encode(), b"gpu") is None
    assert b"gpu" in library.fsr_last_error()
    model = ctypes.c_void_p(library.fsr_open(str(models / "edsr.ts").encode(), b"cpu"))
    assert (library.fsr_frames(model), library.fsr_scale(model)) == (1, 2)
    assert library.fsr_set_tile(model, ctypes.c_int64(3)) == -1
    assert b"tile" in library.fsr_last_error()
    assert library.fsr_set_threads(model, 0) == -1
    assert library.fsr_set_normalisation(model, ctypes.c_double(5), ctypes.c_double(5)) == -1
    assert library.fsr_set_tile(model, ctypes.c_int64(64)) == 0
    assert library.fsr_set_threads(model, 2) == 0
    pixels = frames(1, (90, 70), "uint16")[0]
    restored = np.empty((180, 140), np.uint16)
    args = (ctypes.c_int64(90), ctypes.c_int64(70), restored.ctypes.data_as(ctypes.c_void_p))
    assert library.fsr_restore(model, None, 1, *args) == -1
    assert library.fsr_last_error() == b"frames is NULL"
    assert library.fsr_restore(model, pixels.ctypes.data_as(ctypes.c_void_p), 1, *args) == 0
    np.testing.assert_array_equal(restored, restore(pixels, models / "edsr.ts", precision="fp32", tile=64).data)
    library.fsr_close(model)


def pages_of_the_same_pixels(pages, side):
    """A TIFF whose pages share their pixels, so that a small file claims many times its size."""
    tiff = b"II*\0" + struct.pack("<I", 8 + side**2) + bytes(side**2)
    tags = ((256, side), (257, side), (258, 8), (259, 1), (273, 8), (278, side), (279, side**2))
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    for page in range(pages):
        after = len(tiff) + len(directory) + 4
        tiff += directory + struct.pack("<I", after if page < pages - 1 else 0)
    return tiff


def test_faults_are_told(models, tmp_path, save_script):
    model = models / "edsr.ts"
    pixels = frames(2, (20, 30), "uint16")
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="minisblack")
    whole = (tmp_path / "in.tif").read_bytes()
    for name, content, message in (
        ("short", whole[: len(whole) // 2], "is truncated or damaged"),
        ("tiny", b"II*\0", "is too short for a TIFF"),
        ("big", b"II+\0" + whole[4:], "is not a classic TIFF"),
    ):
        (tmp_path / f"{name}.tif").write_bytes(content)
        assert message in host(model, "--in", tmp_path / f"{name}.tif", "--out", "-", fails=True)[1]
    (tmp_path / "same.tif").write_bytes(pages_of_the_same_pixels(50, 100))
    assert "is truncated or damaged" in host(model, "--in", tmp_path / "same.tif", "--out", "-", fails=True)[1]
    tifffile.imwrite(tmp_path / "packed.tif", pixels, compression="zlib")
    assert "is compressed" in host(model, "--in", tmp_path / "packed.tif", "--out", "-", fails=True)[1]
    foreign = save_script(torch.nn.Conv2d(1, 1, 1), tmp_path / "foreign.pt")
    assert "was not written by `fluorsr export" in host(foreign, "--in", "-", "--out", "-", fails=True)[1]
    ends = ("--in", tmp_path / "in.tif", "--out", "-")
    for options, message in (
        (("--tile", "7"), "tile"),
        (("--tile", "x"), "is no whole number"),
        (("--normalise", "5"), "must be LOW,HIGH"),
        (("--frames", "5"), "there is no option --frames"),
        (("--threads",), "--threads needs a value"),
    ):
        assert message in host(model, *ends, *options, fails=True)[1]
    assert "need their size" in host(model, "--in", "-", "--out", "-", fails=True)[1]
    out = host(model, "--in", "-", "--out", "-", "--size", "9x9", "--type", "uint8", data=b"12345", fails=True)[1]
    assert "ends in the middle of a frame" in out
    assert "cannot open the shared memory" in host(model, "--in", "shm:/none-here", "--out", "-", fails=True)[1]
