"""What can be measured of which model: one sentence for each kind that cannot, and which finding the data are of."""

from __future__ import annotations

from pathlib import Path

from medviewer.domain.errors import InputError, UsageError
from medviewer.inference.card import Card
from medviewer.training.data import label_table, read_table


def check_runs_here(card: Card) -> None:
    """Refuse a model that is no ONNX network: everything that is measured runs one.

    Raises:
        UsageError: it is a rule, or runs as a PyTorch module.
    """
    if card.runtime == "rule":
        raise UsageError(
            f"{card.id} is a rule of the viewer's own code that learned from nothing; `medviewer models verify` checks "
            "it against its published table."
        )
    if card.runtime == "torch":
        raise UsageError(f"{card.id} runs as a PyTorch module; evaluate measures ONNX networks: export it as one.")


def check_is_of_one_image(card: Card) -> None:
    """Refuse what is left when the kinds of data with an evaluation of their own are taken away, but for one image.

    Raises:
        UsageError: it takes a stack, several views, an image with other data, or a table; or it does not classify.
    """
    kinds = {spec.kind for spec in card.inputs}
    if "volume" in kinds:
        why = "takes a stack of slices; evaluate handles models of one image, not of stacks yet"
    elif len(card.inputs) > 1:
        names = ", ".join(spec.name for spec in card.inputs)
        why = f"takes several inputs together ({names}); evaluate handles models of one image, not of several views yet"
    elif kinds == {"table"}:
        why = "takes a table of values and gives no survival curve; of tables evaluate handles survival models only"
    elif card.calibration is None or not card.labels:
        why = f"has the task {card.task!r}; of one image evaluate handles findings and outlines"
    else:
        return
    raise UsageError(f"{card.id} {why}.")


def finding_of(card: Card, data: Path, asked: str | None) -> int:
    """Return the place of the finding to judge: the one that is asked for, the only one, or the one in the data.

    Args:
        card: of a model of one image.
        data: as for :func:`medviewer.training.evaluate.evaluate`.
        asked: the name of one of the card's labels, in large or small letters; None: not said.

    Raises:
        UsageError: the model has no such finding, or has several, of which the data name none or more than one.
        InputError: the data cannot be read.
    """
    names = [label.name for label in card.labels]
    listed = ", ".join(names)
    if asked is not None:
        found = [index for index, name in enumerate(names) if _is_same(name, asked)]
        if not found:
            raise UsageError(f"{card.id} has no finding {asked!r}; there are: {listed}.")
        return found[0]
    if len(names) == 1:
        return 0
    present = _classes_in(data)
    found = [index for index, name in enumerate(names) if any(_is_same(name, one) for one in present)]
    if len(found) != 1:
        how_many = "several" if found else "none"
        raise UsageError(
            f"{card.id} has {len(names)} findings, and the classes of {data.name} name {how_many} of them; choose one "
            f"with --label: {listed}."
        )
    return found[0]


def spelled_in(data: Path, finding: str) -> str:
    """Return the name of a finding as the data's classes spell it; in capitals where none of them is it."""
    return next((one for one in _classes_in(data) if _is_same(finding, one)), finding.upper())


def _classes_in(data: Path) -> list[str]:
    """Return the names of the class folders, or the labels of a label table; none of a file of another kind."""
    if (table := label_table(data)) is not None:
        return sorted({row.get("label", "") for _, row in read_table(table)[1]} - {""})
    if data.is_file():
        return []
    try:
        return sorted(path.name for path in data.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"The folder {data} cannot be read ({error.strerror}).") from error


def _is_same(one: str, other: str) -> bool:
    """Whether two names are one, whatever their case: folders are often named with an underscore for a space."""
    return one.casefold().replace(" ", "_") == other.casefold().replace(" ", "_")
