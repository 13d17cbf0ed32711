"""The words that ``medviewer`` understands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from medviewer import __version__
from medviewer.cli.models_parser import add_models

WINDOW = "window"
COMMANDS = ("demo", "inspect", "render", "analyze", "models", "train", "recipes", "evaluate", "audit")
_VALUED = ("--models",)  # options before the command that take a value


USE_MODELS = ("analyze", "models", "evaluate")  # the commands for which --models means something


def _path(text: str) -> Path:
    """A path as it was given; an empty one (a variable that was not set) would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def _voi(text: str) -> str | int:
    """Give "auto", or the number of one of the file's windows and look-up tables."""
    if text == "auto":
        return text
    if not (text.isascii() and text.isdecimal() and len(text) <= 4):
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number from 0")
    return int(text)


STANDARD_INPUT = Path("-")


def _path_or_list(text: str) -> Path:
    """A path, or ``STANDARD_INPUT``; a file called "-" is named as ``./-``, which pathlib would make the same."""
    path = _path(text)
    return path.absolute() if path == STANDARD_INPUT and text != "-" else path


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line: a command with its options, or paths for the window.

    A path that is named like a command is opened with a folder before it: ``medviewer ./demo``.

    Raises:
        SystemExit: wrong use (2), or ``--help`` and ``--version`` (0); it has been said why.
    """
    if _first_word(argv) in COMMANDS:
        return _command_parser().parse_args(argv)
    return _window_parser().parse_args(argv, argparse.Namespace(command=WINDOW))


def _first_word(argv: Sequence[str]) -> str:
    words = iter(argv)
    for word in words:
        if word in _VALUED:
            next(words, None)
        elif not word.startswith("-"):
            return word
        elif word == "--":
            return ""
    return ""


def _shared(*, is_inner: bool, takes_models: bool = True) -> argparse.ArgumentParser:
    """Options that stand before or after the command; the inner ones must not undo the outer ones.

    ``takes_models`` False keeps ``--models`` out of the help only: given in vain, it is refused with the
    names of the commands that take it.
    """
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS if is_inner else None)
    parser.add_argument(
        "--models",
        dest="models_folder",
        type=_path,
        metavar="DIR",
        help=f"the folder of models ({', '.join(USE_MODELS)})" if takes_models else argparse.SUPPRESS,
    )
    parser.add_argument("--debug", action="store_true", help="show where an unexpected failure happened")
    return parser


def _window_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="medviewer",
        parents=[_shared(is_inner=False, takes_models=False)],
        description="View DICOM studies, run local models, see why they say what they say. Research use only.",
        epilog=f"Commands without a window: {', '.join(COMMANDS)}; medviewer COMMAND --help says more. "
        "Exit codes: 0 done, 2 wrong use, 3 some inputs could not be used, 4 the model abstained, 130 cancelled, "
        "143 ended by SIGTERM, 1 unexpected.",
    )
    parser.add_argument("--version", action="version", version=f"medviewer {__version__}")
    parser.add_argument("paths", nargs="*", type=_path, metavar="PATH", help="files or folders to open in the window")
    return parser


def _command_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="medviewer", parents=[_shared(is_inner=False)])
    parser.add_argument("--version", action="version", version=f"medviewer {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text, add in (
        ("demo", "the main job on a real chest radiograph with a sample patient record", _add_demo),
        ("inspect", "what is in files and folders, and why some of it cannot be used", _add_inspect),
        ("render", "the pixels that the window would show, as a PNG file", _add_render),
        ("analyze", "ask models about images, and save answers, heat maps and DICOM results", _add_analyze),
        ("models", "the models that are installed", _add_models),
        ("train", "make a model folder from data", _add_train),
        ("recipes", "what can be trained, from which data, with which settings", _add_recipes),
        ("evaluate", "measure a model on labelled or outlined images, stays, dialogues or molecules", _add_evaluate),
        ("audit", "prove that the audit trail is whole", _add_audit),
    ):
        shared = _shared(is_inner=True, takes_models=name in USE_MODELS)
        add(commands.add_parser(name, help=text, description=text, parents=[shared]))
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=_path, metavar="DIR", help="also save the window's picture and the results here")


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", type=_path_or_list, metavar="PATH", help="files, folders, ZIP archives; - reads a list"
    )
    parser.add_argument("--json", action="store_true", help="print JSON (docs/json.md)")


def _add_render(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=_path, metavar="PATH", help="a DICOM file; with --plane, the folder of a series")
    parser.add_argument("--out", type=_path, required=True, metavar="X.png", help="the picture to write")
    parser.add_argument("--frame", type=int, metavar="N", help="which frame, counted from 0 (default: the first)")
    window = parser.add_mutually_exclusive_group()
    window.add_argument("--window", nargs=2, type=float, metavar=("C", "W"), help="window centre and width")
    window.add_argument(
        "--voi",
        type=_voi,
        metavar="auto|N",
        help="auto: the window that the viewer opens with (default); N: the file's N-th own window, or, counted on, "
        "look-up table; 0: one of the image's values",
    )
    parser.add_argument("--plane", choices=["axial", "coronal", "sagittal"], help="cut this plane out of a series")
    parser.add_argument(
        "--at",
        type=float,
        metavar="MM",
        help="where, on the patient's axis across the plane (LPS; default: the middle)",
    )
    parser.add_argument(
        "--volume", type=int, metavar="N", help="which time, echo or b-value of the series, counted from 0"
    )
    parser.add_argument("--slab-mm", type=float, metavar="MM", help="thickness of the slab (default: none)")
    parser.add_argument("--slab", choices=["mean", "max", "min"], help="how a slab is combined (default: mean)")


def _add_analyze(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="*", type=_path, metavar="PATH", help="a DICOM file, or folders and files with many studies"
    )
    parser.add_argument(
        "--model",
        required=True,
        action="append",
        metavar="ID",
        help="which model; `medviewer models list` names them; may be repeated",
    )
    parser.add_argument(
        "--record",
        type=_path,
        metavar="FILE",
        help="a FHIR file with one patient, instead of an image, or beside one of the same patient for a model of both",
    )
    parser.add_argument(
        "--at",
        metavar="WHEN",
        help="up to when the record counts, as 2024-05-02T14:30 (default: now; not beside an image)",
    )
    parser.add_argument("--note", type=_path, metavar="FILE", help="a note as text in UTF-8, instead of an image")
    parser.add_argument("--smiles", metavar="SMILES", help="a molecule, instead of an image")
    parser.add_argument("--explain", action="append", default=[], metavar="METHOD", help="a heat map; may be repeated")
    parser.add_argument(
        "--finding",
        metavar="NAME",
        help="the finding that heat maps are of (default: the most probable flagged one, else the most probable)",
    )
    parser.add_argument("--frame", type=int, metavar="N", help="which frame, counted from 0 (default: the only one)")
    parser.add_argument(
        "--out",
        type=_path,
        required=True,
        metavar="DIR",
        help="where the results go; of many studies one folder each, and the same command goes on where it was stopped",
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        choices=["maps", "segments", "keys"],
        help="also save heat maps as DICOM Parametric Maps, where they are high as DICOM Segmentations, or the flagged "
        "image as a DICOM Key Object document; may be repeated",
    )
    parser.add_argument("--pdf", action="store_true", help="also save a page for people, report.pdf, without identity")
    parser.add_argument("--identity", action="store_true", help="have the page say whose image it is (with --pdf)")
    parser.add_argument(
        "--language", choices=["en", "zh"], default="en", help="of the model's sentences and the page (default: en)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print result.json too, of many studies summary.json (docs/json.md)"
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    add_models(parser, _path, _shared(is_inner=True))


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="for example chest-xray; `medviewer recipes` lists them")
    parser.add_argument(
        "--data",
        type=_path,
        required=True,
        metavar="DIR",
        help="holds a folder for each class, a labels.csv, the files of the PhysioNet 2012 challenge, tox21.csv, or "
        "the tables of MTS-Dialog; or one such table",
    )
    parser.add_argument(
        "--out", type=_path, metavar="DIR", help="the model folder to make (default: RECIPE); a worse model is replaced"
    )
    parser.add_argument("--force", action="store_true", help="replace a model in --out that is not worse, too")
    parser.add_argument(
        "--report-only", action="store_true", help="learn nothing: write what the data hold (data.html, data.json)"
    )
    parser.add_argument(
        "--search", type=int, default=0, metavar="N", help="try N settings within the recipe's ranges; keep the best"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="another one gives another split and another model")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the recipe")
    parser.add_argument("--json", action="store_true", help="print each step as a line of JSON (docs/json.md)")


def _add_recipes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON (docs/json.md)")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model's id, or its folder")
    parser.add_argument(
        "--against",
        metavar="MODEL",
        help="another model of the same finding: write comparison.json and comparison.html instead, with paired tests",
    )
    parser.add_argument(
        "--data",
        type=_path,
        required=True,
        metavar="DIR",
        help="holds a folder for each class, a labels.csv, images/ and masks/ (or DICOM images and Segmentations) for "
        "a model that outlines, the files of the PhysioNet 2012 challenge, or the tables of MTS-Dialog; or a CSV table "
        "of molecules with the results of their assays",
    )
    parser.add_argument("--out", type=_path, required=True, metavar="DIR", help="where report.json and report.html go")
    parser.add_argument(
        "--split",
        metavar="NAME",
        help="only the patients or molecules that training held out under this name, or one set or table",
    )
    parser.add_argument(
        "--label",
        metavar="NAME",
        help="of a model of images with several findings, the one to judge (default: the one that the data's classes "
        "name)",
    )
    parser.add_argument("--json", action="store_true", help="print report.json too (docs/json.md)")


def _add_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["verify"])
    parser.add_argument("--json", action="store_true", help="print JSON (docs/json.md)")
