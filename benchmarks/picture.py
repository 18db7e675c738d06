"""Draws a table of a benchmark as bars: `python -m benchmarks.picture FILE.json TITLE PICTURE.svg`.

FILE.json is what `python -m benchmarks --json` wrote. The axis is linear and begins at 0; a thin line goes from the
smallest value to the largest.
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

_LEFT, _WIDTH, _STEP, _BAR, _TOP, _RIGHT = 150, 480, 30, 18, 44, 90
_FONT = 'font-family="sans-serif" font-size="13"'


def drawn(table: dict[str, Any]) -> str:
    """Return *table* as SVG: a bar for each row that has values."""
    rows = [(row["label"], row["values"]) for row in table["rows"] if row["values"]]
    scale = _WIDTH / max(max(values) for _, values in rows)
    bars = [_bar(number, label, values, scale, table) for number, (label, values) in enumerate(rows)]
    width, height = _LEFT + _WIDTH + _RIGHT, _TOP + _STEP * len(rows)
    title = escape(f"{table['title']} ({table['unit']})")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" {_FONT}>',
            f"<title>{title}</title>",
            f'<rect width="{width}" height="{height}" fill="white"/>',
            f'<text x="10" y="22" font-weight="bold">{title}</text>',
            *bars,
            "</svg>\n",
        ]
    )


def _bar(number: int, label: str, values: list[float], scale: float, table: dict[str, Any]) -> str:
    y, middle = _TOP + _STEP * number, median(values)
    colour = "#2b6cb0" if label == table["ours"] else "#a0aec0"
    low, high = _LEFT + min(values) * scale, _LEFT + max(values) * scale
    return (
        f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>'
        f'<rect x="{_LEFT}" y="{y}" width="{middle * scale:.1f}" height="{_BAR}" fill="{colour}"/>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 9}" y2="{y + 9}" stroke="black"/>'
        f'<text x="{high + 8:.1f}" y="{y + 14}">{middle:.1f}</text>'
    )


def main() -> None:
    source, title, target = sys.argv[1:]
    measured = json.loads(Path(source).read_text(encoding="utf-8"))["benchmarks"]
    tables = {table["title"]: table for each in measured.values() for table in each}
    if title not in tables:
        sys.exit(f"error: {source} has no table {title!r}; it has {', '.join(map(repr, tables))}")
    Path(target).write_text(drawn(tables[title]), encoding="utf-8")


if __name__ == "__main__":
    main()
