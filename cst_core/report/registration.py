"""The report of a registration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cst_core.report.charts import Series, dumbbells, line_chart
from cst_core.report.checks import checks_of, verdict_of
from cst_core.report.clouds import clouds_of
from cst_core.report.page import write_page
from cst_core.report.planes import planes_of
from cst_core.report.result_folder import ResultFolder

_ABOUT = {
    "displacement.nii.gz": "the whole transform, affine and deformation, on the fixed grid (ITK field: LPS, mm)",
    "displacement_inverse.nii.gz": "the way back: from the moving to the fixed scan",
    "affine.tfm": "the affine pre-alignment alone (ITK)",
    "warped.nii.gz": "the moving image on the fixed grid",
    "warped_labels.nii.gz": "the moving labels on the fixed grid",
    "landmarks_moved.csv": "the fixed landmarks, displaced",
    "jacobian.nii.gz": "local change of volume; 0 or less is a fold",
    "confidence.nii.gz": "uncertainty of every voxel, mm",
    "report.html": "this page",
    "displaced.csv": "the fixed points, displaced into the moving scan (mm)",
    "displacement.csv": "the displacement of every fixed point (mm)",
}
FAR = 100.0  # mm; landmarks that are all further apart lie in scans with other origins, and no chart is for them
_TIMES = " \N{MULTIPLICATION SIGN} "
_METRICS = (
    ("dice", "Dice", 3),
    ("tre_mm", "landmark error (TRE), mm", 2),
    ("ncc", "similarity (NCC)", 3),
)


def write_registration_report(folder: Path, out: Path) -> None:
    """Write the report of a folder that ``cst register`` has made to ``out``.

    Reads ``register.json``, the files beside it and the inputs that it names; what is missing is left out, and said.

    Raises:
        DataError: there is no registration in the folder, or ``register.json`` is damaged.
        CstError: ``out`` cannot be written.
    """
    result = ResultFolder.read(folder)
    planes, clouds = planes_of(result), clouds_of(result)
    write_page(out, "registration.html.j2", _values(result, planes, clouds))


def _values(result: ResultFolder, planes: dict[str, Any] | None, clouds: dict[str, Any] | None) -> dict[str, Any]:
    values = result.values
    kind, said = verdict_of(values)
    model, labels = result.section("model"), _labels(result)
    said_before = [str(note) for note in values.get("notes") or []]
    return {
        "title": f"{_stem(result, 'moving')} onto {_stem(result, 'fixed')}",
        "kind": kind,
        "verdict": said,
        "checks": checks_of(values),
        "tiles": _tiles(result),
        "notes": [*said_before, *result.notes],
        "planes": planes,
        "clouds": clouds,
        "labels": labels,
        "label_chart": dumbbells("Dice of every label", labels, "Dice", 1.0) if labels else Markup(""),
        "landmarks": _landmarks(result),
        "metrics": _metrics(result),
        "files": [(name, _ABOUT.get(name, key)) for key, name in result.section("files").items()],
        "is_field": "displacement.nii.gz" in result.section("files").values(),
        "inputs": [(name, item) for name, item in result.section("inputs").items() if item],
        "moving": _file(result, "moving"),
        "fixed": _file(result, "fixed"),
        "made": {
            "backend": values.get("backend"),
            "model": model.get("reference"),
            "model, described": model.get("description"),
            "model, SHA-256": model.get("sha256"),
            "affine pre-alignment": "yes" if result.section("affine").get("used") else "no",
            "fixed grid": _grid(result.section("grid")),
            "working grid": _grid(result.section("working_grid")),
        },
        "options": dict(result.section("options")),
        "seconds": {key: f"{value:.1f} s" for key, value in result.section("seconds").items() if value is not None},
        "cst": values.get("cst", "unknown"),
    }


def _tiles(result: ResultFolder) -> list[tuple[str, str, str]]:
    """(heading, large text, small text) of the figures that are seen first."""
    initial, final = result.section("initial"), result.section("final")
    confidence, moved = result.section("confidence"), result.section("displacement_mm")
    tiles = []
    for key, name, digits, unit in (("dice", "Dice", 3, ""), ("tre_mm", "Landmark error", 2, " mm")):
        before, after = initial.get(key), final.get(key)
        if after is not None:
            large = f"{after:.{digits}f}{unit}" if before is None else f"{before:.{digits}f} → {after:.{digits}f}{unit}"
            tiles.append((name, large, "mean, before → after"))
    if confidence.get("mean_mm") is not None:
        p95 = confidence.get("p95_mm")
        small = f"{confidence.get('measure', 'confidence')}, mean" + (
            "" if p95 is None else f"; 95 % below {p95:.1f} mm"
        )
        tiles.append(("Uncertainty", f"{confidence['mean_mm']:.1f} mm", small))
    if moved.get("mean") is not None:
        tiles.append(
            (
                "Displacement",
                f"{moved['mean']:.1f} mm",
                f"mean{_whole(result)}; at most {moved.get('max', float('nan')):.1f} mm",
            )
        )
    if result.values.get("folding_percent") is not None:
        tiles.append(("Folding", f"{result.values['folding_percent']:.2f} %", "where the field is not invertible"))
    return tiles


def _whole(result: ResultFolder) -> str:
    return ", affine part included" if result.section("affine").get("used") else ""


def _metrics(result: ResultFolder) -> list[tuple[str, Any, Any, int]]:
    """(name, before, after, digits)."""
    initial, final = result.section("initial"), result.section("final")
    rows: list[tuple[str, Any, Any, int]] = [
        (name, initial.get(key), final.get(key), digits)
        for key, name, digits in _METRICS
        if initial.get(key) is not None or final.get(key) is not None
    ]
    affine = result.section("affine")
    if affine.get("similarity_after") is not None:
        rows.append(("similarity of the affine", affine.get("similarity_before"), affine["similarity_after"], 3))
    for key, name, digits in (
        ("sdlogj", "SDlogJ", 3),
        ("sdlogj_l2r", "SDlogJ (Learn2Reg)", 3),
        ("folding_percent", "folding, %", 3),
    ):
        if result.values.get(key) is not None:
            rows.append((name, None, result.values[key], digits))
    for part, name in (("displacement_mm", "displacement"), ("inverse_residual_mm", "inverse residual")):
        for figure, value in result.section(part).items():
            rows.append((f"{name}, {figure}, mm", None, value, 3))
    confidence = result.section("confidence")
    for key, name in (("mean_mm", "mean"), ("p95_mm", "p95")):
        if confidence.get(key) is not None:
            rows.append((f"{confidence.get('measure', 'confidence')}, {name}, mm", None, confidence[key], 2))
    return rows


def _labels(result: ResultFolder) -> list[tuple[str, float | None, float | None]]:
    before = result.section("initial").get("dice_per_label") or {}
    after = result.section("final").get("dice_per_label") or {}
    names = sorted({*before, *after}, key=lambda name: -(after.get(name) or 0.0))
    return [(f"label {name}" if name.isdigit() else name, before.get(name), after.get(name)) for name in names]


def _landmarks(result: ResultFolder) -> dict[str, Any] | None:
    """Errors before and after, as a chart of how many lie below which error, and as rows."""
    found = result.section("landmarks")
    before, after = found.get("errors_mm_initial") or [], found.get("errors_mm") or []
    if not after:
        return None
    series = [
        Series(name, _share_below(errors), colour, marks=False)
        for name, errors, colour in (("before", before, 3), ("after", after, 1))
        if errors and min(errors) < FAR
    ]
    chart = line_chart("Share of landmarks with an error below x", series, "% of the landmarks", "error below, mm")
    rows = [(i + 1, before[i] if i < len(before) else None, error) for i, error in enumerate(after)]
    spread = [(name, found.get(key) or {}) for name, key in (("before", "tre_mm_initial"), ("after", "tre_mm"))]
    return {"chart": chart, "rows": rows, "n": len(after), "spread": spread, "drawn": [one.name for one in series]}


def _file(result: ResultFolder, name: str) -> str:
    given = result.section("inputs").get(name) or {}
    return Path(given.get("path", name.upper())).name


def _stem(result: ResultFolder, name: str) -> str:
    """A file's name without its endings: the result's own folder may still be a temporary one."""
    return _file(result, name).removesuffix(".gz").rsplit(".", 1)[0]


def _share_below(errors: Sequence[float]) -> list[tuple[float, float]]:
    ordered = sorted(errors)
    return [(0.0, 0.0), *((error, 100.0 * (i + 1) / len(ordered)) for i, error in enumerate(ordered))]


def _grid(grid: Mapping[str, Any]) -> str | None:
    if not grid.get("shape"):
        return None
    shape = _TIMES.join(str(n) for n in grid["shape"])
    spacing = _TIMES.join(f"{s:.3g}" for s in grid.get("spacing", []))
    return f"{shape} voxels of {spacing} mm"
