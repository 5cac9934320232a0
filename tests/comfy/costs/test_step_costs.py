"""What a step asks of an accelerator beside core's, by the lines of `python -m benchmarks.counts`."""

import pytest

from ..support.benchmarks import figures_of

# Operations of a step beside its networks, by the same command at bbb3ae6; with a weight curve it counted 524 and 591.
OPERATIONS = {
    "one expert": 47,
    "one network twice": 60,
    "a checkpoint and two LoRAs": 1115,
    "two networks": 84,
    "masks": 84,
    "windows": 47,
    "a weight curve": 84,
    "masks and a weight curve": 102,
    "one of them a flow": 90,
    "own nulls": 90,
    "Fewer Passes": 87.5,
    "two latent spaces": 159,
    "Product as Model": 84,
    "DDIM Sampler": 82,
    "euler_ancestral": 103,
    "euler_cfg_pp": 98,
    "two experts of this pack": 110,
}
NUMBERS = {"windows": 1, "a weight curve": 1, "masks and a weight curve": 1, "Fewer Passes": 1.5}
AS_CORE = ("rows", "waits", "reads", "to_device", "to_device_bytes", "to_host", "peak")
LEVELS = 32  # bytes at most that a step's noise level takes in lists that a run copies once for its networks

PROMISES = {
    "one expert is as core": lambda ours, core: (
        ours["name"] != "one expert" or all(ours[asked] == core[asked] for asked in AS_CORE)
    ),
    "it waits as often as so many networks of core, and for numbers that it can't do without": lambda ours, core: (
        ours["waits"] <= ours["at_most"] == ours["passes"] * core["waits"] + NUMBERS.get(ours["name"], 0)
    ),
    "experts of this pack are asked without reading a number": lambda ours, _: (
        ours["name"] != "two experts of this pack" or ours["reads"] == 0
    ),
    "it copies as often as so many networks of core": lambda ours, core: all(
        ours[way] <= ours["passes"] * core[way] for way in ("to_device", "to_host")
    ),
    "it copies conditions of its rows, as core, and no weights": lambda ours, core: (
        ours["to_device_bytes"] <= ours["rows"] * core["to_device_bytes"] / core["rows"] + LEVELS
    ),
    "it computes no more beside its networks than it did": lambda ours, _: (
        ours["beside_networks"] <= OPERATIONS[ours["name"]]
    ),
}


@pytest.fixture(scope="module")
def lines(accelerator, comfyui, tmp_path_factory):
    """Those of the table, by name."""
    written, figures = figures_of(tmp_path_factory.mktemp("counts"), "benchmarks.counts")
    found = {line["name"]: line for line in figures}
    assert [row.split(" | ")[0].removeprefix("| ") for row in written[2:]] == list(found)
    for line in found.values():
        line |= {name: float(value) for name, value in line.items() if name not in ("name", "core")}
    return found


def test_steps_keep_what_is_promised(lines):
    """All in one test, since of several `make test-all` would choose a few."""
    products = {name: line for name, line in lines.items() if line["core"] != name}
    assert list(products) == list(OPERATIONS)
    broken = [
        f"{name}: {promise}"
        for name, ours in products.items()
        for promise, is_kept in PROMISES.items()
        if not is_kept(ours, lines[ours["core"]])
    ]
    assert not broken, broken
