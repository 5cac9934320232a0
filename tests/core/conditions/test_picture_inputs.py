"""What experts read beside a text or a class: a small picture to enlarge, a picture to fill in."""

from dataclasses import replace

import pytest
import torch

from ...support.published.small_encoders import SIZE, SMALL, as_values, box, classes, glide, picture


def test_a_larger_one_is_averaged():
    expected = torch.nn.functional.avg_pool2d(as_values(picture(SIZE)), SIZE // SMALL)
    torch.testing.assert_close(glide(low_res=SMALL).encode_low_res(picture(SIZE)).low_res, expected)


def test_a_gray_one_has_three_equal_channels():
    low_res = glide(low_res=SMALL).encode_low_res(picture(SMALL)[..., 0]).low_res
    assert low_res.shape == (1, 3, SMALL, SMALL)
    assert torch.equal(low_res[:, 0], low_res[:, 2])


def test_a_class_is_needed_and_stays():
    encoder = classes(low_res=SMALL)
    assert encoder.driven_by == "one of the 5 classes and a small picture"
    condition = encoder.encode_low_res(picture(SMALL, rows=2), encoder.encode_class(3))
    assert condition.labels.tolist() == [3, 3]
    with pytest.raises(ValueError, match="reads a class beside the picture and got none; give it the prompt"):
        encoder.encode_low_res(picture(SMALL))


def test_texts_and_small_pictures_of_different_numbers_are_refused():
    encoder = glide(low_res=SMALL)
    with pytest.raises(ValueError, match="1 or 3 rows and got 2"):
        encoder.encode_low_res(picture(SMALL, rows=3), encoder.encode_text(["a fox", "an owl"]))


def test_a_soft_mask_hides_from_one_half_on():
    mask = torch.tensor([0.0, 0.49, 0.5, 1.0]).repeat_interleave(SIZE // 4).expand(1, SIZE, SIZE)
    known = glide(inpaint=True).encode_inpaint(picture(SIZE), mask).maps[0, 3, 0]
    assert known[:: SIZE // 4].tolist() == [1, 1, 0, 0]


def test_picture_and_mask_are_resized():
    large = box(8).repeat_interleave(2, 1).repeat_interleave(2, 2)
    maps = glide(inpaint=True).encode_inpaint(picture(2 * SIZE), large).maps
    known = 1 - box(8)[:, None]
    assert torch.equal(maps[:, 3:], known)
    expected = torch.nn.functional.avg_pool2d(as_values(picture(2 * SIZE)), 2) * known
    torch.testing.assert_close(maps[:, :3], expected)


@pytest.mark.parametrize(("pictures", "masks"), [(1, 2), (2, 1), (2, 2)])
def test_one_mask_or_picture_serves_several_of_the_other(pictures, masks):
    encoder = glide(inpaint=True)
    maps = encoder.encode_inpaint(picture(SIZE, pictures), box(8, masks)).maps
    rows = [encoder.encode_inpaint(picture(SIZE, pictures)[row % pictures, None], box(8)).maps for row in range(2)]
    assert torch.equal(maps, torch.cat(rows))


def test_pictures_and_masks_of_different_numbers_are_refused():
    with pytest.raises(ValueError, match="1 or 3 rows and got 2"):
        glide(inpaint=True).encode_inpaint(picture(SIZE, rows=2), box(8, rows=3))


def test_what_is_no_picture_to_fill_in_is_refused():
    with pytest.raises(ValueError, match="picture to fill in"):
        glide(inpaint=True).encode_inpaint([[0.5]], box(8))


def test_text_and_small_picture_stay():
    encoder = glide(inpaint=True, low_res=SMALL)
    assert encoder.driven_by == f"{glide().driven_by} and a small picture and a picture to fill in"
    assert (encoder.reads_maps, glide(low_res=SMALL).reads_maps) == (True, False)
    text = encoder.encode_text("a fox")
    small_first = encoder.encode_inpaint(picture(SIZE), box(8), encoder.encode_low_res(picture(SMALL), text))
    small_last = encoder.encode_low_res(picture(SMALL), encoder.encode_inpaint(picture(SIZE), box(8), text))
    assert small_first.same_as(small_last)
    assert replace(small_first, maps=None, low_res=None).same_as(text)


def test_a_mask_lies_over_the_whole_of_its_picture():
    """Of another size than the picture: its own middle square would be another part."""
    wide = torch.rand(1, SIZE, 2 * SIZE, 3)
    left_quarter = torch.zeros(1, SIZE, SIZE)
    left_quarter[..., : SIZE // 4] = 1.0
    assert glide(inpaint=True).encode_inpaint(wide, left_quarter).maps[0, 3].all()
    assert not glide(inpaint=True).encode_inpaint(wide, 1 - left_quarter).maps[0, 3].any()


def test_the_null_beside_a_condition_is_about_the_same_pictures():
    encoder = glide(low_res=SIZE // 4, inpaint=True)
    told = encoder.encode_inpaint(picture(SIZE, 2), box(SIZE, 2), encoder.encode_low_res(picture(SIZE // 4, 2)))
    null = encoder.null_like(told)
    assert null.signature == told.signature
    assert null.rows == 2
    assert torch.equal(null.maps, told.maps)
    assert torch.equal(null.low_res, told.low_res)
    assert torch.equal(null.context[:1], encoder.null().context)
