"""Writes the page: one HTML file with its style, script, numbers and pictures, and a policy that forbids requests.

The script is plain JavaScript, and the tables are plain HTML: what the page sorts and filters are cards with pictures,
which no table library does, and 500 lines are less than such a library.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_mamba.files import replacing
from nnunet_mamba.report.comparison import Comparison
from nnunet_mamba.report.metrics import Metric
from nnunet_mamba.report.results import ALL_CLASSES, Results
from nnunet_mamba.report.written import without_nan

FILES = Path(__file__).parent / "page"
SCRIPTS = ("core", "overlay", "cards", "distributions", "failures", "gallery", "viewer", "start")
FOLDER = "index_files"
BYTES_OF_ROW = 600  # of a row without its pictures, about
LARGEST = 60e6  # bytes of a page with all pictures in it
DIGITS = 6


def write_page(
    output: Path,
    comparison: Comparison,
    results: Results,
    metrics: Sequence[Metric],
    numbers: Mapping[int, int],
    unit: str,
    content: Mapping[str, Any],
) -> str:
    """Write index.html into `output`; returns the name of the folder of its pictures, '' if they are in the page.

    Args:
        numbers: label -> the byte for it in label maps.
        unit: mm or px.
        content: the rest of what the template shows.
    """
    size = sum(len(made["image"]) + len(made["truth"]) for made in results.slices)
    size += sum(len(row.mask) for row in results.rows)
    folder = FOLDER if size + BYTES_OF_ROW * len(results.rows) > LARGEST else ""
    fresh = output / f"{FOLDER}.unfinished"
    _remove_pictures(fresh)
    if folder:
        fresh.mkdir()
        for index, made in enumerate(results.slices):
            (fresh / f"{index:06d}.jpg").write_bytes(base64.b64decode(made["image"]))
    data = _data(comparison, results, metrics, numbers, unit, folder)
    style = (FILES / "page.css").read_text(encoding="utf-8")
    script = "\n".join((FILES / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    images = "data: 'self' file:" if folder else "data:"
    policy = f"default-src 'none'; img-src {images}; style-src {_hash(style)}; script-src {_hash(script)}"
    policy += "; base-uri 'none'; form-action 'none'"
    with replacing(output / "index.html") as unfinished:
        unfinished.write_text(
            _template().render(
                content, style=_safe(style), script=_safe(script), policy=policy, data=_safe(data), image_folder=folder
            ),
            encoding="utf-8",
        )
        _remove_pictures(output / FOLDER)  # of an earlier report
        if folder:
            fresh.rename(output / FOLDER)
    return folder


def _remove_pictures(folder: Path) -> None:
    """Remove a report's pictures, and the folder unless it holds something else."""
    if folder.is_dir():
        for picture in folder.glob("[0-9]*.jpg"):
            picture.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def _template():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(FILES), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2")


def _safe(text: str):
    """Ours, or JSON without '<': goes into the page as it is."""
    from markupsafe import Markup

    return Markup(text)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data(
    comparison: Comparison,
    results: Results,
    metrics: Sequence[Metric],
    numbers: Mapping[int, int],
    unit: str,
    folder: str,
) -> str:
    """What the script reads, as JSON that is safe inside a script element."""
    slices = [
        {
            "position": made["position"],
            "of": made["of"],
            "height": made["size"][0],
            "width": made["size"][1],
            "image": f"{folder}/{index:06d}.jpg" if folder else made["image"],
            "truth": made["truth"],
        }
        for index, made in enumerate(results.slices)
    ]
    rows = [
        {
            "case": row.case,
            "trainer": row.trainer,
            "fold": row.fold,
            "slice": row.slice,
            "mask": row.mask,
            "numbers": [[_rounded(each[metric.key]) for metric in metrics] for each in row.numbers],
        }
        for row in results.rows
    ]
    labels = [
        {"name": label.name, "codes": [numbers[value] for value in label.values if value in numbers]}
        for label in comparison.labels
    ]
    data = {
        "trainers": list(comparison.trainers),
        "labels": labels,
        "allClasses": ALL_CLASSES,
        "ignore": comparison.ignore is not None,
        "groups": dict(comparison.groups),
        "metrics": [
            {"name": m.name, "moreIsBetter": m.more_is_better, "distance": m.is_distance, "unit": unit} for m in metrics
        ],
        "imageFolder": folder,
        "slices": slices,
        "rows": rows,
    }
    text = json.dumps(without_nan(data), separators=(",", ":"), allow_nan=False)  # ASCII: no U+2028
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, DIGITS)
