"""``models lighten``: a lighter copy of a network, measured, and kept only if it is worth it."""

from __future__ import annotations

import argparse
import dataclasses

from medviewer.cli.terminal import print_json, say, tell
from medviewer.domain.errors import RuntimeMissingError, UsageError
from medviewer.inference.catalogue import Entry

LIGHTEN_SCHEMA = "medviewer.models-lighten/2"


def lighten(arguments: argparse.Namespace, entry: Entry) -> int:
    """Make and measure the copy; 3 if it is not worth it, and then nothing is written."""
    if entry.card is None:
        raise UsageError(f"The model {entry.id} cannot be made lighter: {entry.problem}")
    try:
        from medviewer.training import lighter  # noqa: PLC0415 - may lack a package
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(
            f"This needs the package {error.name}, which is not installed; run: pip install 'medviewer[torch,cpu]'"
        ) from error
    how, force = arguments.how, arguments.force
    found = lighter.lighten(entry.folder, arguments.data, arguments.out, how=how, force=force, progress=tell)
    is_kept = arguments.out.is_dir()
    figures = dataclasses.asdict(found) | {"problems": list(found.problems), "kept": is_kept}
    if arguments.json:
        print_json({"schema": LIGHTEN_SCHEMA, "id": entry.id, **figures})
    else:
        say(f"The copy {lighter.WAYS[found.how]} beside the network, on {found.n} held-out images:")
        say(f"  {found.speed:.2f} times as fast here,")
        say(f"  {found.full_size / 1e6:.1f} MB become {found.size / 1e6:.1f} MB,")
        say(f"  AUC {found.auc:.4f} becomes {found.auc_copy:.4f},")
        say(f"  a probability differs by up to {found.drift:.3f} (99 % of them within {found.drift_p99:.3f})")
        say(f"Written to {arguments.out}." if is_kept else f"Not kept: {'; '.join(found.problems)}.")
    return 0 if is_kept else 3
