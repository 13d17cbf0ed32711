"""Many images: what ``analyze`` does with each beyond the network, against a bare ONNX Runtime loop.

Both sides run the bundled network on the same prepared inputs, with the same threads, in turns: each image once and its
six small changes once. Only our side reads the DICOM files, checks and prepares the images, judges the answers and
(in the last row) saves JSON, SR and capture, forced to the disk.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.engine_overhead import THREADS
from benchmarks.timing import Comparison, compare

MODEL, IMAGES, BATCH = "chest-xray-pneumonia", 200, 16


def copies(folder: Path, count: int) -> None:
    """The demo's radiograph as so many studies: other UIDs, and a few other pixels, so that no two are the same."""
    import pydicom
    from pydicom.uid import generate_uid

    from medviewer.app.opening import sample_path

    sample = sample_path()
    if sample is None:
        raise SystemExit("the demo's radiograph is missing: pip install 'medviewer[demo]'")
    path = sample if sample.is_file() else next(path for path in sorted(sample.rglob("*")) if path.is_file())
    ds = pydicom.dcmread(path)
    stored = ds.pixel_array.copy()
    for number in range(count):
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = (generate_uid() for _ in range(3))
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        stored[number % stored.shape[0], :] = stored.min()
        ds.PixelData = stored.tobytes()
        ds.save_as(folder / f"{number:03}.dcm")


class Bench:
    """The images, the engine and the bare session."""

    def __init__(self, folder: Path, count: int) -> None:
        import onnxruntime

        from medviewer.app.batch_plan import plan_batch
        from medviewer.imaging.scan import scan
        from medviewer.inference.catalogue import Catalogue
        from medviewer.inference.engine import Engine
        from medviewer.resources import models_dir

        copies(folder, count)
        self.folder = folder
        catalogue = Catalogue([models_dir()])
        self.card = catalogue.card(MODEL)
        self.engine = Engine(catalogue, threads=THREADS)
        self.plan = plan_batch(scan([folder]), [self.card], (), folder / "out")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as the engine does
        data = (self.card.folder / self.card.require("model").path).read_bytes()
        self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.outputs = ["logits", "appearance", "features"]
        self.prepared = [self._prepared(question.selection) for question in self.plan.questions]
        self.turn = 0

    def _prepared(self, selection: object) -> tuple[np.ndarray, np.ndarray]:
        from medviewer.domain.case import Case
        from medviewer.imaging.decode import read_frame
        from medviewer.inference.stability import variants

        tensor = self.engine.encode(Case(images=(read_frame(selection.image),)), MODEL).tensor
        return tensor[None], variants(tensor, self.card.ranges["x"])

    def bare(self) -> list[np.ndarray]:
        """The network on every image and its changes."""
        logits = []
        for one, changed in self.prepared:
            logits.append(self.session.run(self.outputs, {"x": one})[0])
            self.session.run(self.outputs, {"x": changed})
        return logits

    def asked(self) -> list[float]:
        """Every file read, checked, prepared, asked and judged."""
        from medviewer.app.answering import Asking, answer_image
        from medviewer.imaging.decode import read_frame

        found = []
        for question in self.plan.questions:
            frame = read_frame(question.selection.image)
            result = answer_image(self.engine, MODEL, question.selection, frame, asking=Asking())
            found.append(result.answer.findings[0].probability)
        return found

    def analyzed(self) -> None:
        """All that ``medviewer analyze FOLDER`` does but the audit trail."""
        from medviewer.app.answering import Asking
        from medviewer.app.batch import run_batch
        from medviewer.app.batch_journal import Journal

        self.turn += 1
        out = self.folder / f"out-{self.turn}"
        with Journal(out) as journal:
            made = run_batch(
                self.engine, self.plan.questions, out, asking=Asking(), journal=journal, before_saving=lambda r: r
            )
            done = list(made)
        if any(one.outcome != "answer" for one in done):
            raise SystemExit("a question of the batch had no answer")

    def batches(self, run: Callable[[np.ndarray], object]) -> Callable[[], None]:
        """All images in batches through one way of running the network."""
        whole = np.concatenate([one for one, _ in self.prepared])

        def loop() -> None:
            for start in range(0, len(whole), BATCH):
                run(whole[start : start + BATCH])

        return loop

    def check(self) -> None:
        """Both sides must say the same of the same image, or there is nothing to compare."""
        from medviewer.inference.calibration import probabilities

        theirs = [float(probabilities(x, self.card.calibration, self.card.task)[0, 0]) for x in self.bare()]
        if not np.allclose(self.asked(), theirs, atol=1e-6):
            raise SystemExit("the answers differ from those of the bare session")


def run(rounds: int = 3, count: int = IMAGES) -> Sequence[Comparison]:
    """Batches of 16 through the engine alone, then the whole path without and with saving."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), count)
        peer = "ONNX Runtime, bare loop on prepared inputs"
        try:
            bench.check()
            ours = bench.batches(lambda x: bench.engine.run(MODEL, {"x": x}, outputs=bench.outputs))
            bare = bench.batches(lambda x: bench.session.run(bench.outputs, {"x": x}))
            return [
                compare(
                    f"{count} images, Engine.run, batches of {BATCH}", ours, (peer, bare),
                    rounds=2 * rounds, target="<= 1.02",
                ),
                compare(f"{count} images: read, checked, prepared, asked, judged", bench.asked, (peer, bench.bare),
                        rounds=rounds, warmup=1),
                compare(f"{count} images: the same, and saved", bench.analyzed, (peer, bench.bare),
                        rounds=rounds, warmup=1),
            ]  # fmt: skip
        finally:
            bench.engine.close()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    words = [int(word) for word in sys.argv[1:]]
    for result in run(*words):
        both = f"{result.ours_ms:.0f} ms, {result.peer}: {result.peer_ms:.0f} ms"
        print(f"{result.name}: {both}; ratio {result.ratio:.3f} (wanted {result.target or 'no figure'})")
