"""Where the kinds of objects meet: no time, place or patient of one is taken for another's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest
from pydicom.uid import generate_uid

from medviewer.app.documents import readings
from medviewer.app.exporting import ExportWish
from medviewer.app.layer_planes import laid_on, of_other_volumes
from medviewer.app.layering import offers
from medviewer.app.on_screen import is_record_checked, pane_state, selections
from medviewer.app.opening import take_collection
from medviewer.app.printing import PrintWish
from medviewer.app.state import EMPTY, Layer, Selection
from medviewer.domain.layer import Segmentation
from medviewer.domain.study import Collection
from tests.document_maker import make_pdf, write_pdf
from tests.layer_objects import COMMON, CT_SLICES, ball, circle, voxels, write_ct, write_segmentation, write_structures

if TYPE_CHECKING:
    from medviewer.app.application import Application


def test_the_record_is_compared_again_after_a_document_of_another_patient(
    application: Application, tmp_path: Path
) -> None:
    write_ct(tmp_path / "a")
    write_ct(tmp_path / "b", SeriesNumber=9)
    write_pdf(tmp_path / "e.dcm", make_pdf(), PatientID="B2", PatientName="Beta^Ben")
    application.run_command("file.open_folder", tmp_path)
    assert application.state.selection is not None
    application.run_command("layout.use", (1, 2))
    before = application.state.record
    assert is_record_checked(application.state)
    shown = application.state.selection
    letter = next(one.document for one in readings(application.state.collection))
    application.run_command("document.show", letter)
    application.run_command("image.select", shown)
    assert application.state.record == before
    assert is_record_checked(application.state)


def test_the_other_viewports_grow_while_a_document_is_read(application: Application, tmp_path: Path) -> None:
    """Else a series whose files were found meanwhile would look as if these were all."""
    app = application
    write_ct(tmp_path / "a")
    write_ct(tmp_path / "b", SeriesNumber=9)
    write_pdf(tmp_path / "e.dcm", make_pdf(), **{k: v for k, v in COMMON.items() if k != "FrameOfReferenceUID"})
    app.run_command("file.open_folder", tmp_path)
    app.run_command("layout.use", (1, 2))
    whole = app.state.collection
    take_collection(app, _first_images(whole, 3))
    assert len(shown(app, 1).stack.images) == 3
    app.run_command("document.show", next(one.document for one in readings(app.state.collection)))
    take_collection(app, whole)
    app.run_command("document.close")
    assert [len(shown(app, index).stack.images) for index in (0, 1)] == [CT_SLICES, CT_SLICES]


def _first_images(collection: Collection, count: int) -> Collection:
    """The collection as it was when so many images of each stack had been found."""
    (patient,) = collection.patients
    (study,) = patient.studies
    series = tuple(
        replace(one, stacks=tuple(replace(stack, images=stack.images[:count]) for stack in one.stacks))
        for one in study.series
    )
    return replace(collection, patients=(replace(patient, studies=(replace(study, series=series),)),))


def shown(app: Application, index: int) -> Selection:
    selection = pane_state(app.state, index).selection
    assert selection is not None
    return selection


@pytest.fixture
def two_times(application: Application, tmp_path: Path) -> Application:
    """A CT at two times, and a segmentation that was made on the second."""
    series = generate_uid()
    write_ct(tmp_path / "a", series=series, TriggerTime="0")
    later = write_ct(tmp_path / "b", series=series, TriggerTime="400")
    write_segmentation(tmp_path / "z-seg.dcm", later, [ball(voxels(later), (0, 0, 10), 20)])
    application.run_command("file.open_folder", tmp_path)
    found = next(one for one in selections(application.state.collection) if one.series.modality == "CT")
    application.run_command("image.select", found)
    application.run_command("image.show", 12)
    return application


def test_a_segmentation_lies_over_the_time_that_it_was_made_on(two_times: Application) -> None:
    app = two_times
    assert app.state.selection.stack.axis is not None
    app.run_command("image.show_volume", 1)
    app.run_command("layer.lay", offers(app.state)[0].key)
    assert len(laid_on(app.state)) == 1
    app.run_command("image.show_volume", 0)
    assert laid_on(app.state) == ()
    app.run_command("layout.planes")
    for index in range(3):
        assert laid_on(pane_state(app.state, index)) == ()


def test_structures_lie_over_the_time_on_which_they_were_drawn(application: Application, tmp_path: Path) -> None:
    """As outlines of one heart phase; those drawn on another series of the same place lie over all of them."""
    series = generate_uid()
    write_ct(tmp_path / "a", series=series, TriggerTime="0")
    later = write_ct(tmp_path / "b", series=series, TriggerTime="400")
    drawn_on = pydicom.dcmread(later[12])
    outline = circle((0.0, 0.0, float(drawn_on.ImagePositionPatient[2])), 20.0)
    path = write_structures(tmp_path / "rt.dcm", {"heart": [outline]})
    for uid, times in ((drawn_on.SOPInstanceUID, [1]), ("1.2.3.4", [0, 1])):
        dataset = pydicom.dcmread(path)
        image = pydicom.Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = drawn_on.SOPClassUID, uid
        dataset.ROIContourSequence[0].ContourSequence[0].ContourImageSequence = [image]
        dataset.save_as(path)
        application.run_command("file.open_folder", tmp_path)
        application.run_command("image.show", 12)
        application.run_command("layer.lay", offers(application.state)[0].key)
        seen = []
        for time in (0, 1):
            application.run_command("image.show_volume", time)
            if laid_on(application.state):
                seen.append(time)
            assert bool(of_other_volumes(application.state)) is not bool(laid_on(application.state))
        assert seen == times


def test_times_within_one_file_are_told_apart_by_its_frames(two_times: Application) -> None:
    app = two_times
    app.run_command("image.show_volume", 1)
    key = offers(app.state)[0].key
    app.run_command("layer.lay", key)
    source, now = app.state.layer_sources[key], app.state.selection
    assert isinstance(source, Segmentation)
    assert now is not None
    images = tuple(replace(one, sop_instance_uid="1.2.3", frame=n) for n, one in enumerate(now.stack.images))
    of_one_file = replace(app.state, selection=replace(now, stack=replace(now.stack, images=images)))
    for frames, is_other in ((frozenset({CT_SLICES + 3}), False), (frozenset({3}), True), (frozenset(), False)):
        made_on = replace(source, references={"1.2.3": frames})
        state = replace(of_one_file, layer_sources={key: made_on}, layers={images[0].key: (Layer(key),)})
        assert bool(of_other_volumes(state)) is is_other


@pytest.mark.parametrize("command", ["file.export_image", "file.copy_image", "file.print"])
def test_no_picture_leaves_while_a_layer_is_missing(two_times: Application, tmp_path: Path, command: str) -> None:
    app = two_times
    app.run_command("image.show_volume", 1)
    app.run_command("layer.lay", offers(app.state)[0].key)
    app.session.update(laid=EMPTY)  # as while it is being cut
    wish = {"file.export_image": ExportWish(tmp_path / "a.png"), "file.print": PrintWish(tmp_path / "a.pdf")}
    app.run_command(command, wish.get(command))
    assert app.state.notice is not None
    assert app.state.notice.text == "A layer over the image is not there yet: wait a moment, or hide the layers."


def test_stacks_of_one_series_in_other_frames_of_reference_are_not_linked(
    application: Application, tmp_path: Path
) -> None:
    series = generate_uid()
    write_ct(tmp_path / "a", series=series)
    write_ct(tmp_path / "b", series=series, reference=generate_uid())
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.use", (1, 2))
    other = pane_state(application.state, 1)
    assert other.selection is not None
    assert other.selection.series is application.state.selection.series
    application.run_command("image.show", 12)
    assert pane_state(application.state, 1).selection.index == other.selection.index
    application.run_command("layout.point", (0.0, 0.0, 30.0))
    assert pane_state(application.state, 1).selection.index == other.selection.index
