"""Pictures below each other."""

from PIL import Image

from studies.stacked import stacked


def test_pictures_are_stacked_in_their_order_on_paper():
    parts = [Image.new("RGB", size, color) for size, color in (((4, 2), "red"), ((4, 3), "blue"), ((2, 1), "green"))]
    page = stacked(parts)
    assert page.size == (4, 6)
    assert [page.getpixel((0, row)) for row in range(6)] == [(255, 0, 0)] * 2 + [(0, 0, 255)] * 3 + [(0, 128, 0)]
    assert page.getpixel((3, 5)) == (255, 255, 255)
