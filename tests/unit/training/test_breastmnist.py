"""The published file read the right way round, copies kept together, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medviewer.domain.errors import InputError
from medviewer.training.breastmnist import CLASSES, part_digests, read_breastmnist
from medviewer.training.copies import grouped_folds, near_copies
from medviewer.training.data import COPY_ELSEWHERE, find_images
from tests.breast_maker import arrays, picture, write_npz

PUBLISHED = Path(os.environ.get("MEDVIEWER_DATA", "/nowhere")) / "breastmnist-train-val.npz"


def test_zero_is_malignant_in_the_file_and_one_here(tmp_path: Path) -> None:
    made = arrays(8)
    np.savez(tmp_path / "breast.npz", **made)
    found = find_images(tmp_path / "breast.npz", CLASSES)
    assert found.per_class == {"BENIGN_OR_NORMAL": 6, "MALIGNANT": 2}
    for image in found.images:
        row = int(image.name.rpartition("-")[2])
        assert (image.label == 1) == (made["train_labels"][row, 0] == 0) == image.name.startswith("MALIGNANT/")
        np.testing.assert_array_equal(image.read(), made["train_images"][row])


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="MEDVIEWER_DATA names no folder with breastmnist-train-val.npz")
def test_the_published_file_has_the_share_of_malignant_lesions_of_its_source() -> None:
    """BUSI: 210 malignant of 780; were the numbers turned round, it would be nearly three quarters."""
    found = find_images(PUBLISHED, CLASSES)
    assert found.per_class == {"BENIGN_OR_NORMAL": 456, "MALIGNANT": 168}
    assert found.per_class["MALIGNANT"] / 624 == pytest.approx(210 / 780, abs=0.01)
    assert len({image.group for image in found.images}) == 500


def test_copies_are_one_group_and_are_named_where_they_lie_in_two_parts(tmp_path: Path) -> None:
    made = arrays(12)
    copy = np.clip(made["train_images"][5].astype(int) + 3, 0, 255).astype(np.uint8)[:, ::-1]
    other = arrays(4, seed=9, prefix="val")
    other["val_images"][2] = copy
    np.savez(tmp_path / "breast.npz", **made, **other)
    found = read_breastmnist(tmp_path / "breast.npz", CLASSES)
    by_name = {image.name.partition("/")[2]: image for image in found.images}
    assert by_name["train-00005"].group == by_name["val-00002"].group
    assert by_name["val-00002"].facts[COPY_ELSEWHERE] == by_name["train-00005"].facts[COPY_ELSEWHERE] == "yes"
    assert by_name["val-00001"].facts[COPY_ELSEWHERE] == "no"
    assert by_name["val-00002"].split == "val"


def test_a_digest_for_each_part_tells_images_and_labels_apart(tmp_path: Path) -> None:
    made = arrays(8)
    np.savez(tmp_path / "a.npz", **made, **arrays(8, seed=2, prefix="val"))
    np.savez(tmp_path / "b.npz", **made, **arrays(8, seed=3, prefix="test"))
    first, second = (part_digests(read_breastmnist(tmp_path / name, CLASSES)) for name in ("a.npz", "b.npz"))
    assert first["train"] == second["train"]
    assert set(first) == {"train", "val"}
    made["train_labels"][1, 0] = 0
    np.savez(tmp_path / "c.npz", **made)
    assert part_digests(read_breastmnist(tmp_path / "c.npz", CLASSES))["train"] != first["train"]


WRONG: dict[str, tuple[Callable[[dict[str, np.ndarray]], object], str]] = {
    "no labels": (lambda a: a.pop("train_labels"), "only one of"),
    "colour": (lambda a: a.update(train_images=np.zeros((8, 28, 28, 3), np.uint8)), "not grey images"),
    "floats": (lambda a: a.update(train_images=np.full((8, 28, 28), np.nan)), "not grey images"),
    "too large": (lambda a: a.update(train_images=np.zeros((8, 513, 28), np.uint8)), "not grey images"),
    "one label too few": (lambda a: a.update(train_labels=np.zeros((7, 1), np.uint8)), "not one whole number"),
    "labels that are no numbers": (lambda a: a.update(train_labels=np.full((8, 1), np.nan)), "not one whole number"),
    "another label": (lambda a: a.update(train_labels=np.full((8, 1), 2, np.uint8)), "other numbers than 0"),
    "one class": (lambda a: a.update(train_labels=np.ones((8, 1), np.uint8)), "has no usable image"),
    "other arrays": (lambda a: a.clear(), "no MedMNIST file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, case: str) -> None:
    change, sentence = WRONG[case]
    made = arrays(8)
    change(made)
    np.savez(tmp_path / "breast.npz", **made)
    with pytest.raises(InputError, match=sentence):
        find_images(tmp_path / "breast.npz", CLASSES)


def test_a_damaged_or_foreign_file_is_one_sentence(tmp_path: Path) -> None:
    whole = write_npz(tmp_path / "breast.npz", 8).read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    np.savez(tmp_path / "pickle.npz", train_images=np.array([{}], dtype=object), train_labels=np.zeros(1))
    for name in ("half", "one", "pickle", "absent"):
        with pytest.raises(InputError):
            read_breastmnist(tmp_path / f"{name}.npz", CLASSES)
    with pytest.raises(InputError, match="not these data"):
        read_breastmnist(tmp_path / "breast.npz", ("NORMAL", "PNEUMONIA"))


def test_copies_are_found_mirrored_and_through_each_other_and_flat_images_resemble_nothing() -> None:
    chance = np.random.default_rng(0)
    one, other = (picture(chance, is_malignant=is_malignant) for is_malignant in (True, False))
    flat = np.full((28, 28), 90, np.uint8)
    group = near_copies([one, other, one[:, ::-1], flat, flat, np.repeat(np.repeat(one, 2, 0), 2, 1)])
    assert group.tolist() == [0, 1, 0, 3, 4, 0]
    assert near_copies([one, other, flat], ["a", "b", "b"]).tolist() == [0, 1, 1]
    noise = chance.normal(0, 1, (3, 28, 28)).astype(np.float32)
    chain = [noise[0], noise[0] + 0.3 * noise[1], noise[0] + 0.6 * noise[1]]
    ends = float(np.corrcoef(chain[0].ravel(), chain[2].ravel())[0, 1])
    assert near_copies(chain, limit=ends + 0.01).tolist() == [0, 0, 0]


def test_no_group_is_torn_and_both_classes_are_in_every_fold() -> None:
    chance = np.random.default_rng(1)
    groups = np.sort(chance.integers(0, 60, 120))
    labels = (groups % 4 == 0).astype(np.int64)
    fold = grouped_folds(labels, groups, 5, seed=3)
    assert all(len(set(fold[groups == group])) == 1 for group in np.unique(groups))
    shares = [labels[fold == index].mean() for index in range(5)]
    assert max(shares) - min(shares) < 0.12
    assert (grouped_folds(labels, groups, 5, seed=4) != fold).any()


def test_the_file_is_found_in_its_folder_whatever_it_is_called(tmp_path: Path) -> None:
    write_npz(tmp_path / "ours-train-val.npz", 8)
    np.savez(tmp_path / "features.npz", x=np.zeros(3))  # not of this form
    (tmp_path / "damaged.npz").write_bytes(b"PK")
    found = find_images(tmp_path, CLASSES)
    assert (found.root.name, len(found.images)) == ("ours-train-val.npz", 12)
    assert found.digest == find_images(tmp_path / "ours-train-val.npz", CLASSES).digest
    with pytest.raises(InputError, match="no class folder"):  # data of other classes are not looked for in it
        find_images(tmp_path, ("NORMAL", "PNEUMONIA"))


def test_of_several_files_the_published_name_is_meant_or_nobody_knows(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", 8)
    write_npz(tmp_path / "b.npz", 8)
    with pytest.raises(InputError, match=r"holds several files of this form \(a.npz, b.npz\); give the one"):
        find_images(tmp_path, CLASSES)
    write_npz(tmp_path / "breastmnist.npz", 12)
    assert find_images(tmp_path, CLASSES).root.name == "breastmnist.npz"


@pytest.mark.parametrize("other", ["folders", "labels.csv"])
def test_class_folders_and_a_label_table_go_before_a_file_beside_them(tmp_path: Path, other: str) -> None:
    write_npz(tmp_path / "a.npz", 8)
    for number, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        Image.fromarray(picture(np.random.default_rng(number), is_malignant=bool(number))).save(
            tmp_path / name / "1.png"
        )
    if other == "labels.csv":
        lines = [f"{name}/1.png,{name},{name}" for name in CLASSES]
        (tmp_path / other).write_text("\n".join(["file,label,patient", *lines]))
    found = find_images(tmp_path, CLASSES)
    assert len(found.images) == 2
    assert found.is_table == (other == "labels.csv")
