"""The one table of all parts: kept as JSON after every row, and written as text and as a plot."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from nnunet_mamba.files import replacing

PASSED, FAILED, LEFT_OUT, NOT_REACHED = "passed", "failed", "left out", "not reached"
WHOLE = "(the whole part)"  # the row of a part that ended before it named its rows


class Table:
    """The rows in FOLDER/on_gpu.json.

    Args:
        machine: what the figures are measured on and with.
    Raises:
        ValueError: the folder has a table of another machine or version.
    """

    def __init__(self, folder: Path, machine: dict):
        self.file = folder / "on_gpu.json"
        self.machine, self.rows = machine, []
        if self.file.exists():
            before = json.loads(self.file.read_text(encoding="utf-8"))
            if other := [key for key in machine | before["machine"] if before["machine"].get(key) != machine.get(key)]:
                differs = ", ".join(f"{key} {before['machine'].get(key)} (here {machine.get(key)})" for key in other)
                raise ValueError(f"{self.file} was made with {differs}: name another folder with -o")
            self.rows = before["rows"]

    def announce(self, part: str, names: Iterable[str]) -> None:
        """The rows that `part` is going to fill."""
        self.rows = [row for row in self.rows if (row["part"], row["row"]) != (part, WHOLE)]
        known = {row["row"] for row in self.rows if row["part"] == part}
        self.rows += [{"part": part, "row": name, "status": NOT_REACHED} for name in names if name not in known]
        self.save()

    def end(self, part: str, name: str, status: str, **more) -> None:
        """What became of a row: `seconds` that it took, `facts`, `error`."""
        row = {"part": part, "row": name, "status": status} | {key: value for key, value in more.items() if value}
        places = [i for i, old in enumerate(self.rows) if (old["part"], old["row"]) == (part, name)]
        if places:
            self.rows[places[0]] = row
        else:
            self.rows.append(row)
        self.save()

    def done(self, part: str, again: bool = False) -> set[str]:
        """The rows that need not run; with `again`, those that failed must."""
        to_run = (NOT_REACHED, FAILED) if again else (NOT_REACHED,)
        return {row["row"] for row in self.rows if row["part"] == part and row["status"] not in to_run}

    def cut(self, part: str) -> list[str]:
        """The rows of `part` that were cut off for want of time."""
        return [
            row["row"] for row in self.rows if row["part"] == part and row["status"] == NOT_REACHED and row.get("error")
        ]

    def waits(self, part: str) -> bool:
        """Whether `part` has rows that were not reached, or has not named its rows yet."""
        statuses = [row["status"] for row in self.rows if row["part"] == part]
        return not statuses or NOT_REACHED in statuses

    def counts(self) -> Counter:
        """Rows by status."""
        return Counter(row["status"] for row in self.rows)

    def save(self) -> None:
        with replacing(self.file) as unfinished:
            text = json.dumps({"machine": self.machine, "rows": self.rows}, indent=1, default=str)
            unfinished.write_text(text + "\n", encoding="utf-8")

    def write_all(self) -> None:
        """JSON, text, and where matplotlib is installed the plot."""
        self.save()
        with replacing(self.file.with_suffix(".txt")) as unfinished:
            unfinished.write_text(self.text() + "\n", encoding="utf-8")
        try:
            from gpu.plot import plot
        except ImportError:
            return
        plot(self.machine, self.rows, self.file.with_suffix(".png"))

    def text(self) -> str:
        """One line per row, the error below it."""
        lines = [", ".join(f"{key} {value}" for key, value in self.machine.items() if value is not None)]
        for part in dict.fromkeys(row["part"] for row in self.rows):
            rows = [row for row in self.rows if row["part"] == part]
            counts = ", ".join(f"{count} {status}" for status, count in Counter(row["status"] for row in rows).items())
            lines += ["", f"{part}: {counts}"]
            for row in rows:
                lines.append(f"  {row['status']:11}  {row['row']}  {in_words(row.get('facts', {}))}".rstrip())
                lines += [f"               {line}" for line in row.get("error", "").splitlines()]
        return "\n".join(lines)


def in_words(facts: dict) -> str:
    """`{"ms": {"a": 1.5}}` as "ms (a 1.5)"."""
    values = {key: f"({in_words(value)})" if isinstance(value, dict) else _short(value) for key, value in facts.items()}
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
