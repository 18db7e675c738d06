"""Shows tables on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from benchmarks.measure import Row, Table


def show(table: Table, console: Console | None = None) -> None:
    """Print *table*, and below it what is to be known about its rows."""
    console = console or Console(markup=False, highlight=False)
    console.print(f"{table.title} ({table.unit}, {table.better} is better)", style="bold")
    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("", no_wrap=True)
    for heading in ("median", "min - max", "n", "ours / this"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for row in table.rows:
        grid.add_row(*_cells(table, row), style="bold" if row.label == table.ours else None)
    console.print(grid)
    notes = [f"{row.label}: {row.note}" for row in table.rows if row.note]
    for note in (*notes, *table.notes):
        console.print(f"  {note}", style="dim")
    console.print()


def figure(value: float | None) -> str:
    """Return *value* with the digits that say something; a dash for nothing."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _cells(table: Table, row: Row) -> list[str]:
    spread = "-" if row.spread is None else f"{figure(row.spread[0])} - {figure(row.spread[1])}"
    ratio = table.ratio(row)
    return [row.label, figure(row.median), spread, str(len(row.values)), "" if ratio is None else figure(ratio)]
