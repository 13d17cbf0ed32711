"""Class folders and the split: nothing lost in silence, no patient on two sides."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medviewer.domain.errors import InputError
from medviewer.training.data import (
    SPLITS,
    duplicates_across,
    find_images,
    patient_group,
    patients_of,
    read_class_folders,
    read_grey,
    split_key,
    split_patients,
    splits_of,
)
from medviewer.training.scoring import Scored

CLASSES = ("NORMAL", "PNEUMONIA")


def write(path, value=100, size=(6, 5), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, size, value)
    image.paste("white" if value == 0 else "black", (0, 0, size[0] // 2, size[1]))  # of one grey it would show nothing
    image.save(path)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "films"
    write(root / "NORMAL/IM-0115-0001.jpeg", 10)
    write(root / "NORMAL/NORMAL2-IM-0383-0001-0002.jpeg", 20)
    write(root / "PNEUMONIA/person3_bacteria_12.jpeg", 30)
    write(root / "PNEUMONIA/person3_virus_14.png", (200, 200, 200), mode="RGB")
    return root


def test_finds_labels_groups_and_pixels(folder):
    found, pixels = read_class_folders(folder, CLASSES)
    assert [(i.name, i.label, i.group) for i in found.images] == [
        ("NORMAL/IM-0115-0001.jpeg", 0, "IM-0115"),
        ("NORMAL/NORMAL2-IM-0383-0001-0002.jpeg", 0, "NORMAL2-IM-0383"),
        ("PNEUMONIA/person3_bacteria_12.jpeg", 1, "person3_bacteria"),
        ("PNEUMONIA/person3_virus_14.png", 1, "person3_virus"),
    ]
    assert found.per_class == {"NORMAL": 2, "PNEUMONIA": 2}
    assert [image.shape for image in pixels] == [(5, 6)] * 4
    assert pixels[3].max() == 200


def test_the_table_beside_the_folder_names_the_patients(folder):
    folder.with_suffix(".csv").write_text("file,label,patient_group\nNORMAL/IM-0115-0001.jpeg,NORMAL,child-7\n")
    groups = [image.group for image in find_images(folder, CLASSES).images]
    assert groups == ["child-7", "NORMAL2-IM-0383", "person3_bacteria", "person3_virus"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffile,label,patient_group\nNORMAL/IM-0115-0001.jpeg,NORMAL,child-7\n",  # as spreadsheets save it
        " File ,Patient_Group\nNORMAL/IM-0115-0001.jpeg, child-7\n",
    ],
)
def test_the_table_beside_the_folder_may_come_from_a_spreadsheet(folder, text):
    folder.with_suffix(".csv").write_text(text, encoding="utf-8")
    assert find_images(folder, CLASSES).images[0].group == "child-7"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"file;patient_group\nNORMAL/IM-0115-0001.jpeg;child-7\n", "has no column file. Name its columns"),
        (b"file,patient\nNORMAL/IM-0115-0001.jpeg,child-7\nNORMAL/9.png,child-7\n", "has no column patient_group"),
        (b"file,patient_group\na,b\n,x\n,x\na,c\n", "Row 5 of films.csv names a a second time"),
        (b"file,patient_group,File\na,b,c\n", "two columns file"),
        (b"file,patient_group\nM\xfcller,b\n", "no CSV file in UTF-8"),
    ],
)
def test_a_table_beside_the_folder_that_is_not_understood_is_refused(folder, content, sentence):
    """Were it ignored, each image would be a patient of its own, in any part."""
    write(folder / "NORMAL" / "9.png")
    folder.with_suffix(".csv").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        find_images(folder, CLASSES)


def test_a_table_beside_published_films_need_not_tell_the_patients(folder):
    folder.with_suffix(".csv").write_text("file,label\nNORMAL/IM-0115-0001.jpeg,NORMAL\n")
    assert find_images(folder, CLASSES).images[0].group == "IM-0115"


def test_files_that_the_table_does_not_mean_are_named(folder):
    lines = ["file,label,patient_group,sha256"]
    for path in sorted(folder.glob("*/*")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{path.parent.name}/{path.name},{path.parent.name},,{digest}")
    lines[2] = lines[2].replace(lines[2].rpartition(",")[2], "0" * 64)
    lines.append("NORMAL/gone.png,NORMAL,child-9,")
    folder.with_suffix(".csv").write_text("\n".join(lines))
    found = find_images(folder, CLASSES)
    assert len(found.images) == 3
    assert [name for name, _ in found.unusable] == ["NORMAL/NORMAL2-IM-0383-0001-0002.jpeg", "NORMAL/gone.png"]
    assert "is not the published file" in found.unusable[0][1]
    assert "but not there" in found.unusable[1][1]


def test_a_row_of_the_table_that_names_no_file_is_named(folder):
    lines = ["file,patient_group", ",child-7", ",", "NORMAL/IM-0115-0001.jpeg,child-1"]
    folder.with_suffix(".csv").write_text("\n".join(lines))
    found = find_images(folder, CLASSES)
    assert found.unusable == ((f"row 2 of {folder.name}.csv", "names no file"),)


def test_the_digest_follows_names_and_contents(folder):
    before = find_images(folder, CLASSES).digest
    assert find_images(folder, CLASSES).digest == before
    write(folder / "NORMAL/IM-0115-0001.jpeg", 11)
    assert find_images(folder, CLASSES).digest != before


def test_what_cannot_be_used_is_named(folder):
    (folder / "NORMAL/IM-0116-0001.jpeg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    (folder / "NORMAL/Thumbs.db").write_bytes(b"")
    found, pixels = read_class_folders(folder, CLASSES)
    assert len(pixels) == len(found.images) == 4
    assert [name for name, _ in found.unusable] == ["NORMAL/Thumbs.db", "NORMAL/IM-0116-0001.jpeg"]


@pytest.mark.parametrize("grey", [0, 77, 255])
def test_an_image_of_one_grey_shows_nothing_and_is_named(folder, grey):
    Image.new("L", (6, 5), grey).save(folder / "NORMAL/IM-0999-0001.png")
    found, pixels = read_class_folders(folder, CLASSES)
    assert len(pixels) == len(found.images) == 4
    ((name, reason),) = found.unusable
    assert name == "NORMAL/IM-0999-0001.png"
    assert reason == "The image is one grey all over and shows nothing; leave it out or replace it."


def test_a_class_of_nothing_but_flat_images_says_why_it_has_none(folder):
    for path in (folder / "NORMAL").iterdir():
        Image.new("L", (6, 5)).save(path)
    with pytest.raises(InputError) as refused:
        read_class_folders(folder, CLASSES)
    said = str(refused.value)
    assert said.startswith(f"The class 'NORMAL' in {folder} has no usable image; add files of it. ")
    assert "Left out as not usable: 2; the first is NORMAL/IM-0115-0001.jpeg: The image is one grey all over" in said


def test_sixteen_bit_png_keeps_its_shades(tmp_path):
    Image.fromarray(np.array([[0, 30000, 60000]], dtype=np.uint16)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), [[0, 128, 255]])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda root: (root / "COVID").mkdir(), "unknown class folder 'COVID'"),
        (lambda root: [p.unlink() for p in (root / "NORMAL").iterdir()], "'NORMAL'.*no usable image"),
        (lambda root: (root / "NORMAL").rename(root.parent / "NORMAL"), "no class folder 'NORMAL'"),
        (lambda root: root.rename(root.parent / "elsewhere"), "cannot be read"),
    ],
)
def test_a_wrong_folder_is_one_clear_sentence(folder, change, sentence):
    change(folder)
    with pytest.raises(InputError, match=sentence):
        read_class_folders(folder, CLASSES)


def test_identical_files_across_splits_are_found(folder):
    (folder / "NORMAL/IM-0900-0001.jpeg").write_bytes((folder / "NORMAL/IM-0115-0001.jpeg").read_bytes())
    images = find_images(folder, CLASSES).images
    same = {image.group: "train" for image in images}
    assert duplicates_across(images, same) == []
    apart = same | {"IM-0900": "report"}
    assert duplicates_across(images, apart) == [("NORMAL/IM-0115-0001.jpeg", "NORMAL/IM-0900-0001.jpeg")]


group_names = st.one_of(
    st.integers(1, 400).map("person{}_bacteria".format),
    st.integers(1, 400).map("person{}_virus".format),
    st.integers(1, 400).map("IM-{:04d}".format),
    st.integers(1, 400).map("NORMAL2-IM-{:04d}".format),
    st.text("abcXYZ_-", min_size=1, max_size=8),
)


@given(st.lists(group_names, min_size=1, max_size=200), st.integers(0, 5))
def test_no_patient_is_in_two_splits(groups, seed):
    where = split_patients(groups, seed)
    assert set(where) == set(groups)
    assert set(where.values()) <= set(SPLITS)
    together = defaultdict(set)
    for group, split in where.items():
        together[split_key(group)].add(split)
    assert all(len(splits) == 1 for splits in together.values())
    assert split_patients(list(reversed(groups)), seed) == where


@given(st.lists(group_names, min_size=1, max_size=60), group_names, st.integers(0, 3))
def test_another_patient_moves_nobody_between_random_splits(groups, newcomer, seed):
    before, after = split_patients(groups, seed), split_patients([*groups, newcomer], seed)
    moved = {g for g in groups if before[g] != after[g]}
    # Only the block's edge may move: it is a share of the numbers there are.
    assert all("block" in {before[g], after[g]} for g in moved)


def test_shares_are_about_what_was_asked_and_the_block_is_the_lowest_numbers():
    groups = [f"person{n}_virus" for n in range(1, 2001)]
    where = split_patients(groups, 0)
    block = {int(re.search(r"\d+", g).group()) for g, split in where.items() if split == "block"}
    assert block == set(range(1, 161))
    rest = [split for split in where.values() if split != "block"]
    assert rest.count("tune") / len(rest) == pytest.approx(0.09, abs=0.02)
    assert rest.count("report") / len(rest) == pytest.approx(0.11, abs=0.02)
    assert split_patients(groups, 1) != where


def test_names_without_a_pattern_are_patients_of_their_own():
    assert patient_group("film7.png") == "film7"
    assert split_key("film7") == "film7"


def test_only_names_of_published_films_go_by_their_rule(folder, tmp_path):
    films = patients_of(find_images(folder, CLASSES).images)
    assert films == {
        "IM-0115": "IM-0115", "NORMAL2-IM-0383": "IM-0383", "person3_bacteria": "person3", "person3_virus": "person3",
    }  # fmt: skip
    for name in ("NORMAL/NORMAL-7.png", "NORMAL/x.png", "PNEUMONIA/7.png", "PNEUMONIA/x_virus.png"):
        write(tmp_path / "own" / name)
    own = {image.group for image in find_images(tmp_path / "own", CLASSES).images}
    assert patients_of(find_images(tmp_path / "own", CLASSES).images) == {group: group for group in own}


def test_patients_of_a_label_table_stay_as_they_are(tmp_path):
    """``IM-1`` and ``NORMAL-IM-1`` would be one patient if they were named by the published films' rule."""
    pairs = [(f"NORMAL-IM-{n}", f"IM-{n}") for n in range(40)]
    rows = ["file,label,patient"]
    for n, patient in enumerate(patient for pair in pairs for patient in pair):
        # The files may be the published ones: the table says whose they are.
        write(tmp_path / f"IM-{n:04}-0001.png", n)
        rows.append(f"IM-{n:04}-0001.png,{CLASSES[n % 2]},{patient}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    found = find_images(tmp_path, CLASSES)
    assert patients_of(found.images) == {patient: patient for pair in pairs for patient in pair}
    where = splits_of(found, 0)
    assert any(where[one] != where[other] for one, other in pairs if "block" not in (where[one], where[other]))
    truth = np.array([image.label == 1 for image in found.images])
    scored = Scored(found.images, truth, truth * 0.5, truth * 1.0, {})
    assert len(set(scored.patients)) == 80
