// Attention as CUDA's fused kernels do it: no matrix of scores is ever held, only a number for each row of it.
#include "hollow.h"
#include "kernels.h"

#include "counts.h"

#include <ATen/native/DispatchStub.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/native/transformers/sdp_utils_cpp.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/library.h>

namespace accelerator {
namespace {

using at::Tensor;
using std::optional;

// There is no backward pass here: where gradients are wanted, torch takes attention apart.
int64_t choose(
    const Tensor& query,
    const Tensor& key,
    const Tensor& value,
    const optional<Tensor>& /*mask*/,
    double /*dropout*/,
    bool /*causal*/,
    optional<double> /*scale*/,
    bool /*enable_gqa*/) {
  const bool trained = query.requires_grad() || key.requires_grad() || value.requires_grad();
  const bool fused = query.dim() == 4 && !(trained && at::GradMode::is_enabled());
  return static_cast<int64_t>(fused ? at::SDPBackend::overrideable : at::SDPBackend::math);
}

std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor> attention(
    const Tensor& query,
    const Tensor& key,
    const Tensor& value,
    const optional<Tensor>& mask,
    double dropout,
    bool causal,
    bool /*return_debug_mask*/,
    optional<double> scale) {
  const auto bias = mask.value_or(Tensor());
  for (const auto& other : {key, value, bias}) {
    if (other.defined() && other.device() != query.device()) {
      refuse_devices(query.device(), other.device());
    }
  }
  count_operation(query.device().index(), "scaled_dot_product_attention");
  // As they lie in memory: the heads of a token side by side.
  const auto result =
      at::empty({query.size(0), query.size(2), query.size(1), value.size(3)}, query.options()).transpose(1, 2);
  const auto sums = at::empty({query.size(0), query.size(1), query.size(2)}, query.options().dtype(at::kFloat));
  const Uncounted uncounted;
  if (is_hollow(query) || is_hollow(key) || is_hollow(value)) {
    if (!is_hollow(result)) {
      result.zero_();
    }
  } else {
    const auto host_mask = bias.defined() ? optional<Tensor>(seen_by_host(bias)) : std::nullopt;
    const bool heads_share_keys = query.size(1) != key.size(1);
    result.copy_(at::scaled_dot_product_attention(
        seen_by_host(query), seen_by_host(key), seen_by_host(value), host_mask, dropout, causal, scale,
        heads_share_keys));
  }
  return {result, sums, Tensor(), Tensor(), query.size(2), key.size(2), Tensor(), Tensor(), Tensor()};
}

} // namespace

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("_scaled_dot_product_fused_attention_overrideable", TORCH_FN(attention));
}

} // namespace accelerator

namespace at::native {
REGISTER_PRIVATEUSE1_DISPATCH(_fused_sdp_choice_stub, &::accelerator::choose)
} // namespace at::native
