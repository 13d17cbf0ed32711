from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from medviewer.cli import main
from medviewer.domain.errors import InputError, ModelError, UsageError
from medviewer.inference.importing.monai import is_bundle, is_bundle_archive, read_bundle, unpack_bundle
from medviewer.inference.importing.questions import GraphFacts, questions, read_answers
from tests import outline_models
from tests.unit.inference.importing.test_onnx_file import bare_file

METADATA: dict[str, Any] = {
    "version": "0.3.1",
    "name": "Made-up chest classifier",
    "task": "classification of made-up films",
    "description": "Says which of three made-up findings a film shows.",
    "intended_use": "Tests only.",
    "copyright": "Nobody, CC0",
    "references": ["A made-up paper."],
    "network_data_format": {
        "inputs": {
            "image": {
                "type": "image", "format": "magnitude", "modality": "CXR", "num_channels": 1,
                "spatial_shape": [32, 32], "dtype": "float32", "value_range": [0, 1], "channel_def": {"0": "image"},
            }
        },
        "outputs": {
            "pred": {
                "type": "logits", "format": "classes", "num_channels": 3, "spatial_shape": [],
                "channel_def": {"0": "pneumonia", "1": "pleural effusion", "2": "mass"},
            }
        },
    },
}  # fmt: skip


def make_bundle(folder: Path, metadata: object = METADATA) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    # As bundles have it: a config that runs a command as soon as somebody opens it with MONAI.
    config = {"imports": ["$import os"], "run": [f"$os.mkdir({str(folder / 'was-run')!r})"]}
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    bare_file(folder / "models" / "model.onnx")
    return folder


def test_the_metadata_are_the_guesses(tmp_path: Path) -> None:
    brought = read_bundle(make_bundle(tmp_path / "bundle"))
    assert brought.network.name == "model.onnx"
    assert brought.hints == {
        "title": "Made-up chest classifier",
        "labels": ["pneumonia", "pleural_effusion", "mass"],
        "modality": ("CR", "DX"),
        "first_axis": "across",
        "rows": 32,
        "columns": 32,
        "values": "unit",
        "intended_use": "Tests only.",
        "licence": "Nobody, CC0",
    }
    assert brought.card == {"version": "0.3.1", "references": ["A made-up paper."]}


@pytest.mark.parametrize("as_archive", [False, True])
def test_a_bundle_becomes_a_model_folder_and_its_config_is_never_run(tmp_path: Path, as_archive: bool) -> None:
    source = make_bundle(tmp_path / "bundle")
    if as_archive:
        archive = tmp_path / "bundle.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path in source.rglob("*"):
                file.write(path, path.relative_to(tmp_path))
        source = archive
    words = ["--set", "id=made-up", "--set", "task=multilabel", "--set", "output=logits"]
    assert main(["models", "import", str(source), *words, "--out", str(tmp_path / "out")]) == 0
    card = json.loads((tmp_path / "out" / "model.json").read_bytes())
    assert (card["version"], card["title"]) == ("0.3.1", "Made-up chest classifier")
    assert [label["name"] for label in card["labels"]] == ["pneumonia", "pleural_effusion", "mass"]
    assert card["inputs"][0]["modality"] == ["CR", "DX"]
    assert not (tmp_path / "bundle" / "was-run").exists()


def test_the_images_of_a_bundle_are_guessed_to_be_read_as_monai_reads_them(tmp_path: Path) -> None:
    """Its readers give (x, y): of a shape of 40 by 24 the columns are 40. Somebody may know better."""
    facts = GraphFacts("n.onnx", "0" * 64, "", 18, "x", "NCHW", (1, 40, 24), None, "y", 3, "")
    for metadata in (_changed(spatial_shape=[40, 24]), _changed(spatial_shape=["*", "8*n"])):
        hints = read_bundle(make_bundle(tmp_path / str(len(list(tmp_path.iterdir()))), metadata)).hints
        asked = questions(facts, hints)
        guesses = {q.id: q.guess for q in asked}
        assert (guesses["first_axis"], guesses["rows"], guesses["columns"]) == ("across", 24, 40)
        known = {"id": "n", "task": "multilabel", "output": "logits"}
        assert read_answers(asked, known, facts).is_across
        with pytest.raises(UsageError, match="images of 40 rows where their first axis runs down: answer “rows” with"):
            read_answers(asked, known | {"first_axis": "down"}, facts)
    assert {q.id: q.guess for q in questions(facts)}["first_axis"] == "down"


def test_a_bundle_without_onnx_is_told_what_to_export(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (bundle / "models" / "model.onnx").rename(bundle / "models" / "model.ts")
    with pytest.raises(ModelError, match="onnx_export"):
        read_bundle(bundle)
    for name in ("a.onnx", "b.onnx"):
        bare_file(bundle / "models" / name)
    with pytest.raises(ModelError, match="several ONNX files"):
        read_bundle(bundle)


def _changed(**image: Any) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(METADATA))
    changed["network_data_format"]["inputs"]["image"].update(image)
    return changed


def test_a_bundle_that_outlines_becomes_a_model_that_does(tmp_path: Path) -> None:
    """Its channels are named with the background, as bundles do."""
    segments = json.loads(json.dumps(METADATA))
    segments["network_data_format"]["outputs"]["pred"] |= {
        "type": "image", "format": "segmentation", "channel_def": {"0": "background", "1": "bright", "2": "dark"},
    }  # fmt: skip
    segments["network_data_format"]["inputs"]["image"]["spatial_shape"] = [16, 16]
    bundle = make_bundle(tmp_path / "bundle", segments)
    (bundle / "models" / "model.onnx").write_bytes(outline_models.graph("logits", "exclusive"))
    words = ["--set", "id=made-up", "--set", "category=tissue", "--set", "output=logits"]
    assert main(["models", "import", str(bundle), *words, "--out", str(tmp_path / "out")]) == 0
    card = json.loads((tmp_path / "out" / "model.json").read_bytes())
    assert (card["task"], card["masks"]["classes"]) == ("segmentation", "exclusive")
    assert [label["name"] for label in card["labels"]] == ["bright", "dark"]


def test_what_is_not_for_films_is_refused(tmp_path: Path) -> None:
    two = json.loads(json.dumps(METADATA))
    two["network_data_format"]["inputs"]["label"] = {}
    for index, (metadata, says) in enumerate(
        [
            (_changed(spatial_shape=[96, 96, 96]), "not for 2D"),
            (two, "takes 2"),
        ]
    ):
        with pytest.raises(ModelError, match=says):
            read_bundle(make_bundle(tmp_path / str(index), metadata))


@pytest.mark.parametrize("content", [b"", b"[", b"[]", b"[" * 100_000, b"\xff", b" " * (2 << 20)])
def test_damaged_metadata_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (bundle / "configs" / "metadata.json").write_bytes(content)
    assert is_bundle(bundle)
    with pytest.raises(InputError, match=r"metadata.json (cannot be read|is no JSON object)"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("spatial_shape", ["a", None]),
        ("spatial_shape", None),
        ("spatial_shape", 64),
        ("value_range", "all"),
        ("modality", None),
        ("channel_def", {}),
        ("channel_def", None),
        ("channel_def", ["a", "b"]),
    ],
)
def test_odd_metadata_give_no_guess(tmp_path: Path, field: str, value: object) -> None:
    hints = read_bundle(make_bundle(tmp_path / "bundle", _changed(**{field: value}))).hints
    assert {"title", "labels"} <= set(hints)


def test_what_is_null_in_metadata_says_nothing(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    path = bundle / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    nothing = dict.fromkeys(("name", "version", "references", "copyright", "intended_use", "description"))
    path.write_text(json.dumps(metadata | nothing), encoding="utf-8")
    brought = read_bundle(bundle)
    assert not {"title", "licence", "intended_use"} & set(brought.hints)
    assert brought.card == {"version": "1.0.0"}
    path.write_text(json.dumps(metadata | {"references": "One, 2024"}), encoding="utf-8")
    assert read_bundle(bundle).card["references"] == ["One, 2024"]


def test_an_archive_without_a_bundle_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "other.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "a")
    with pytest.raises(InputError, match="holds no MONAI bundle"):
        unpack_bundle(archive, tmp_path, None)


def packed(folder: Path, archive: Path) -> Path:
    """A folder as a ZIP archive, under its own name."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*"):
            file.write(path, path.relative_to(folder.parent))
    return archive


def test_an_archive_is_told_by_its_list(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    assert is_bundle_archive(packed(bundle, tmp_path / "bundle.zip"))
    (bundle / "model.json").write_text("{}")  # a model folder, whatever lies beside its card
    assert not is_bundle_archive(packed(bundle, tmp_path / "model.zip"))
    assert not is_bundle_archive(bundle / "configs" / "metadata.json")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "bundle.zip").read_bytes()[:-30])
    with pytest.raises(InputError, match="incomplete or damaged"):
        is_bundle_archive(tmp_path / "cut.zip")
    with pytest.raises(InputError, match="cannot be read"):
        is_bundle_archive(tmp_path / "gone.zip")
