"""The changelog is in the form of Keep a Changelog, and its newest version is the pack's."""

import re
from datetime import date

import tomli

from ...support.pages import ROOT

TEXT = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
VERSION = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)


def test_what_is_to_come_stands_above_the_versions():
    headings = re.findall(r"^## .*$", TEXT, re.MULTILINE)
    assert headings[0] == "## [Unreleased]"
    assert all(VERSION.match(heading) for heading in headings[1:])


def test_the_newest_version_is_that_of_the_pack_and_comes_first():
    versions = [tuple(map(int, version.split("."))) for version, _ in VERSION.findall(TEXT)]
    days = [date.fromisoformat(day) for _, day in VERSION.findall(TEXT)]
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert ".".join(map(str, versions[0])) == project["version"]
    assert versions == sorted({*versions}, reverse=True)
    assert days == sorted(days, reverse=True)


def test_changes_are_of_the_kinds_that_there_are_each_once_in_a_version():
    for section in TEXT.split("\n## ")[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds]
