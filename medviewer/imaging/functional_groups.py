"""Where a frame's attributes may stand: its own functional groups, the shared ones, or the data set.

Source: PS3.3 C.7.6.16 (functional groups), C.8.19.6.4 (XA/XRF Frame Pixel Data Properties), C.7.6.16.2.8 (Frame
Anatomy), C.7.6.16.2.15 (Patient Orientation in Frame).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace

from medviewer.domain.frozen import dataclass
from medviewer.domain.study import LookUpTable
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet


@dataclass(frozen=True, slots=True)
class FunctionalGroups:
    """The groups of one frame.

    ``tables`` are those that were read of the file already: what all frames share is read, and kept, once.
    """

    dataset: DataSet
    shared: DataSet
    own: DataSet
    tables: dict[tuple[int, bool], LookUpTable | None] = field(default_factory=dict)

    def item(self, sequence: int) -> DataSet:
        """Give the functional group of this frame; the data set itself where there is none."""
        items = self.items(sequence)
        return items[0] if items else self.dataset

    def items(self, sequence: int) -> list[DataSet]:
        """Give all items of a functional group of this frame, which may have none."""
        return self.own.items(sequence) or self.shared.items(sequence)

    def with_detector(self) -> DataSet:
        """Give the data set with the detector's spacing of this frame in the place of its own, where a group has it."""
        group, tag = self.item(tags.FRAME_PIXEL_DATA_PROPERTIES_SEQUENCE), tags.IMAGER_PIXEL_SPACING
        if group is self.dataset or tag not in group.values:
            return self.dataset
        return replace(self.dataset, values={**self.dataset.values, tag: group.values[tag]})

    def patient_orientation(self) -> tuple[str, str] | None:
        """Give the directions of rows and columns, of this frame before those of the file."""
        for source in (self.item(tags.PATIENT_ORIENTATION_IN_FRAME_SEQUENCE), self.dataset):
            words = source.texts(tags.PATIENT_ORIENTATION)
            if len(words) == 2 and any(words):
                return words[0], words[1]
        return None

    def laterality(self) -> str:
        """Give the side, of this frame before that of the file; "" where neither says it."""
        own = [item.text(tags.FRAME_LATERALITY) for item in self.items(tags.FRAME_ANATOMY_SEQUENCE)]
        return next(filter(None, own), "") or (
            self.dataset.text(tags.IMAGE_LATERALITY) or self.dataset.text(tags.LATERALITY)
        )

    def voi_luts(self, read: Callable[[DataSet], LookUpTable | None], *, is_signed: bool) -> tuple[LookUpTable, ...]:
        """Give the usable VOI look-up tables, of this frame before those of the file.

        Args:
            read: makes a table of an item.
            is_signed: the values that are looked up may be negative, which decides how an item is read.
        """
        source = self.item(tags.FRAME_VOI_LUT_SEQUENCE)
        found = []
        for item in source.items(tags.VOI_LUT_SEQUENCE) or self.dataset.items(tags.VOI_LUT_SEQUENCE):
            key = id(item), is_signed  # the items live as long as the data set does
            if key not in self.tables:
                self.tables[key] = read(item)
            found.append(self.tables[key])
        return tuple(table for table in found if table is not None)
