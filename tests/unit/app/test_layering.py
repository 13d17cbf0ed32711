"""Layers over the image on screen: which may be, where they are cut, and that none is ever drawn elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pydicom
import pytest

from medviewer.app import layer_planes, layering
from medviewer.app.commands import command
from medviewer.app.layer_planes import laid_on, shown_plane
from medviewer.app.layering import LayerChange, Offer, offers
from medviewer.app.linking import shown_grid
from medviewer.app.oblique import turn
from medviewer.app.on_screen import layers_of, pane_state, selections
from medviewer.domain.layer import LabelPlane, ScalarPlane
from medviewer.domain.study import Window
from medviewer.imaging.planes import to_patient
from tests.layer_objects import (
    FRAME_OF_REFERENCE,
    ball,
    circle,
    voxels,
    write_ct,
    write_dose,
    write_pet,
    write_segmentation,
    write_structures,
)

if TYPE_CHECKING:
    from medviewer.app.application import Application

HOT = np.array([30.0, -20.0, 10.0])


def hot_spot(points: np.ndarray) -> np.ndarray:
    return np.asarray(500 + 40000 * np.exp(-((points - HOT) ** 2).sum(axis=-1) / (2 * 9.0**2)))


def dose(points: np.ndarray) -> np.ndarray:
    return np.asarray(20 + 0.05 * points[..., 0])


@pytest.fixture
def reader(application: Application, tmp_path: Path) -> Application:
    """The CT on screen, with a PET, a dose, a segmentation and structures beside it."""
    ct = write_ct(tmp_path / "a-ct")
    write_pet(tmp_path / "pt", hot_spot)
    write_dose(tmp_path / "z-dose.dcm", dose)
    points = voxels(ct)
    write_segmentation(tmp_path / "z-seg.dcm", ct, [ball(points, HOT, 18), ball(points, (-20, 10, 0), 26)])
    write_structures(tmp_path / "z-structures.dcm", {"PTV": [circle((0, 0, z), 20) for z in range(-20, 25, 5)]})
    application.run_command("file.open_folder", tmp_path)
    choose(application, "CT")
    application.run_command("image.show", 12)  # at z = 10
    return application


def choose(app: Application, modality: str) -> None:
    found = next(one for one in selections(app.state.collection) if one.series.modality == modality)
    app.run_command("image.select", found)


def offer(app: Application, modality: str) -> Offer:
    return next(one for one in offers(app.state) if one.modality == modality)


def lay(app: Application, modality: str) -> Any:
    """Lay it over and give its key."""
    key = offer(app, modality).key
    app.run_command("layer.lay", key)
    return key


def scalar_plane(app: Application, index: int | None = None) -> ScalarPlane:
    state = app.state if index is None else pane_state(app.state, index)
    (laid,) = laid_on(state)
    assert isinstance(laid.plane, ScalarPlane)
    return laid.plane


def said(app: Application) -> str:
    return app.state.notice.text if app.state.notice is not None else ""


def test_what_lies_in_the_same_frame_of_reference_is_offered(reader: Application) -> None:
    found = [(one.modality, one.kind, one.why_not) for one in offers(reader.state)]
    assert sorted(found) == [
        ("PT", "values", ""), ("RTDOSE", "values", ""), ("RTSTRUCT", "structures", ""), ("SEG", "segments", ""),
    ]  # fmt: skip


def test_a_layer_is_cut_with_the_image_on_screen(reader: Application) -> None:
    lay(reader, "PT")
    plane = scalar_plane(reader)
    grid = shown_grid(reader.state)
    assert grid is not None
    row, column = np.unravel_index(np.nanargmax(plane.values), plane.values.shape)
    assert to_patient(grid, column + 0.5, row + 0.5) == pytest.approx(HOT, abs=4.0)


@pytest.mark.parametrize("command", ["view.flip_horizontal", "view.rotate_right"])
def test_flips_and_turns_are_the_views_and_not_the_layers(reader: Application, command: str) -> None:
    lay(reader, "PT")
    before = scalar_plane(reader)
    reader.run_command(command)
    assert scalar_plane(reader) is before


def test_scrolling_cuts_each_slice_and_keeps_what_was_cut(reader: Application) -> None:
    lay(reader, "PT")
    first = scalar_plane(reader)
    reader.run_command("image.next")
    second = scalar_plane(reader)
    assert not np.array_equal(first.values, second.values)
    reader.run_command("image.previous")
    assert scalar_plane(reader) is first


def test_the_next_images_are_cut_ahead(reader: Application) -> None:
    """An image that comes without its layer, and with it a moment later, flickers while it is scrolled."""
    lay(reader, "PT")
    seen = []
    stop = reader.session.watch(lambda _old, new: seen.append(laid_on(new)[0].plane))
    reader.run_command("image.next")
    stop()
    assert seen
    assert None not in seen


def test_every_plane_of_the_series_has_its_cut(reader: Application) -> None:
    lay(reader, "PT")
    reader.run_command("layout.planes")
    reader.run_command("layout.point", tuple(float(v) for v in HOT))
    for index in range(4):
        state = pane_state(reader.state, index)
        grid, values = shown_grid(state), scalar_plane(reader, index).values
        assert grid is not None
        row, column = np.unravel_index(np.nanargmax(values), values.shape)
        assert to_patient(grid, column + 0.5, row + 0.5) == pytest.approx(HOT, abs=4.0), index


def test_oblique_planes_have_their_cuts(reader: Application) -> None:
    """Turned about the hot spot, every plane still goes through it."""
    reader.run_command("layout.planes")
    reader.run_command("layout.activate", 3)
    reader.run_command("layout.point", tuple(float(v) for v in HOT))
    lay(reader, "PT")
    reader.run_command("layout.activate", 0)
    turn(reader, 30.0)
    for index in (1, 2):
        state = pane_state(reader.state, index)
        assert state.cut is not None
        assert state.cut.axes is not None
        grid, values = shown_grid(state), scalar_plane(reader, index).values
        assert grid is not None
        row, column = np.unravel_index(np.nanargmax(values), values.shape)
        assert to_patient(grid, column + 0.5, row + 0.5) == pytest.approx(HOT, abs=4.0), index


def test_another_series_in_another_frame_of_reference_is_refused(application: Application, tmp_path: Path) -> None:
    write_ct(tmp_path / "a-ct")
    write_pet(tmp_path / "pt", hot_spot, FrameOfReferenceUID="1.2.3")
    application.run_command("file.open_folder", tmp_path)
    choose(application, "CT")
    assert offer(application, "PT").why_not == layering.OTHER_REFERENCE
    application.run_command("layer.lay", offer(application, "PT").key)
    assert said(application) == layering.OTHER_REFERENCE
    assert layers_of(application.state) == ()


def test_an_image_without_a_frame_of_reference_gets_no_layer(application: Application, tmp_path: Path) -> None:
    write_ct(tmp_path / "a-ct", reference="")
    write_pet(tmp_path / "pt", hot_spot)
    application.run_command("file.open_folder", tmp_path)
    choose(application, "CT")
    application.run_command("layer.lay", offer(application, "PT").key)
    assert said(application) == layering.NO_REFERENCE


def test_an_image_without_a_place_gets_no_layer(application: Application, tmp_path: Path) -> None:
    write_ct(tmp_path / "a-ct", ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    write_pet(tmp_path / "pt", hot_spot)
    application.run_command("file.open_folder", tmp_path)
    choose(application, "CT")
    application.run_command("layer.lay", offer(application, "PT").key)
    assert said(application) == layering.NO_PLACE


def test_a_layer_is_never_drawn_in_another_frame_of_reference(reader: Application) -> None:
    """Even if the state said so: another place has the same numbers there."""
    lay(reader, "PT")
    state = reader.state
    assert laid_on(state)
    now = state.selection
    assert now is not None
    moved = tuple(replace(image, frame_of_reference_uid="1.2.3") for image in now.stack.images)
    elsewhere = replace(now, stack=replace(now.stack, images=moved))
    assert laid_on(replace(state, selection=elsewhere)) == ()


def test_a_layer_of_another_plane_is_never_drawn_on_this_one(reader: Application) -> None:
    lay(reader, "PT")
    reader.run_command("image.next")
    state = reader.state
    here = shown_plane(state)
    others = {key: plane for key, plane in state.laid.items() if key[1] != here}
    assert others
    (laid,) = laid_on(replace(state, laid=MappingProxyType(others)))
    assert laid.plane is None


def test_another_patient_is_never_offered_nor_laid(application: Application, tmp_path: Path) -> None:
    """An archive that copies UIDs: the same frame of reference, another person."""
    write_ct(tmp_path / "a-ct")
    write_pet(tmp_path / "pt", hot_spot, PatientID="SOMEBODY-ELSE", PatientName="Else^Somebody")
    structures = {"PTV": [circle((0, 0, z), 20) for z in range(-20, 25, 5)]}
    write_structures(tmp_path / "z.dcm", structures, PatientID="SOMEBODY-ELSE", PatientName="Else^Somebody")
    application.run_command("file.open_folder", tmp_path)
    choose(application, "CT")
    assert application.state.structure_files
    assert offers(application.state) == ()


def test_values_take_the_place_of_values_and_labels_come_on_top(reader: Application) -> None:
    lay(reader, "PT")
    segments = lay(reader, "SEG")
    planned = lay(reader, "RTDOSE")
    assert [layer.source for layer in layers_of(reader.state)] == [segments, planned]


def test_segments_lie_on_the_slices_where_they_are(reader: Application) -> None:
    lay(reader, "SEG")
    (laid,) = laid_on(reader.state)
    assert isinstance(laid.plane, LabelPlane)
    assert set(laid.plane.outlines) == {1, 2}
    reader.run_command("image.first")
    (laid,) = laid_on(reader.state)
    assert isinstance(laid.plane, LabelPlane)
    assert laid.plane.outlines == {}


def test_structures_beside_the_images_are_laid_over_them(reader: Application) -> None:
    lay(reader, "RTSTRUCT")
    (laid,) = laid_on(reader.state)
    assert isinstance(laid.plane, LabelPlane)
    (outline,) = laid.plane.outlines[1]
    assert len(outline) == 360
    reader.run_command("image.first")
    (laid,) = laid_on(reader.state)
    assert isinstance(laid.plane, LabelPlane)
    assert laid.plane.outlines == {}


@pytest.mark.reliability
def test_structures_in_two_frames_of_reference_are_laid_in_each(application: Application, tmp_path: Path) -> None:
    write_ct(tmp_path / "a")
    write_ct(tmp_path / "b", reference="2.25.9", Modality="MR", SeriesNumber=3)
    regions = {"here": [circle((0, 0, 0), 20)], "there": [circle((0, 0, 0), 40)]}
    path = write_structures(tmp_path / "z.dcm", regions)
    dataset = pydicom.dcmread(path)
    dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "2.25.9"
    dataset.save_as(path)
    application.run_command("file.open_folder", tmp_path)
    for _ in range(2):  # the second time both have been read
        for modality, number in (("CT", 1), ("MR", 2)):
            choose(application, modality)
            application.run_command("image.show", 10)  # at z = 0
            key = lay(application, "RTSTRUCT")
            (laid,) = laid_on(application.state)
            assert isinstance(laid.plane, LabelPlane)
            assert [one for one, outlines in laid.plane.outlines.items() if outlines] == [number]
            choose(application, "MR" if modality == "CT" else "CT")
            choose(application, modality)
            assert laid_on(application.state), "the other one takes nothing away"
        application.run_command("layer.remove", key)
        choose(application, "CT")
        application.run_command("layer.remove", offer(application, "RTSTRUCT").key)
        assert layers_of(application.state) == ()


def test_a_segmentation_of_other_images_is_refused(reader: Application, tmp_path: Path) -> None:
    """It lies in the same frame of reference, but was made on the CT and not on the PET."""
    choose(reader, "PT")
    reader.run_command("layer.lay", offer(reader, "SEG").key)
    assert said(reader) == layering.OTHER_IMAGES
    assert layers_of(reader.state) == ()
    choose(reader, "CT")
    lay(reader, "SEG")
    assert layers_of(reader.state)
    choose(reader, "PT")  # now it has been read already
    reader.run_command("layer.lay", offer(reader, "SEG").key)
    assert layers_of(reader.state) == ()


def test_nothing_is_laid_while_files_are_still_being_read(reader: Application) -> None:
    class Opening:
        running = ("open",)

    reader.jobs, kept = Opening(), reader.jobs  # type: ignore[assignment]
    try:
        reader.run_command("layer.lay", offer(reader, "PT").key)
    finally:
        reader.jobs = kept
    assert said(reader) == layering.STILL_OPENING


def test_layers_are_remembered_for_each_stack(reader: Application) -> None:
    key = lay(reader, "PT")
    choose(reader, "PT")
    assert layers_of(reader.state) == ()
    choose(reader, "CT")
    assert [layer.source for layer in layers_of(reader.state)] == [key]


def test_laying_changing_and_removing_can_be_undone(reader: Application) -> None:
    key = lay(reader, "PT")
    reader.run_command("layer.change", LayerChange(key, {"opacity": 0.8}))
    reader.run_command("layer.change", LayerChange(key, {"range": (1.0, 4.0)}))
    reader.run_command("layer.remove", key)
    assert layers_of(reader.state) == ()
    seen = []
    for _ in range(4):
        reader.run_command("edit.undo")
        seen.append([(layer.opacity, layer.range) for layer in layers_of(reader.state)])
    assert seen == [[(0.8, (1.0, 4.0))], [(0.8, None)], [(0.5, None)], []]
    reader.run_command("edit.redo")
    assert len(layers_of(reader.state)) == 1
    assert scalar_plane(reader).values.size


def test_a_window_change_undone_leaves_the_layer(reader: Application) -> None:
    lay(reader, "PT")
    reader.run_command("view.window", Window(50, 300))
    reader.run_command("edit.undo")
    assert len(layers_of(reader.state)) == 1


def test_the_steps_of_a_slider_are_undone_together(reader: Application) -> None:
    key = lay(reader, "PT")
    for opacity in (0.6, 0.7, 0.8):
        reader.run_command("layer.change", LayerChange(key, {"opacity": opacity}, "opacity"))
    reader.run_command("edit.undo")
    assert layers_of(reader.state)[0].opacity == 0.5


@pytest.mark.parametrize(
    ("changes", "words"), [({"range": (4.0, 4.0)}, "above the lower"), ({"color_map": "jet"}, "no colour map")]
)
def test_what_makes_no_sense_is_refused(reader: Application, changes: dict[str, Any], words: str) -> None:
    key = lay(reader, "PT")
    before = layers_of(reader.state)
    reader.run_command("layer.change", LayerChange(key, changes))
    assert words in said(reader)
    assert layers_of(reader.state) == before


def test_one_key_hides_and_shows_them(reader: Application) -> None:
    lay(reader, "PT")
    reader.run_command("layer.toggle")
    assert laid_on(reader.state) == ()
    reader.run_command("layer.toggle")
    assert len(laid_on(reader.state)) == 1


def test_a_key_goes_through_what_can_be_laid_over(reader: Application) -> None:
    seen = []
    for _ in range(3):
        reader.run_command("layer.next")
        seen.append([reader.state.layer_sources[layer.source].modality for layer in layers_of(reader.state)])
    assert seen == [["PT"], ["RTDOSE"], []]


def test_where_nothing_can_be_laid_over_it_is_said(application: Application, tmp_path: Path) -> None:
    write_ct(tmp_path)
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layer.next")
    assert "No other series" in said(application)


def test_closing_forgets_the_layers(reader: Application, tmp_path: Path) -> None:
    lay(reader, "PT")
    reader.run_command("file.close")
    state = reader.state
    assert (dict(state.layers), dict(state.layer_sources), dict(state.laid)) == ({}, {}, {})
    assert state.structure_files == ()


def test_a_source_that_changed_on_the_disk_is_said(reader: Application, tmp_path: Path) -> None:
    key = offer(reader, "SEG").key
    write_ct(tmp_path / "other")[0].replace(tmp_path / "z-seg.dcm")
    reader.run_command("layer.lay", key)
    assert "changed" in said(reader)
    assert layers_of(reader.state) == ()


def test_a_late_layer_is_not_put_over_another_image(reader: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader goes on while it is read."""
    read = layering._read

    def slow(*arguments: Any) -> Any:
        choose(reader, "PT")
        return read(*arguments)

    monkeypatch.setattr(layering, "_read", slow)
    reader.run_command("layer.lay", offer(reader, "RTDOSE").key)
    assert dict(reader.state.layers) == {}


def test_memory_for_layers_has_an_end(reader: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(reader, "PT")
    monkeypatch.setattr(layering, "BUDGET_BYTES", 100_000)  # room for the PET or for the structures
    reader.run_command("layer.lay", offer(reader, "RTSTRUCT").key)
    assert "no memory left" in said(reader)
    reader.run_command("layer.remove", layers_of(reader.state)[0].source)
    lay(reader, "RTSTRUCT")  # what is no longer in use makes room
    assert [one.modality for one in reader.state.layer_sources.values()] == ["RTSTRUCT"]


def test_planes_that_are_kept_have_a_budget(reader: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(reader, "PT")
    monkeypatch.setattr(layer_planes, "BUDGET_BYTES", 20_000)
    reader.run_command("image.first")
    for _ in range(19):
        reader.run_command("image.next")
        assert scalar_plane(reader)
        assert sum(plane.size_bytes for plane in reader.state.laid.values()) <= 20_000


def test_a_plane_that_cannot_be_cut_is_said_and_the_image_stays(
    reader: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medviewer.domain.errors import GeometryError

    def refuse(*_arguments: object) -> None:
        raise GeometryError("No such plane.")

    lay(reader, "PT")
    monkeypatch.setattr(layer_planes, "cut_layer", refuse)
    reader.run_command("image.first")
    assert said(reader) == "No such plane."
    assert reader.state.frame is not None
    assert laid_on(reader.state)[0].plane is None


def test_undo_does_not_keep_what_was_read_in_memory(reader: Application) -> None:
    lay(reader, "PT")
    reader.run_command("view.invert")
    assert all(not past.state.layer_sources and not past.state.laid for past in reader.session._undo)


def test_the_frame_of_reference_is_that_of_the_file(reader: Application) -> None:
    now = reader.state.selection
    assert now is not None
    assert {image.frame_of_reference_uid for image in now.stack.images} == {FRAME_OF_REFERENCE}


def test_a_slab_of_the_image_has_a_slab_of_the_layer(reader: Application) -> None:
    """The hot spot's maximum shows in a thick slab beside it, as the image's own would."""
    lay(reader, "PT")
    reader.run_command("layout.planes")
    reader.run_command("layout.activate", 3)
    reader.run_command("layout.point", (30.0, -20.0, 32.0))
    thin = np.nanmax(scalar_plane(reader, 0).values)
    reader.run_command("layout.slab", (40.0, "max"))
    assert np.nanmax(scalar_plane(reader, 0).values) > 2 * thin


def test_a_plane_that_is_cut_and_its_layer_are_one_and_the_same(reader: Application) -> None:
    """The layer is cut with the plane that is coming; it must be the very one that comes."""
    reader.run_command("layout.planes")
    lay(reader, "PT")
    before = dict(reader.state.laid)
    seen = []
    stop = reader.session.watch(
        lambda old, new: seen.append(laid_on(new)[0].plane) if old.frame is not new.frame else None
    )
    reader.run_command("image.next")
    stop()
    new = [key for key in reader.state.laid if key not in before]
    assert shown_plane(reader.state) in [where for _, where in new]
    assert len(new) == len({where for _, where in new})
    assert seen == [scalar_plane(reader)]  # it is there as soon as the plane is


def test_layers_are_not_changed_unseen_behind_a_3d_view(reader: Application) -> None:
    lay(reader, "PT")
    assert command("layer.toggle").enabled(reader.state)
    hidden = replace(reader.state, scene=cast("Any", object()))
    assert not any(command(f"layer.{verb}").enabled(hidden) for verb in ("toggle", "next", "lay", "remove", "change"))


def test_undo_brings_back_no_layer_that_is_no_longer_in_memory(reader: Application, tmp_path: Path) -> None:
    """Else it would count as laid over, with nothing drawn, and could not be laid over again."""
    key = lay(reader, "PT")
    reader.run_command("layer.remove", key)
    reader.run_command("file.open_folder", tmp_path)
    choose(reader, "CT")
    reader.run_command("edit.undo")
    assert layers_of(reader.state) == ()
    lay(reader, "PT")
    assert len(laid_on(reader.state)) == 1
