"""Which cases of a test `make test` runs: some of every kind."""

from itertools import product
from types import SimpleNamespace

import pytest

from tests.conftest import spread


def cases_of(n, *sizes):
    """The cases of a grid, as pytest has them."""
    marker = SimpleNamespace(args=(n,))
    return [
        SimpleNamespace(
            get_closest_marker=lambda name: marker,
            callspec=SimpleNamespace(indices={f"parameter {axis}": value for axis, value in enumerate(values)}),
        )
        for values in product(*map(range, sizes))
    ]


@pytest.mark.parametrize(("n", "sizes"), [(4, (15, 4)), (3, (3, 3, 2)), (2, (2, 2)), (5, (4, 5, 3)), (3, (7,))])
def test_an_nth_of_a_grid_has_every_value_that_it_has_cases_for(n, sizes):
    cases = cases_of(n, *sizes)
    chosen = spread("tests/test_x.py::test_y", cases)
    assert len(chosen) == len({id(case) for case in chosen}) == -(-len(cases) // n)
    for axis, size in enumerate(sizes):
        met = {case.callspec.indices[f"parameter {axis}"] for case in chosen}
        assert len(met) == min(size, len(chosen))


def test_tests_on_the_same_values_meet_others_of_them():
    cases = cases_of(6, 92)
    met = {id(case) for test in range(60) for case in spread(f"test {test}", cases)}
    assert len(met) == 92
