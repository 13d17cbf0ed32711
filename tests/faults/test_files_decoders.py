"""Decoders that crash, hang or are killed cost one image and nothing else."""

from __future__ import annotations

import logging
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import psutil
import pydicom.data
import pytest
from pydicom.uid import RLELossless

from medviewer.domain.errors import DecodeError, Stopped, StorageError
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Image
from medviewer.imaging import confined, decode, decode_pool
from medviewer.imaging.codecs import JPEG_LOSSLESS_FIRST_ORDER, JPEG_LS_NEAR
from medviewer.imaging.scan import images_of, scan
from tests import samples
from tests.dicom_maker import make_dataset, write_compressed

pytestmark = pytest.mark.reliability

# A JPEG-LS code stream of 50 x 10 pixels whose damaged run lengths keep CharLS busy for minutes.
ENDLESS_JPEG_LS = bytes.fromhex(
    "ffd8fff7000b100032000a01011100fff8000d01ffff0018004d01220040ffda000801010002000040201010102040820820"
    "1fff7000000000000733182082108421080ff0665a1084210844407e04cca222"
)


# Of processor time: more than a decoder still takes for itself after it said that it is ready.
_DECODING_S = 0.2


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    yield
    decode.shutdown()


def shipped(name: str) -> Image:
    path = pydicom.data.get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return next(images_of(scan([Path(path)])))


def endless(folder: Path) -> Image:
    dataset = make_dataset(np.zeros((50, 10), np.uint16))
    path = write_compressed(folder / "endless.dcm", ENDLESS_JPEG_LS, JPEG_LS_NEAR, dataset)
    return next(images_of(scan([path])))


def test_an_endless_decoder_is_stopped_and_the_next_image_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = decode.read_frame(shipped("MR_small_RLE.dcm"))
    monkeypatch.setattr(decode_pool, "DEADLINE_S", 0.5)
    with pytest.raises(DecodeError, match="took longer than"):
        decode.read_frame(endless(tmp_path))
    monkeypatch.undo()
    again = decode.read_frame(shipped("MR_small_RLE.dcm"))
    np.testing.assert_array_equal(good.stored, again.stored)
    assert all(str(tmp_path) not in record.getMessage() for record in caplog.records)


def test_the_reader_can_stop_an_endless_decoder(tmp_path: Path) -> None:
    image = endless(tmp_path)
    decode.shutdown()
    decode.warm_up()
    (pid,) = decode.worker_pids()
    stop = StopToken()
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            decode.read_frame(image, stop=stop)
        except Stopped as error:
            outcome.append(error)

    reader = threading.Thread(target=read)
    busy = psutil.Process(pid)
    before = busy.cpu_times().user
    reader.start()
    while busy.cpu_times().user <= before + _DECODING_S:
        pass
    stop.stop()
    reader.join(timeout=30)
    assert not reader.is_alive()
    assert isinstance(outcome[0], Stopped)
    assert pid not in decode.worker_pids()
    assert not psutil.pid_exists(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not there on Windows")
def test_a_killed_decoder_is_one_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    decode.shutdown()
    image = endless(tmp_path)
    decode.warm_up()
    (pid,) = decode.worker_pids()
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            decode.read_frame(image)
        except DecodeError as error:
            outcome.append(error)

    reader = threading.Thread(target=read)
    process = psutil.Process(pid)
    before = process.cpu_times().user
    reader.start()
    while process.cpu_times().user <= before + _DECODING_S:
        pass
    os.kill(pid, signal.SIGKILL)
    reader.join(timeout=30)
    assert "its decoder stopped" in str(outcome[0])
    assert decode.read_frame(shipped("MR_small_RLE.dcm")).stored.shape == (64, 64)


def test_the_pool_can_be_shut_down_while_it_decodes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As when the window is closed during a slow image: the reading thread gets one clear error."""
    decode.shutdown()
    image = endless(tmp_path)
    decode.warm_up()
    (pid,) = decode.worker_pids()
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            decode.read_frame(image)
        except Exception as error:  # noqa: BLE001 - whatever comes is what is tested
            outcome.append(error)

    reader = threading.Thread(target=read)
    process = psutil.Process(pid)
    before = process.cpu_times().user
    reader.start()
    while process.cpu_times().user <= before + _DECODING_S:
        pass
    decode.shutdown()
    reader.join(timeout=30)
    assert isinstance(outcome[0], DecodeError)
    assert not psutil.pid_exists(pid)
    assert decode.read_frame(shipped("MR_small_RLE.dcm")).stored.shape == (64, 64)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not there on Windows")
def test_a_decoder_killed_while_idle_is_no_error_at_all() -> None:
    decode.shutdown()
    decode.read_frame(shipped("MR_small_RLE.dcm"))
    (idle,) = decode._pool._idle
    assert idle.process.pid is not None
    os.kill(idle.process.pid, signal.SIGKILL)
    assert wait([idle.process.sentinel], timeout=30)  # until the system has ended all its threads
    assert decode.read_frame(shipped("MR_small_RLE.dcm")).stored.shape == (64, 64)


def panicking(folder: Path) -> Image:
    """RLE that runs on beyond the image: pylibjpeg-rle panics, which is no Exception of Python."""
    stream = struct.pack("<16I", 2, 64, 84, *[0] * 13) + b"\x81\0" * 20
    path = write_compressed(folder / "panic.dcm", stream, RLELossless, make_dataset(np.zeros((8, 8), np.uint16)))
    return next(images_of(scan([path])))


def test_a_decoder_that_panics_costs_its_own_image_and_not_the_next(tmp_path: Path) -> None:
    decode.shutdown()
    image, healthy = panicking(tmp_path), shipped("MR_small_RLE.dcm")
    for _ in range(3):
        decode.read_frame(healthy)
        (pid,) = decode.worker_pids()
        with pytest.raises(DecodeError, match="PanicException"):
            decode.read_frame(image)
        assert pid not in decode.worker_pids()  # it ends, and nobody waits for it
        assert decode.read_frame(healthy).stored.shape == (64, 64)


def test_no_shared_memory_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = decode_pool.make_memory

    def watched(size: int) -> object:
        memory = make(size)
        made.append(memory.name)
        return memory

    monkeypatch.setattr(decode_pool, "make_memory", watched)
    decode.read_frame(shipped("MR_small_RLE.dcm"))
    monkeypatch.setattr(decode_pool, "DEADLINE_S", 0.2)
    logging.getLogger(decode_pool.__name__).disabled = True
    try:
        with pytest.raises(DecodeError):
            decode.read_frame(endless(tmp_path))
    finally:
        logging.getLogger(decode_pool.__name__).disabled = False
    assert len(made) == 2
    for name in made:
        with pytest.raises(FileNotFoundError):
            SharedMemory(name)


@pytest.mark.skipif(sys.platform == "win32", reason="a hook in the working directory is tried on Linux")
def test_a_module_in_the_working_directory_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """python-gdcm imports "dl", which no Python has any more: a file of that name must stay unread."""
    elsewhere = tmp_path / "elsewhere"  # on the path, but not the working directory
    elsewhere.mkdir()
    (elsewhere / "dl.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(elsewhere))
    (tmp_path / "imagecodecs.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w').close()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    decode.shutdown()
    # Damaged enough for every decoder of the row to be asked, gdcm last.
    dataset = make_dataset(np.zeros((4, 4), np.uint16))
    path = write_compressed(tmp_path / "x.dcm", b"\xff\xd8\xff\xd9" * 4, JPEG_LOSSLESS_FIRST_ORDER, dataset)
    with pytest.raises(DecodeError, match="gdcm"):
        decode.read_frame(next(images_of(scan([path]))))
    assert not (tmp_path / "was-run").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not there on Windows")
def test_decoders_end_with_their_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nfrom pathlib import Path\nfrom medviewer.imaging import decode\n"
        "from medviewer.imaging.scan import images_of, scan\n"
        "if __name__ == '__main__':\n"
        "    decode.warm_up()\n    print(*decode.worker_pids(), flush=True)\n"
        "    decode.read_frame(next(images_of(scan([Path(sys.argv[1])]))))\n"
    )
    path = endless(tmp_path).path
    environment = {**os.environ, "PYTHONPATH": str(samples.ROOT)}
    with subprocess.Popen(
        [sys.executable, str(program), str(path)], stdout=subprocess.PIPE, env=environment
    ) as started:
        assert started.stdout is not None
        decoder = psutil.Process(int(started.stdout.readline()))
        before = decoder.cpu_times().user
        while (
            decoder.cpu_times().user <= before + _DECODING_S
        ):  # until it is busy and cannot notice that its pipe has closed
            pass
        started.kill()
    _, alive = psutil.wait_procs([decoder], timeout=8)
    assert alive == []


def test_many_threads_decode_at_once() -> None:
    names = ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"] * 6
    images = [shipped(name) for name in names]
    with ThreadPoolExecutor(8) as threads:
        frames = list(threads.map(decode.read_frame, images))
    for frame in frames:
        np.testing.assert_array_equal(frame.stored, frames[0].stored)
    assert 1 <= len(decode.worker_pids()) <= 4


def test_full_shared_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(confined, "SharedMemory", full)
    with pytest.raises(StorageError, match="no shared memory left"):
        decode.read_frame(shipped("MR_small_RLE.dcm"))
    monkeypatch.undo()
    assert decode.read_frame(shipped("MR_small_RLE.dcm")).stored.shape == (64, 64)


def stream_size(stream: bytes) -> tuple[int, int, int, int] | None:
    """Precision, rows, columns, components of a JPEG or JPEG-LS stream; None if it has no frame header."""
    position = 2
    while position + 10 <= len(stream) and stream[position] == 0xFF:
        if stream[position + 1] in (0xC0, 0xC1, 0xC3, 0xF7):
            precision, rows, columns, components = struct.unpack_from(">BHHB", stream, position + 4)
            return precision, rows, columns, components
        position += 2 + struct.unpack_from(">H", stream, position + 2)[0]
    return None


def broken_image(path: Path, folder: Path) -> Image:
    data = path.read_bytes()
    if not data.startswith(b"\xff\xd8"):
        return next(images_of(scan([path])))
    precision, rows, columns, components = stream_size(data) or (16, 64, 64, 1)
    shape = (rows, columns, 3) if components == 3 else (rows, columns)
    dataset = make_dataset(np.zeros(shape, np.uint8 if precision <= 8 else np.uint16))
    is_jpeg_ls = any(word in path.name for word in ("JLS", "JPEGLS", "jpeg_ls"))
    syntax = JPEG_LS_NEAR if is_jpeg_ls else JPEG_LOSSLESS_FIRST_ORDER
    return next(images_of(scan([write_compressed(folder / path.name, data, syntax, dataset)])))


@pytest.mark.slow
def test_each_file_that_kills_decoders_is_one_broken_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = samples.beside_corpus("faults")
    if folder is None:
        pytest.skip("no folder of fault files beside the corpus")
    monkeypatch.setattr(decode_pool, "DEADLINE_S", 1.0)
    files = sorted(folder.glob("*.dcm"))
    assert len(files) >= 19
    for path in files:
        with pytest.raises(DecodeError):
            decode.read_frame(broken_image(path, tmp_path))
        assert decode.read_frame(shipped("MR_small_RLE.dcm")).stored.shape == (64, 64)
