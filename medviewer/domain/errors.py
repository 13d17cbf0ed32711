"""Every error that MedViewer raises on purpose.

::

    MedViewerError              we meant it: str(error) is one sentence, fit to show, that says what to do
    ├── UsageError              the request makes no sense (exit code 2)
    ├── InputError              a file or folder cannot be used (exit code 3)
    │   ├── NotDicomError       not a DICOM file
    │   ├── TruncatedError      less data than the header promises
    │   ├── NoPixelsError       a valid object without an image
    │   ├── TooLargeError       claims more memory than the budget or the file's size allow
    │   ├── DecodeError         the compressed pixels cannot be decoded
    │   └── UnsupportedError    valid, but MedViewer cannot read it; names what it is
    ├── GeometryError           positions or transforms that would put data in the wrong place
    ├── ModelError              a model folder cannot be trusted or used (exit code 3)
    │   ├── CardError           the card is missing, invalid or incomplete
    │   ├── DigestError         a file's sha256 is not the one on the card
    │   ├── UnsafeModelError    the graph asks for something refused (external data, custom domain, ...)
    │   └── RuntimeMissingError the package that runs it is not installed; names the one to install
    ├── EngineError             the model's process failed; it is restarted
    │   ├── WorkerDiedError     the process ended by itself or was killed
    │   └── TimeBudgetError     the run took longer than it was allowed
    ├── TrainingError           learning stopped by itself: out of memory, a loss that is no number
    ├── RenderError             the process that makes 3D views failed
    ├── RecordError             the patient record store or an import into it
    ├── StorageError            the disk is full, read-only or gone; nothing half-written remains
    └── Stopped                 the user cancelled; not a failure

Anything else that is raised is a bug of ours: it is logged with its traceback, without
patient data, and shown as "unexpected".
"""

from __future__ import annotations

from types import TracebackType
from typing import Any


class MedViewerError(Exception):
    """An expected failure. ``str(error)`` is shown to the reader as it is."""


class UsageError(MedViewerError):
    """The request itself is wrong: an unknown model, a contradictory option."""


class InputError(MedViewerError):
    """A file or folder cannot be used; the rest of the work goes on."""


class NotDicomError(InputError):
    """The file is not DICOM."""


class TruncatedError(InputError):
    """The file holds less data than its header promises."""


class NoPixelsError(InputError):
    """A valid DICOM object that carries no image."""


class TooLargeError(InputError):
    """The file claims more memory than it may have; nothing was allocated."""


class DecodeError(InputError):
    """The compressed pixels cannot be decoded."""


class UnsupportedError(InputError):
    """Valid, but of a kind that MedViewer does not read; the message names it."""


class GeometryError(MedViewerError):
    """Positions or transforms that cannot be trusted to place data."""


class ModelError(MedViewerError):
    """A model folder that cannot be trusted or used."""


class CardError(ModelError):
    """The model's card is missing, invalid or incomplete."""


class DigestError(ModelError):
    """A file of the model is not the one that its card describes."""


class UnsafeModelError(ModelError):
    """The model asks for something that is refused for safety."""


class RuntimeMissingError(ModelError):
    """The package that runs this model is not installed; the message names it."""


class EngineError(MedViewerError):
    """The process that runs models failed; it has been, or will be, restarted."""


class WorkerDiedError(EngineError):
    """The process ended by itself or was killed during the run."""


class TimeBudgetError(EngineError):
    """The run took longer than its time budget and was stopped."""


class TrainingError(MedViewerError):
    """Learning stopped by itself; what was learned is kept, and the message says where."""


class RenderError(MedViewerError):
    """The process that makes 3D views could not be started, ended, or took too long."""


class RecordError(MedViewerError):
    """The patient record store, or something that was to be imported into it."""


class StorageError(MedViewerError):
    """The disk is full, read-only or gone. Nothing half-written remains."""


class Stopped(MedViewerError):  # noqa: N818 - not a failure: what the user asked for
    """The user cancelled."""

    def __init__(self, message: str = "Cancelled.") -> None:
        super().__init__(message)


def without_data(error: BaseException) -> tuple[type[BaseException], Any, TracebackType | None]:
    """What a log may hold of a failure: traceback and type, but not the message, which could hold patient data."""
    return type(error), type(error)("(message withheld)") if _takes_one_text(error) else None, error.__traceback__


def _takes_one_text(error: BaseException) -> bool:
    try:
        type(error)("")
    except Exception:  # noqa: BLE001 - any refusal means no
        return False
    return True
