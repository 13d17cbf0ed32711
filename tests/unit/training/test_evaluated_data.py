"""What an evaluation says of the data: whose they are by their names, and whether they were learned from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from medviewer.inference.card import Card, read_card
from medviewer.training.data import ClassFolders, LabelledImage, keep_decodable
from medviewer.training.evaluate import describe_images
from medviewer.training.metrics import roc_auc, with_intervals
from medviewer.training.report_page import page_head
from medviewer.training.scoring import Scored
from medviewer.training.subgroups import subgroups
from tests import fakes

pytestmark = pytest.mark.torch


def scored(names: list[str]) -> Scored:
    images = tuple(
        LabelledImage(Path(name), name, int(name.startswith("PNEUMONIA/")), f"p{n}", f"d{n}")
        for n, name in enumerate(names)
    )
    truth = np.array([image.label == 1 for image in images])
    return Scored(images, truth, np.linspace(0.1, 0.9, len(names)), np.arange(len(names), dtype=float), {})


def named(names: list[str]) -> set[str]:
    return {entry["name"] for entry in subgroups(scored(names), 0.5) if "quarter" not in entry["name"]}


def test_groups_of_the_published_names_are_made_of_published_films_only() -> None:
    normal = [f"NORMAL/IM-{n:04d}-0001.jpeg" for n in range(12)]
    sick = [f"PNEUMONIA/person{n}_virus_{n}.jpeg" for n in range(12)]
    assert named(normal + sick) == {
        "viral pneumonia, against all normal",
        "normal, series IM, against all pneumonia",
    }
    assert named(normal + [f"PNEUMONIA/IM-{n:04d}-0001.jpeg" for n in range(12)]) == set()


def test_one_file_under_several_names_is_of_one_patient_and_named() -> None:
    """Four times the same films are no more patients: intervals would be half as wide."""
    once = [f"{name}/{n}.png" for name in ("NORMAL", "PNEUMONIA") for n in range(30)]
    one = scored(once)
    four = scored([f"{name}-{n}" for n in range(4) for name in once])
    copied = tuple(
        replace(image, digest=f"d{n % 60}", group=f"p{n}", label=n % 60 // 30) for n, image in enumerate(four.images)
    )
    truth = np.tile(one.truth, 4)
    chance = np.random.default_rng(0).random(60) * 0.5 + one.truth * 0.3
    whole = Scored(copied, truth, np.tile(chance, 4), np.ones(240), {})
    assert len(set(whole.patients)) == len(set(one.patients)) == 60
    assert one.copies == []
    assert whole.copies[0] == [f"NORMAL/0.png-{n}" for n in range(4)]
    apart, wide = (
        with_intervals({"auc": roc_auc}, part.truth, chance_of, part.patients)["auc"]["ci95"]
        for part, chance_of in ((whole, whole.probability), (one, chance))
    )
    assert apart[1] - apart[0] == pytest.approx(wide[1] - wide[0], rel=0.2)
    chained = [replace(image, group=group, digest=digest) for image, group, digest in
               zip(one.images[:4], "abca", ("x", "x", "y", "y"), strict=True)]  # fmt: skip
    few = np.arange(4.0)
    assert len(set(Scored(tuple(chained), few > 1, few, few, {}).patients)) == 1


def test_a_file_in_both_classes_is_named_as_a_contradiction(card: Card, tmp_path: Path) -> None:
    names = ["NORMAL/a.png", "NORMAL/b.png", "NORMAL/c.png", "PNEUMONIA/<a>.png", "PNEUMONIA/d.png"]
    plain = scored(names)
    digests = ("x", "y", "y", "x", "z")
    copied = tuple(replace(image, digest=digest) for image, digest in zip(plain.images, digests, strict=True))
    both = replace(plain, images=copied)
    assert both.copies == [["NORMAL/a.png", "PNEUMONIA/<a>.png"], ["NORMAL/b.png", "NORMAL/c.png"]]
    data = describe_images(card, ClassFolders(tmp_path, ("NORMAL", "PNEUMONIA"), copied), both, [], None)
    assert data["contradicted"] == [["NORMAL/a.png", "PNEUMONIA/<a>.png"]]
    report = {"model": {"id": "m", "version": "1", "sha256": "s"}, "data": data, "started": "now"}
    page = "".join(page_head(report, "5 cases"))
    assert "Of copies, 1 with labels that contradict each other" in page
    assert page.count("NORMAL/a.png, PNEUMONIA/&lt;a&gt;.png") == 2
    report["data"] = describe_images(card, ClassFolders(tmp_path, ("NORMAL", "PNEUMONIA"), ()), plain, [], None)
    assert report["data"]["contradicted"] == []
    assert "contradict" not in "".join(page_head(report, "5 cases"))


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return read_card(fakes.make_model(tmp_path / "model"))


def learned(card: Card, tmp_path: Path, **training: object) -> Card:
    document = json.loads((card.folder / "model.json").read_text(encoding="utf-8"))
    document["training"] |= training
    (card.folder / "model.json").write_text(json.dumps(document), encoding="utf-8")
    return read_card(card.folder)


@pytest.mark.parametrize("is_by_part", [False, True])
def test_data_that_were_learned_from_are_known_though_an_image_is_damaged(
    card: Card, tmp_path: Path, *, is_by_part: bool
) -> None:
    found = scored([f"{name}/{n}.png" for name in ("NORMAL", "PNEUMONIA") for n in range(3)])
    images = tuple(
        LabelledImage(one.path, one.name, one.label, one.group, one.digest, "train", pixels=np.eye(2, dtype=np.uint8))
        for one in found.images
    )
    damaged = LabelledImage(tmp_path / "gone.png", "NORMAL/gone.png", 0, "p9", "d9", "train")
    whole = ClassFolders(tmp_path, ("NORMAL", "PNEUMONIA"), (*images, damaged))
    used = keep_decodable(whole, lambda *_: None).digest
    card = learned(card, tmp_path, **({"data_digests": {"train": used}} if is_by_part else {"data_digest": used}))
    unusable = [("NORMAL/gone.png", "cannot be decoded")]
    of_images = Scored(images, found.truth, found.probability, found.brightness, {})
    assert describe_images(card, whole, of_images, unusable, None)["was_learned_from"] is True
    other = learned(card, tmp_path, **({"data_digests": {"train": "x"}} if is_by_part else {"data_digest": "x"}))
    assert describe_images(other, whole, of_images, unusable, None)["was_learned_from"] is False
