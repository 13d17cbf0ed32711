"""The words that ``medviewer models`` understands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

READ_ONLY = ("list", "show", "verify", "sign", "import", "assess", "lighten")
"""Actions that leave the installed models as they are, and so may take other ones with ``--models``."""


def add_models(parser: argparse.ArgumentParser, to_path: Callable[[str], Path], inner: argparse.ArgumentParser) -> None:
    """Add the actions; ``to_path`` reads a path as the other commands do, ``inner`` holds what stands anywhere."""
    parser.add_argument("--json", action="store_true", help="print JSON (docs/json.md)")
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("--json", action="store_true", help="print JSON (docs/json.md)")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    parser.set_defaults(action="list", ids=[], data=None, images=None, minutes=None, random=None, split=None)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text, parents=[inner, shared])

    for name, text in (
        ("list", "which models there are, their versions, whether they are verified, where from (default)"),
        ("show", "what the cards say"),
        ("verify", "whether the models still give their known answers here"),
    ):
        action(name, text).add_argument("ids", nargs="*", metavar="ID", help="which models (default: all)")
    _add_assess(
        action(
            "assess",
            "measure how far the heat maps of a model of one image and one label can be believed; written on its card",
        ),
        to_path,
    )
    _add_lighten(
        action("lighten", "make a lighter copy of a model, measure it, and write the model with it if it is worth it"),
        to_path,
    )
    install = action("install", "put a model folder or a ZIP archive of one beside the models that are there")
    install.add_argument("path", type=to_path, metavar="PATH", help="the folder or archive")
    install.add_argument(
        "--force", action="store_true", help="also an older or changed version, or one that has lost its signature"
    )
    for name, text in (
        ("remove", "remove an installed model, with the version before it"),
        ("rollback", "take the version before back into use"),
    ):
        action(name, text).add_argument("id", metavar="ID", help="which model")
    bring = action("import", "make a model folder of a bare ONNX file, a MONAI bundle or TorchXRayVision weights")
    bring.add_argument("path", type=to_path, metavar="FILE", help="the file, or a bundle's folder or ZIP archive")
    bring.add_argument("--questions", action="store_true", help="print as JSON what it does not say, with guesses")
    bring.add_argument("--answers", type=to_path, metavar="A.json", help="the answers")
    bring.add_argument("--set", action="append", default=[], metavar="Q=A", help="one answer, over those of the file")
    bring.add_argument("--out", type=to_path, metavar="DIR", help="the model folder to make; it must not exist yet")
    sign = action("sign", "sign the card of a model folder, which names the digest of each file (Ed25519)")
    sign.add_argument("path", type=to_path, metavar="FOLDER", help="the model folder")
    sign.add_argument("--key", type=to_path, required=True, metavar="PEM", help="the private key")
    trust = action("trust", "the keys whose models count as verified")
    trust.add_argument("what", choices=["list", "add", "remove"], nargs="?", default="list")
    trust.add_argument("name", nargs="?", default="", metavar="NAME", help="whose key it is")
    trust.add_argument("key", nargs="?", type=to_path, metavar="PEM", help="the public key (add)")


def _add_assess(assess: argparse.ArgumentParser, to_path: Callable[[str], Path]) -> None:
    assess.add_argument("ids", nargs="*", metavar="ID", help="which model; it goes on where it ended")
    assess.add_argument("--data", type=to_path, metavar="DIR", help="holds a folder for each class")
    assess.add_argument("--images", type=int, metavar="N", help="how many images with the finding (default: 200)")
    assess.add_argument(
        "--minutes", type=float, metavar="N", help="begin no further image after that (default: no limit)"
    )
    assess.add_argument("--random", type=int, metavar="N", help="random maps for each map (default: 19)")
    assess.add_argument(
        "--split",
        action="append",
        metavar="NAME",
        help="patients that training held out under this name, or all; may be repeated (default: tune and block)",
    )


def _add_lighten(lighten: argparse.ArgumentParser, to_path: Callable[[str], Path]) -> None:
    lighten.add_argument("ids", nargs=1, metavar="ID", help="which model: an image classifier with one label")
    lighten.add_argument("--data", type=to_path, required=True, metavar="DIR", help="the images it was trained on")
    lighten.add_argument("--out", type=to_path, required=True, metavar="DIR", help="the model folder to make")
    lighten.add_argument(
        "--how",
        choices=("int8", "pruned"),
        default="int8",
        help="in eight bits, or without half of the channels inside its blocks (default: int8)",
    )
    lighten.add_argument("--force", action="store_true", help="also if it is no faster here; never one that drifts")
