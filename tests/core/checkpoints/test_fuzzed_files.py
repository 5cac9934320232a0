"""Any file is refused in a sentence or samples, within limits; hypothesis draws and shrinks them."""

from collections import Counter

import pytest
from hypothesis import given, note

from tests.fuzz.bases import content_of, write_bases
from tests.fuzz.drawn import header_files, pickle_files
from tests.fuzz.trial import attempt, usual_memory


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return write_bases(tmp_path_factory.mktemp("bases"))


@pytest.mark.parametrize(
    ("suffix", "count", "read", "drawn"),
    [
        (".safetensors", 250, lambda path: path.read_bytes(), header_files),
        (".pt", 120, content_of, pickle_files),
    ],
    ids=["headers", "pickles"],
)
def test_files(suffix, count, read, drawn, bases, tmp_path, examples, record_property):
    usual, kinds = usual_memory(bases), Counter()
    path = tmp_path / f"drawn{suffix}"

    @examples(count)
    @given(drawn([read(base) for base in bases]))
    def is_refused_or_samples(content):
        path.write_bytes(content)
        outcome = attempt(path, usual)
        note(f"{outcome}")
        kinds[outcome.kind] += 1
        assert outcome.kind in ("refused", "sampled")

    is_refused_or_samples()
    record_property("kinds", dict(kinds))
    assert kinds.keys() == {"refused", "sampled"}
