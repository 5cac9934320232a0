"""The CSV files of a run."""

from pathlib import Path

from ...system.formats import write_text
from ...system.writer import append_line, make_folder


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
        """Append a row.

        Raises:
            WriteError: It could not be written; the rows before it are unchanged.
        """
        if not self.path.exists():
            make_folder(self.path.parent)
            self._write([",".join(self.columns)])
        append_line(self.path, ",".join(map(str, values)))

    def rewind(self, step: int) -> None:
        """Drop rows later than `step` and incomplete ones; a run that resumes there writes them again.

        Raises:
            WriteError: They could not be dropped.
        """
        if self.path.exists():
            header, *rows = self.path.read_text(encoding="utf-8").splitlines() or [",".join(self.columns)]
            self._write([header, *(row for row in rows if self._is_kept(row.split(","), step))])

    def _is_kept(self, values: list[str], step: int) -> bool:
        return len(values) == len(self.columns) and values[0].isdecimal() and int(values[0]) <= step

    def _write(self, lines: list[str]) -> None:
        write_text(self.path, "".join(line + "\n" for line in lines))
