"""Run as a program where PyTorch cannot be imported: every method, through the real engine, into one file.

``python -m tests.reference.explain_without_torch MODELS OUT.npz``: explains three images by the model in the folder
MODELS with every method that its card allows, for one finding each.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np

from medviewer.domain.case import Case
from medviewer.domain.errors import ModelError
from medviewer.explain import integrated_gradients
from medviewer.explain import rise as rise_module
from medviewer.explain.methods import explain, methods_for
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from tests import fakes

FINDINGS = ("finding-0", "finding-2", "finding-1")
STEPS = 16  # of integrated gradients
MASKS = 80  # of RISE


def forbid(*names: str) -> None:
    """See that none of the packages can be imported."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        raise SystemExit(f"{name} can be imported: this proves nothing")


def main(models: Path, out: Path) -> None:
    forbid("torch", "captum")
    integrated_gradients.STEPS = (STEPS,)
    rise_module.MASKS = MASKS
    found: dict[str, np.ndarray] = {}
    with Engine(Catalogue([models]), providers=("cpu",), threads=1) as engine:
        for number, finding in enumerate(FINDINGS):
            case = Case(images=(fakes.make_frame(seed=number),), age_years=3.0)
            found[f"{number} tensor"] = engine.encode(case, fakes.MODEL_ID).tensor
            for row in methods_for(engine.catalogue.card(fakes.MODEL_ID)):
                try:
                    made = explain(engine, case, fakes.MODEL_ID, row.id, finding=finding, n_random=0)
                except ModelError as error:
                    found[f"{number} {row.id} refused"] = np.array(str(error))
                    continue
                found[f"{number} {row.id}"] = made.saliency
                found[f"{number} {row.id} error"] = np.array(np.nan if made.error is None else made.error)
    forbid("torch", "captum")
    np.savez(out, **found)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
