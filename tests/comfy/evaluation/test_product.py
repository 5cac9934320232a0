"""Several experts: the rule, and what other nodes see of it."""

import logging

import torch

from ..support.attachments import unclamped


def test_the_product_is_clamped_once_and_its_terms_are_not(load, chain, predict):
    free = [unclamped(load(name)) for name in ("hair", "skin")]
    unclamped_product = predict(chain(*((expert, {"weight": 6.0}) for expert in free)))
    clamped_product = predict(chain(*((load(name), {"weight": 6.0}) for name in ("hair", "skin"))))
    assert unclamped_product.abs().max() > 1
    torch.testing.assert_close(clamped_product, unclamped_product.clamp(-1, 1), atol=1e-5, rtol=0)


def test_the_clamp_of_other_experts_is_no_reason_to_warn(load, chain, predict, caplog):
    with caplog.at_level(logging.WARNING):
        predict(chain(load("hair"), load("skin")))
    assert not caplog.records
