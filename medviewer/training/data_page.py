"""A data report as one HTML page: no script, no link."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from medviewer.training.report_page import STYLE, table

_BARS = """
.bar { display: flex; width: 22rem; height: 1rem; border-radius: 3px; overflow: hidden; background: #eef1f5 }
.bar span { height: 100% }
.stop { background: #fde4e1; border-left: 4px solid #c0392b; padding: .6rem 1rem; margin: .3rem 0 }
.warning { margin: .3rem 0 }
.key { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin: 0 .3rem 0 1rem }
td.bar-cell { width: 23rem }
td.number { text-align: right }
"""
# Okabe and Ito: told apart by everybody.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_LISTED = 200


def data_page(report: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        report: as :func:`medviewer.training.data_report.describe_data` gives it.
    """
    title, unit = html.escape(f"Data in {report['path']}"), report["unit"]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}{_BARS}</style>",
        f"<h1>{title}</h1><p>{report['n']} cases of {report['n_patients']} {html.escape(unit)}.",
        f"<br><small>digest {html.escape(report['digest'][:16] or 'none')}</small></p>",
        f"<p>{html.escape(report['origin'])}</p>",
        *_problems(report),
        "<h2>Labels and parts</h2>",
        _key(list(report["per_class"])),
        _balance({"all": {**report, "per_class": report["per_class"]}, **report["splits"]}, unit),
    ]
    if report["columns"]:
        parts += ["<h2>Columns</h2>", _columns(report)]
    for name, column in report["columns"].items():
        if column.get("values"):
            groups = {value: {"n": sum(c.values()), "per_class": c} for value, c in column["values"].items()}
            parts += [f"<h2>By {html.escape(name)}</h2>", _key(list(report["per_class"])), _balance(groups)]
    if report["duplicates"]:
        rows = [[", ".join(copies["names"]), *_yes(copies)] for copies in report["duplicates"][:_LISTED]]
        parts += [f"<h2>The same content twice ({len(report['duplicates'])})</h2>"]
        parts += [table(["names", "other label", "other patient", "other part"], rows), _rest(report["duplicates"])]
    if report["unusable"]:
        rows = [[entry["name"], entry["reason"]] for entry in report["unusable"][:_LISTED]]
        parts += [f"<h2>Not usable ({len(report['unusable'])})</h2>", table(["name", "reason"], rows)]
        parts += [_rest(report["unusable"])]
    return "\n".join([*parts, "</html>"])


def _problems(report: Mapping[str, Any]) -> list[str]:
    if not report["problems"]:
        return ["<p>Nothing was found that a training would trip over.</p>"]
    ordered = sorted(report["problems"], key=lambda problem: not problem["stops_training"])
    return [
        f"<p class={'stop' if problem['stops_training'] else 'warning'}>{html.escape(problem['text'])}</p>"
        for problem in ordered
    ]


def _key(classes: list[str]) -> str:
    return (
        "<p>"
        + "".join(
            f"<span class=key style='background:{_COLOURS[i % len(_COLOURS)]}'></span>{html.escape(name)}"
            for i, name in enumerate(classes)
        )
        + "</p>"
    )


def _balance(groups: Mapping[str, Mapping[str, Any]], unit: str = "") -> str:
    """Return one row a group: its name, counts (of patients: as ``unit`` calls them), and a bar of its classes."""
    shown = ["n", *(["n_patients"] if all("n_patients" in group for group in groups.values()) else [])]
    rows = []
    for name, group in groups.items():
        n = max(1, group["n"])
        bar = "".join(
            f"<span style='width:{100 * count / n:.2f}%;background:{_COLOURS[i % len(_COLOURS)]}'></span>"
            for i, count in enumerate(group["per_class"].values())
        )
        counts = ", ".join(f"{count} {label}" for label, count in group["per_class"].items())
        numbers = "".join(f"<td class=number>{group[key]}</td>" for key in shown)
        texts = f"<td>{html.escape(name)}</td>{numbers}<td>{html.escape(counts)}</td>"
        rows.append(f"{texts}<td class=bar-cell><div class=bar>{bar}</div></td>")
    titles = ["", *("cases" if key == "n" else html.escape(unit) for key in shown), "per class", ""]
    head = "".join(f"<th>{title}</th>" for title in titles)
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _columns(report: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            column["kind"],
            f"{column['missing']} ({100 * column['missing'] / max(1, report['n']):.0f}%)",
            str(column["n_values"]),
            " / ".join(f"{value:g}" for value in column.get("min_median_max", ())),
        ]
        for name, column in report["columns"].items()
    ]
    return table(["column", "kind", "missing", "different values", "lowest / median / highest"], rows)


def _yes(copies: Mapping[str, Any]) -> list[str]:
    return ["yes" if copies[name] else "" for name in ("other_label", "other_patient", "other_split")]


def _rest(entries: list[Any]) -> str:
    more = len(entries) - _LISTED
    return f"<p>and {more} more; data.json lists all.</p>" if more > 0 else ""
