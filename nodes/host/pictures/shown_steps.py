"""Which steps of a run are shown as pictures: "5" (how many) or "1, 5, 10, last" (which)."""

from __future__ import annotations

MOST_SHOWN = 50  # columns of one picture
_LAST = 0
_WORDS = {"first": 1, "last": _LAST}
_EXPECTED = 'Expected how many steps to show, such as "5", or which, such as "1, 5, 10, last"'


def check_shown_steps(text: str) -> None:
    """Refuse a text that cannot be read.

    Raises:
        ValueError: One sentence for the user.
    """
    _parse(text)


def shown_steps(text: str, total: int) -> list[int]:
    """The steps to show.

    Args:
        text: A single number says how many, spread evenly from the first to the last; a list, which may contain "first"
            and "last", says which. A comma makes a list of a single number: "5,".
        total: Number of steps of the run, at least 1.

    Returns:
        Ascending numbers, counted from 1.

    Raises:
        ValueError: If the text cannot be read, or asks for a step that the run doesn't have.
    """
    parsed = _parse(text)
    if isinstance(parsed, int):
        count = min(parsed, total)
        return [round(1 + (total - 1) * place / (count - 1)) for place in range(count)] if count > 1 else [total]
    steps = sorted({total if entry == _LAST else entry for entry in parsed})
    if steps[-1] > total:
        raise ValueError(
            f"Expected steps to show of the {total} that sigmas has and got {steps[-1]}; lower it, or write last."
        )
    return steps


def _parse(text: str) -> int | list[int]:
    """The number of steps, or a list of steps with `_LAST` for the last."""
    entries = [_number(entry.strip().lower(), text) for entry in text.strip().removesuffix(",").split(",")]
    is_count = "," not in text and text.strip().isdigit()
    count = entries[0] if is_count else len(set(entries))
    if count > MOST_SHOWN:
        raise ValueError(f"{_EXPECTED}, at most {MOST_SHOWN}, and got {count}; show fewer.")
    return count if is_count else entries


def _number(entry: str, text: str) -> int:
    if entry in _WORDS:
        return _WORDS[entry]
    if not (entry.isascii() and entry.isdigit() and int(entry) > 0):
        raise ValueError(f'{_EXPECTED}, with steps counted from 1, and got "{text}"; correct it.')
    return int(entry)
