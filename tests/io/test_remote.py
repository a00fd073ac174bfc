"""Images at an address: the same pixels as on disk, from a web server and from an object store; errors in words."""

from __future__ import annotations

import functools
import http.server
import pickle
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

import fluorsr
from fluorsr.errors import FormatError, InputError, StorageError
from fluorsr.image import Channel, PlaneIndex
from fluorsr.io import remote
from fluorsr.io.open import create_image, open_image
from fluorsr.io.remote import RemotePath, place
from fluorsr.io.writer import Layout

PIXELS = np.random.default_rng(0).integers(0, 5000, (2, 70, 90)).astype(np.uint16)


class Plain(http.server.SimpleHTTPRequestHandler):
    """Python's own file server, which ignores byte ranges."""

    def log_message(self, *_: object) -> None:
        pass


class Ranges(Plain):
    """The same with byte ranges (RFC 9110, section 14)."""

    def do_GET(self) -> None:
        path, wanted = Path(self.translate_path(self.path)), self.headers.get("Range")
        if not wanted or not path.is_file():
            return super().do_GET()
        content = path.read_bytes()
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start = int(first) if first else len(content) - int(last)
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(content[start:stop])
        return None


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of an OME-Zarr 0.5 with shards, one of 0.4, and a bare array."""
    folder = tmp_path_factory.mktemp("stores")
    for name, ngff in (("new.ome.zarr", "0.5"), ("old.ome.zarr", "0.4")):
        layout = Layout("cyx", PIXELS.shape, "uint16", {"y": 0.1, "x": 0.1}, {}, (Channel("a"), Channel("b")), "cell")
        writer = create_image(folder / name, layout, ngff=ngff, provenance={})
        for c in range(2):
            writer.write(PlaneIndex(c=c), 0, 0, PIXELS[c])
        writer.finish()
    zarr.create_array(folder / "bare.zarr", data=PIXELS[0], chunks=(32, 32), shards=(64, 64))
    zarr.create_group(folder / "empty.zarr")
    return folder


@pytest.fixture(params=[Plain, Ranges])
def address(request: pytest.FixtureRequest, stores: Path) -> Iterator[str]:
    handler = functools.partial(request.param, directory=str(stores))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_web_server_gives_what_the_disk_gives(address: str, stores: Path) -> None:
    for name in ("new.ome.zarr", "old.ome.zarr", "new.ome.zarr/0", "bare.zarr"):
        here, there = open_image(stores / name), open_image(f"{address}/{name}/")
        assert (there.axes, there.shape, there.dtype, there.name) == (here.axes, here.shape, here.dtype, here.name)
        assert (there.channels, there.pixel_size_um) == (here.channels, here.pixel_size_um)
        np.testing.assert_array_equal(there.to_numpy(), here.to_numpy())
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(there)).to_numpy(), here.to_numpy())
    assert open_image(Path(f"{address}/bare.zarr")).shape == (70, 90)  # a Path loses a slash


def test_what_is_not_there_is_told(address: str, stores: Path) -> None:
    with pytest.raises(
        FormatError, match=r"empty\.zarr is a zarr group without an OME-Zarr image's metadata; give the"
    ):
        open_image(f"{address}/empty.zarr")
    with pytest.raises(
        FormatError, match=r"none\.zarr is no zarr group or array, or is not there; give the address of"
    ):
        open_image(f"{address}/none.zarr")
    with pytest.raises(InputError, match=r"cells\.tif: only zarr is read from an address; download the TIFF first"):
        open_image(f"{address}/cells.tif")
    with pytest.raises(InputError, match="ftp://a/b is an address that fluorsr does not read; it reads s3://, gs://,"):
        open_image("ftp://a/b")
    with pytest.raises(InputError, match="is an address, and fluorsr writes only to disks"):
        fluorsr.infer(stores / "bare.zarr", f"{address}/out.zarr")


def test_a_server_that_does_not_answer_is_told() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/a.zarr"
    with pytest.raises(
        StorageError, match=r"a\.zarr/zarr\.json cannot be read: .*Could not connect.*; check the address"
    ):
        open_image(nobody)


@pytest.mark.parametrize("address", [Ranges], indirect=True)
def test_a_run_from_an_address_is_the_run_from_the_disk(
    address: str, stores: Path, small_model: Path, tmp_path: Path
) -> None:
    options = {"model": small_model, "block": 64, "threads": 1}
    fluorsr.infer(stores / "new.ome.zarr", tmp_path / "here.zarr", **options)
    fluorsr.infer(f"{address}/new.ome.zarr", tmp_path / "there.zarr", **options)
    here, there = (open_image(tmp_path / f"{name}.zarr").to_numpy() for name in ("here", "there"))
    np.testing.assert_array_equal(there, here)
    (tmp_path / "there.zarr/0/c/1/0/0").unlink()
    assert fluorsr.verify(tmp_path / "there.zarr", repair=True).complete  # which asks the same address again
    np.testing.assert_array_equal(open_image(tmp_path / "there.zarr").to_numpy(), here)


def test_addresses_as_paths() -> None:
    there = place("S3://bucket/folder/image.zarr/")
    assert there == RemotePath("s3://bucket/folder/image.zarr")
    assert (there / "0").name == "0"
    assert [str(above) for above in there.parents] == ["s3://bucket/folder", "s3://bucket"]
    assert place("folder/image.zarr") == Path("folder/image.zarr")


@pytest.fixture
def bucket(stores: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on moto's S3 server, which holds the stores."""
    pytest.importorskip("moto", reason="moto, whose S3 server stands in for Amazon's, is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        ends = time.monotonic() + 120
        while True:
            try:
                _put(f"{endpoint}/images")
                break
            except OSError:
                assert time.monotonic() < ends, "moto's server did not start"
                time.sleep(0.1)
        for file in stores.rglob("*"):
            if file.is_file():
                name = str(file.relative_to(stores))
                _put(f"{endpoint}/images/{name}", file.read_bytes(), public=name.startswith("bare"))
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }.items():
            monkeypatch.setenv(name, value)
        yield "s3://images"
    finally:
        server.terminate()
        server.wait()


def _put(url: str, content: bytes = b"", *, public: bool = False) -> None:
    headers = {"Content-Type": "application/octet-stream"} | ({"x-amz-acl": "public-read"} if public else {})
    request = urllib.request.Request(url, content, method="PUT", headers=headers)
    with urllib.request.urlopen(request):
        pass


def test_a_bucket_gives_what_the_disk_gives(bucket: str, stores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("new.ome.zarr", "old.ome.zarr", "bare.zarr"):
        np.testing.assert_array_equal(open_image(f"{bucket}/{name}").to_numpy(), open_image(stores / name).to_numpy())
    with pytest.raises(FormatError, match=r"s3://images/none\.zarr is no zarr group or array, or is not there"):
        open_image(f"{bucket}/none.zarr")
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "1")
    remote._open.cache_clear()
    np.testing.assert_array_equal(open_image(f"{bucket}/bare.zarr/").to_numpy(), PIXELS[0])  # which anybody may read
    with pytest.raises(StorageError, match=r"new\.ome\.zarr/zarr\.json cannot be read: PERMISSION_DENIED.*permissions"):
        open_image(f"{bucket}/new.ome.zarr")
    remote._open.cache_clear()
