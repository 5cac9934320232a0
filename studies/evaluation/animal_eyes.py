"""Where the eyes of the animals' drawings are, measured by eye.

Butterflies have none that one would miss. Some drawings are in profile and have one.
"""

Circle = tuple[float, float, float]
"""Middle, from the left and the top, and radius, in hundredths of the drawing's side."""


def _pair(left: float, right: float, y: float, radius: float) -> tuple[Circle, ...]:
    return ((left, y, radius), (right, y, radius))


EYES: dict[str, dict[str, tuple[Circle, ...]]] = {
    "noto": {
        "fox": _pair(37.5, 63, 56.5, 8),
        "tiger": _pair(31.8, 69, 32.5, 7),
        "elephant": ((31.4, 39.2, 4.5),),
        "owl": _pair(38.4, 61.6, 32.6, 8),
        "penguin": ((47, 16.7, 5),),
        "dog": _pair(32.7, 66.9, 55.5, 7),
        "cat": _pair(30.6, 69.4, 51.8, 8),
        "koala": _pair(30.2, 70.2, 46.9, 8),
        "octopus": ((60.4, 44.9, 6),),
    },
    "fluent-emoji-flat": {
        "fox": _pair(37.5, 59.2, 57.5, 6),
        "tiger": _pair(37.1, 62, 48.2, 6),
        "elephant": ((17.1, 42.4, 4.5),),
        "owl": _pair(32.7, 67.8, 29.8, 12.5),
        "penguin": _pair(45.3, 54.7, 24.5, 4),
        "dog": _pair(40.4, 59.2, 42, 5.5),
        "cat": _pair(37.6, 62.4, 57.6, 6),
        "koala": _pair(31, 68.6, 54.3, 5.5),
        "octopus": _pair(19.6, 80, 42, 7),
    },
    "twemoji": {
        "fox": _pair(34.7, 65.3, 49.4, 8),
        "tiger": _pair(36, 63.7, 49.8, 9.5),
        "elephant": ((18, 39.2, 5.5),),
        "owl": _pair(33.9, 65.7, 23.3, 11.5),
        "penguin": ((43.3, 9.4, 4.5),),
        "dog": _pair(35.9, 63.7, 44.5, 9),
        "cat": _pair(33.5, 66.5, 55.5, 7.5),
        "koala": _pair(34.7, 65.3, 55.1, 6),
        "octopus": _pair(38.8, 60.8, 58, 7),
    },
    "emojione": {
        "fox": _pair(32.7, 67, 56.3, 8),
        "tiger": _pair(29.4, 69.8, 45.2, 12),
        "elephant": ((26.5, 34.3, 6.5),),
        "owl": _pair(29, 70.6, 35.1, 19),
        "penguin": _pair(39.2, 60.8, 26.5, 5.5),
        "dog": _pair(27, 72.7, 47.8, 11),
        "cat": _pair(26.5, 73, 57.6, 13),
        "koala": _pair(30.6, 69.4, 43.7, 7.5),
        "octopus": _pair(38.8, 62.9, 48.2, 6),
    },
}
"""Drawing → animal → its eyes."""
