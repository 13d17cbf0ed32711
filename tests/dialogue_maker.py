"""Made-up dialogues in MTS-Dialog's layout: each section has words of its own, and nobody is real; a tiny encoder too."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from medviewer.domain.case import Case
from medviewer.training.text_networks import Encoder, EncoderShape

SECTIONS = {
    "ALLERGY": ("allergic", "penicillin", "rash", "latex"),
    "FAM/SOCHX": ("smoke", "father", "married", "alcohol"),
    "MEDICATIONS": ("tablets", "inhaler", "dose", "daily"),
}
COMMON = ("the", "and", "you", "is", "have", "of", "to", "was", "it", "with")
COLUMNS = ("ID", "section_header", "section_text", "dialogue")
PUBLISHED = {
    "training": "MTS-Dialog-TrainingSet.csv",
    "validation": "MTS-Dialog-ValidationSet.csv",
    "test-1": "MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv",
}
SECOND_TEST = "MTS-Dialog-TestSet-2-MEDIQA-Sum-2023.csv"  # published too, and never learned from
PIECES = (
    "[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "é", "病", *"abcdefghijklmnopqrstuvwxyz.:,?[]",
    *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"), "doctor", "patient", *COMMON,
    *(word for words in SECTIONS.values() for word in words),
)  # fmt: skip


def make_rows(n: int, *, seed: int = 0) -> list[tuple[str, str, str, str]]:
    """``n`` rows, the sections in turn; every dialogue is different."""
    chance = np.random.default_rng(seed)
    rows = []
    for index in range(n):
        section = list(SECTIONS)[index % len(SECTIONS)]
        words = [*chance.choice(SECTIONS[section], 3), *chance.choice(COMMON, int(chance.integers(8, 20)))]
        chance.shuffle(words)
        half = len(words) // 2
        text = f"Doctor: {' '.join(words[:half])}?\nPatient: {' '.join(words[half:])}."
        rows.append((str(index), section, "A sentence.", text))
    return rows


def write_table(path: Path, rows: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS) -> Path:
    """Write a table as it is published."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def write_published(root: Path, n: int = 45) -> Path:
    """Write a training, a validation and a test table."""
    for seed, name in enumerate(PUBLISHED.values()):
        write_table(root / name, make_rows(n if seed == 0 else 21, seed=seed))
    return root


def write_encoder(folder: Path, *, prefix: str = "") -> Path:
    """Write a tiny encoder with chance weights, as ``model.safetensors`` and ``vocab.txt`` in the usual names."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    network = Encoder(EncoderShape(len(PIECES), 64, 2, 2, 128, 64))
    weights = {f"{prefix}{name}": tensor.clone() for name, tensor in network.state_dict().items()}
    weights[f"{prefix}pooler.dense.weight"] = torch.zeros(64, 64)
    save_file(weights, folder / "model.safetensors")
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return folder


def dialogue_case() -> Case:
    """A made-up conversation of which the bundled model has something to say."""
    return Case(
        age_years=50.0,
        note="Doctor: Do you have any allergies to medicines that you know of?\n"
        "Patient: Yes, I am allergic to penicillin, it gives me a rash.",
    )
