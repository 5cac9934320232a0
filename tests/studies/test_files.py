"""Files of results that belong together."""

import pytest

from mcdm_core.system.failures import WriteError
from studies.files import write_files


def test_files_that_belong_together_are_all_written_or_none(tmp_path):
    kept = tmp_path / "table.md"
    kept.write_text("before")
    with pytest.raises(WriteError, match="nowhere"):
        write_files({kept: b"after", tmp_path / "nowhere" / "figures.csv": b"after"})
    assert kept.read_text() == "before"
    write_files({kept: b"after", tmp_path / "figures.csv": b"also"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "table.md": b"after",
        "figures.csv": b"also",
    }
