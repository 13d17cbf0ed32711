"""The slices of a series say nearly all the same of themselves: what one is described by holds for the others."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.domain.errors import MedViewerError
from medviewer.domain.study import Caveat, Image, PixelDescription, Plane, Window
from medviewer.imaging import tags
from medviewer.imaging.codecs import MAYBE_LOSSY_SYNTAXES
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.description import acquisition_time, missing_pixels, read_plane, read_windows
from medviewer.imaging.functional_groups import FunctionalGroups
from medviewer.imaging.header import Header, stamp_of
from medviewer.imaging.pixel_format import check_size, read_pixel_format
from medviewer.imaging.second_axis import read_axis_values

if TYPE_CHECKING:
    from medviewer.imaging.grouping import Place

# The slices of a series differ in these alone, as a rule: they are read anew, in the description or beside it.
_OF_WINDOWS = frozenset({tags.WINDOW_CENTER, tags.WINDOW_WIDTH})  # scanners of MR choose them for each slice
_OF_AN_AXIS = frozenset(
    {
        tags.ACQUISITION_TIME,
        tags.ACQUISITION_NUMBER,
        tags.DIFFUSION_B_VALUE,
        tags.ECHO_TIME,
        tags.FRAME_REFERENCE_TIME,
        tags.INVERSION_TIME,
        tags.TRIGGER_TIME,
    }
)
_OWN_OF_A_SLICE = (
    _OF_AN_AXIS
    | _OF_WINDOWS
    | {
        tags.SOP_INSTANCE_UID,
        tags.INSTANCE_NUMBER,
        tags.IMAGE_POSITION_PATIENT,
        tags.CONTENT_TIME,
    }
)
# In these the position stands elsewhere, or more rests on what slices differ in.
_NOT_BY_SLICES = (
    tags.SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
    tags.PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
    tags.RADIOPHARMACEUTICAL_SEQUENCE,
)
_NOTHING = DataSet()


class KnownSlice:
    """A file of one image by which others of its series are described.

    Attributes:
        place: of its images among the others.
    """

    def __init__(self, header: Header, image: Image, place: Place) -> None:
        self._header, self._image, self.place = header, image, place
        self._format = read_pixel_format(header)
        self._described = list(_values_of(image.description))

    @classmethod
    def of(cls, header: Header, images: tuple[Image, ...], place: Place) -> KnownSlice | None:
        """Take a file that was described; None if no other may be described by it."""
        (image, *more) = images
        dataset = header.dataset
        is_plain = not more and not image.warnings
        is_else = header.transfer_syntax_uid in MAYBE_LOSSY_SYNTAXES or any(
            tag in dataset.sequences for tag in _NOT_BY_SLICES
        )
        return cls(header, image, place) if is_plain and not is_else else None

    def image_of(self, header: Header, path: Path) -> Image | None:
        """Give the image of another file as it would be described by itself; None if it is not alike."""
        own = self._differences(header)
        if own is None or not own <= _OWN_OF_A_SLICE:
            return None
        known, dataset = self._image, header.dataset
        groups = FunctionalGroups(dataset, _NOTHING, _NOTHING)
        plane = read_plane(groups, [])
        doubts: list[Caveat] = []
        windows = known.description.windows if own.isdisjoint(_OF_WINDOWS) else read_windows(dataset, doubts)
        if plane is None or doubts or missing_pixels(header, self._format):
            return None
        try:
            check_size(self._format, header)
        except MedViewerError:
            return None  # told where it is described by itself
        return Image(
            path=path,
            frame=0,
            sop_instance_uid=dataset.text(tags.SOP_INSTANCE_UID),
            description=self._moved(plane, windows),
            instance_number=dataset.integer(tags.INSTANCE_NUMBER),
            number_of_frames=known.number_of_frames,
            acquisition_time=acquisition_time(groups),
            frame_rate_hz=known.frame_rate_hz,
            is_rate_mean=known.is_rate_mean,
            axis_values=known.axis_values if own.isdisjoint(_OF_AN_AXIS) else read_axis_values(dataset, groups.item),
            stamp=stamp_of(header),
            frame_of_reference_uid=known.frame_of_reference_uid,
            made_on=known.made_on,
        )

    def _moved(self, plane: Plane, windows: tuple[Window, ...]) -> PixelDescription:
        """The description at another place, as ``replace`` makes it in three times the time."""
        values = self._described.copy()
        values[_PLANE], values[_WINDOWS] = plane, windows
        return PixelDescription(*values)

    def _differences(self, header: Header) -> set[int] | None:
        """The plain elements in which another file differs; None if it differs in more than those."""
        known = self._header
        ours, theirs = known.dataset, header.dataset
        if (
            known.pixels is None
            or header.pixels is None
            or known.pixels.tag != header.pixels.tag
            or known.is_encapsulated != header.is_encapsulated
            or known.transfer_syntax_uid != header.transfer_syntax_uid
            or known.sop_class_uid != header.sop_class_uid
            or known.encoding != header.encoding
            or len(ours.values) != len(theirs.values)
            or not _are_equal(ours.representations, theirs.representations)
            or not _are_equal(ours.sequences, theirs.sequences)
        ):
            return None
        values = ours.values
        return {tag for tag, value in theirs.values.items() if values.get(tag) != value}


def _are_equal(one: object, other: object) -> bool:
    return one is other or one == other  # files that are written alike share them


_FIELDS = [field.name for field in fields(PixelDescription)]
_values_of = attrgetter(*_FIELDS)
_PLANE, _WINDOWS = _FIELDS.index("plane"), _FIELDS.index("windows")
