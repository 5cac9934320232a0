"""Names that stay where they are."""

import pytest

from mcdm_core.training.loop.run_folder import check_name


@pytest.mark.parametrize("name", ["mine", "table-hair", "mcdm_vae", "ear 2.1", "Köln", "a" * 100, "console", "com"])
def test_plain_names_are_names(name):
    check_name(name, ("data",))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("../../x", "has '/' in it"),
        ("a/b", "has '/' in it"),
        ("/tmp/x", "has '/' in it"),
        ("a\\b", "in it"),
        ("C:x", "has ':' in it"),
        ("x\0", "in it"),
        ("line\n", "in it"),
        (".", "begins or ends with a dot"),
        ("..", "begins or ends with a dot"),
        ("x.", "begins or ends with a dot"),
        ("x ", "dot or a space"),
        ("nul", "is a device of Windows"),
        ("Com1.toml", "is a device of Windows"),
        ("a" * 101, "has 101 characters"),
        ("Data", "all runs share"),
    ],
)
def test_others_are_refused(name, problem):
    with pytest.raises(ValueError, match=problem):
        check_name(name, ("data",))
