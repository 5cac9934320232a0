"""The CSV files of a run."""

from pathlib import Path


class CsvLog:
    """A CSV file that grows with the run; its first column is the step.

    Args:
        path: The file.
        columns: Names of all columns.
    """

    def __init__(self, path: Path, *columns: str):
        self.path = path
        self.columns = columns

    def add(self, *values: object) -> None:
        """Append a row."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self._write([",".join(self.columns)])
        with self.path.open("a", encoding="utf-8") as file:
            file.write(",".join(map(str, values)) + "\n")

    def rewind(self, step: int) -> None:
        """Drop rows later than `step`: a run that goes on from there writes them again."""
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            self._write([line for line in lines if not line[:1].isdigit() or int(line.split(",")[0]) <= step])

    def _write(self, lines: list[str]) -> None:
        self.path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
