"""Agreement weights in plain loops over places, patches and values, written from `docs/agreement-weights.md`."""

import itertools
import math

import torch


def around(place, size, patch):
    """The places of the patch around a place, within the picture."""
    reach = patch // 2
    rows, columns = (range(max(0, at - reach), min(end, at + reach + 1)) for at, end in zip(place, size, strict=True))
    return list(itertools.product(rows, columns))


def cosine_at(first, second, places):
    """The cosine of two pictures (C, H, W) over all channels of some places."""
    dot = one = other = 0.0
    for row, column in places:
        for a, b in zip(first[:, row, column].tolist(), second[:, row, column].tolist(), strict=True):
            dot, one, other = dot + a * b, one + a * a, other + b * b
    return dot / math.sqrt(one * other) if one and other else 0.0


def smoothed(first, second, patch):
    """The cosines of two pictures (C, H, W), averaged over the patch once more: place → cosine."""
    size = tuple(first.shape[1:])
    places = list(itertools.product(*map(range, size)))
    bare = {place: cosine_at(first, second, around(place, size, patch)) for place in places}
    found = {}
    for place in places:
        near = around(place, size, patch)
        found[place] = sum(bare[other] for other in near) / len(near)
    return found


def shared_out(weights, predictions, u, tau, patch):
    """The weights after agreement, (B, 1, H, W) in float64; those that are not positive stay.

    Args:
        weights: A tensor (B, 1, H, W) for each expert, or a number.
        predictions: ε of each expert under its condition, (B, C, H, W); None for one that is not asked.
        u: ε of the unconditional estimate.
        tau: τ.
        patch: Side of the patch.
    """
    shape = (len(u), 1, *u.shape[2:])
    given = [torch.as_tensor(w, dtype=torch.float64).expand(shape) for w in weights]
    found = [w.clone() for w in given]
    for b in range(len(u)):
        positive = [i for i, w in enumerate(given) if w.max() > 0]
        cosines = {i: smoothed(predictions[i][b].double(), u[b].double(), patch) for i in positive}
        for row, column in itertools.product(range(shape[2]), range(shape[3])):
            here = {i: float(given[i][b, 0, row, column]) for i in positive}
            parts = {i: w * math.exp(-tau * (cosines[i][row, column] - 1)) for i, w in here.items()}
            for i, part in parts.items():
                total = sum(parts.values())
                found[i][b, 0, row, column] = sum(here.values()) * part / total if total else 0.0
    return found
