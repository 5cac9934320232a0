"""The accelerator that isn't there: as strict as CUDA, and with counts that are known beforehand."""

import sys

import pytest
import torch
from torch.nn import functional as F

from . import NotBuiltError, build, bytes_in_use, counted, set_total_memory

pytestmark = pytest.mark.usefixtures("accelerator")
SENTENCE = "Expected all tensors to be on the same device, but found at least two devices"


@pytest.fixture
def on_device():
    return torch.arange(12, dtype=torch.float32, device="npu").reshape(3, 4)


@pytest.fixture
def on_host(on_device):
    return on_device.cpu()


@pytest.mark.parametrize(
    "mixed",
    [
        lambda device, host: device + host,
        lambda device, host: host * device,
        lambda device, host: torch.cat([device, host]),
        lambda device, host: F.linear(device, host),
        lambda device, host: F.conv2d(device[None, None], host[None, None, :2, :2]),
        lambda device, host: F.group_norm(device[None], 1, host[:, 0]),
        lambda device, host: torch.stack([device[0, 0], host[0, 0]]),
        lambda device, host: host[0, 0].add_(device[0, 0]),
        lambda device, host: F.embedding(host[0].long(), device),
        lambda device, host: device.index_put_((host[0, :3].long(),), host),
        lambda device, host: device + device.to("npu:1"),
    ],
)
def test_two_devices_are_refused_as_cuda_refuses_them(on_device, on_host, mixed):
    with pytest.raises(RuntimeError, match=SENTENCE):
        mixed(on_device, on_host)


@pytest.mark.parametrize(
    "mixed",
    [
        lambda a, b: a * b[0, 1],
        lambda a, b: b[0, 1] - a,
        lambda a, b: torch.where(a > 3, b[0, 1], a),
        lambda a, b: a.masked_fill(a > 3, b[0, 1]),
        lambda a, b: a[b[0, :2].long()],
        lambda a, b: a.index_put((b[0, :2].long(),), b[2, 3]),
        lambda a, b: torch.empty_like(a).copy_(b),
    ],
)
def test_what_cuda_allows_of_the_host_gives_the_same_on_the_device(on_device, on_host, mixed):
    found = mixed(on_device, on_host)
    assert found.device == on_device.device
    assert torch.equal(found.cpu(), mixed(on_host, on_host))


def test_indices_on_the_device_are_refused_on_the_host(on_device, on_host):
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same device"):
        on_host[on_device[0, :3].long()]


def test_a_wrapped_number_promotes_as_on_the_host(on_device):
    assert (on_device[0, 0].half() * 2.0).dtype == torch.float16
    assert (torch.tensor(2.0, dtype=torch.float64) * on_device[0, 0].half()).dtype == torch.float64


def test_operations_copies_and_waiting_are_counted(on_host):
    with counted() as counts:
        x = on_host.to("npu")
        y = F.linear(x, x).relu_()
        y.sum().item()
        y.cpu()
    assert counts.operations == {"addmm" if "addmm" in counts.operations else "mm": 1, "relu_": 1, "sum": 1}
    assert counts.synchronisations == {"copy to the device": 1, "item": 1, "copy to the host": 1}
    assert (counts.to_device.number, counts.to_device.bytes) == (1, 48)
    assert (counts.to_host.number, counts.to_host.bytes) == (1, 36)


def test_a_copy_that_nobody_waits_for_is_none_to_wait_for(on_device, on_host):
    pinned = on_host.pin_memory()
    with counted() as counts:
        on_device.to("cpu", non_blocking=True)  # which torch makes in pinned memory
        on_device.copy_(pinned, non_blocking=True)
    assert not counts.synchronisations
    assert counts.to_host.number == counts.to_device.number == 1
    with counted() as counts:
        on_device.copy_(pinned)
        on_device.copy_(on_host, non_blocking=True)
    assert counts.synchronisations == {"copy to the device": 2}


@pytest.mark.parametrize(
    "waiting",
    [
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: x[x > 3],
        lambda x: x.masked_select(x > 3),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: x.index_put_((torch.tensor([0, 1]),), x[:2]),
        lambda x: bool((x > 3).any()),
        lambda x: torch.npu.synchronize(),
    ],
)
def test_what_the_host_has_to_wait_for_is_counted_once(on_device, waiting):
    with counted() as counts:
        waiting(on_device)
    assert sum(counts.synchronisations.values()) == 1


def test_a_mask_says_how_much_it_chooses_only_where_several_values_are_put(on_device):
    mask, values = on_device > 3, on_device.flatten()[:8].clone()
    with counted() as counts:
        on_device[mask] = 0.0
    assert not counts.synchronisations
    with counted() as counts:
        on_device[mask] = values
    assert counts.synchronisations == {"_index_put_impl_": 1}


def test_devices_are_counted_apart(on_device):
    with counted(0) as first, counted(1) as second:
        (on_device.to("npu:1") + 1).cpu()
    assert not first.operations
    assert second.operations == {"add": 1}
    assert (second.from_other.number, second.from_other.bytes, second.to_host.number) == (1, 48, 1)


def test_the_peak_is_what_was_in_use_at_once():
    before = bytes_in_use()
    x = torch.empty(1024, device="npu")
    with counted() as outer:
        for _ in range(3):
            x = x + 1  # twice its memory at once
        with counted() as inner:
            del x
    assert outer.peak == before + 2 * 4096
    assert inner.peak == before + 4096
    assert bytes_in_use() == before


def test_a_block_counts_the_same_however_many_are_around_it(on_device):
    with counted() as outer:
        with counted() as inner:
            on_device.add(1)
        on_device.add(1)
    assert (outer - inner).operations == inner.operations == {"add": 1}


def test_memory_ends_where_it_was_said_to():
    set_total_memory(bytes_in_use(1) + 4096, 1)
    try:
        assert torch.npu.mem_get_info("npu:1")[0] == 4096
        kept = torch.empty(512, dtype=torch.uint8, device="npu:1")
        with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate 4096 bytes"):
            torch.empty(4096, dtype=torch.uint8, device="npu:1")
        assert torch.npu.mem_get_info("npu:1")[0] == 4096 - kept.nbytes
    finally:
        set_total_memory(64 << 30, 1)


def test_random_numbers_are_those_of_the_host():
    for device in ("cpu", "npu"):
        torch.manual_seed(3)
        assert torch.equal(
            torch.randn(40, device=device).cpu(), torch.randn(40, generator=torch.Generator().manual_seed(3))
        )
    drawn = torch.rand(5, device="npu", generator=torch.Generator("npu").manual_seed(4))
    assert torch.equal(drawn.cpu(), torch.rand(5, generator=torch.Generator().manual_seed(4)))
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(5, device="npu", generator=torch.Generator())


def test_views_share_their_memory_and_count_nothing(on_device):
    with counted() as counts:
        views = [
            on_device.T,
            on_device[1:, ::2],
            on_device.view(2, 6),
            on_device.unfold(1, 2, 1),
            on_device.reshape(12),
        ]
    assert not counts.operations
    on_device.zero_()
    assert not any(view.any() for view in views)
    with counted() as counts:
        assert torch.equal(torch.view_as_real(torch.view_as_complex(on_device.view(3, 2, 2))), on_device.view(3, 2, 2))


def test_attention_is_that_of_the_host_also_where_heads_share_their_keys():
    q, k = torch.randn(2, 4, 6, 8), torch.randn(2, 2, 6, 8)
    for heads, shared in ((k.repeat_interleave(2, 1), False), (k, True)):
        found = F.scaled_dot_product_attention(q.to("npu"), *[heads.to("npu")] * 2, enable_gqa=shared)
        torch.testing.assert_close(found.cpu(), F.scaled_dot_product_attention(q, heads, heads, enable_gqa=shared))


def test_gradients_are_those_of_the_host():
    torch.manual_seed(0)
    on_host = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.GroupNorm(2, 4), torch.nn.SiLU())
    x = torch.randn(2, 3, 8, 8)
    on_host(x).square().sum().backward()
    wanted = [weight.grad.clone() for weight in on_host.parameters()]
    on_device = on_host.to("npu")
    on_device.zero_grad()
    on_device(x.to("npu")).square().sum().backward()
    for weight, grad in zip(on_device.parameters(), wanted, strict=True):
        torch.testing.assert_close(weight.grad.cpu(), grad)


@pytest.mark.skipif(sys.platform == "win32", reason="there, torch looks for the compiler otherwise")
def test_where_there_is_no_compiler_a_sentence_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "_file", lambda: tmp_path / "prefix" / "built")
    monkeypatch.setenv("CXX", str(tmp_path / "nowhere"))
    with pytest.raises(NotBuiltError, match=r"doesn't build, which takes a C\+\+ compiler and ninja: "):
        build.build()
    assert not [*(tmp_path / "prefix").iterdir()]
