// Operations that every device has to have: making tensors, views, copies, convolutions.
#include "kernels.h"

#include "device.h"
#include "hollow.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

namespace accelerator {

at::Tensor seen_by_host(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.is_cpu()) {
    return tensor;
  }
  const auto options = tensor.options().device(c10::kCPU);
  auto seen = at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(), options);
  seen._set_conj(tensor.is_conj());
  seen._set_neg(tensor.is_neg());
  return seen;
}

void refuse_devices(c10::Device one, c10::Device other) {
  TORCH_CHECK(
      false,
      "Expected all tensors to be on the same device, but found at least two devices, ", one, " and ", other, "!");
}

namespace {

using at::Tensor;
using c10::IntArrayRef;
using std::optional;

Tensor empty(
    IntArrayRef size,
    optional<at::ScalarType> dtype,
    optional<at::Layout> /*layout*/,
    optional<at::Device> device,
    optional<bool> /*pin_memory*/,
    optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(device.value_or(at::Device(kType)));
  const c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_generic(size, device_memory(), keys, at::dtype_or_default(dtype), format);
}

Tensor empty_strided(
    IntArrayRef size,
    IntArrayRef stride,
    optional<at::ScalarType> dtype,
    optional<at::Layout> /*layout*/,
    optional<at::Device> device,
    optional<bool> /*pin_memory*/) {
  const c10::DeviceGuard guard(device.value_or(at::Device(kType)));
  const c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_strided_generic(size, stride, device_memory(), keys, at::dtype_or_default(dtype));
}

const Tensor& resize(const Tensor& self, IntArrayRef size, optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(self.device());
  return at::native::resize_(self, size, format);
}

// As CUDA's copies: the host waits unless the copy is non-blocking and its memory pinned.
void count_copy_of(const Tensor& source, const Tensor& target, bool non_blocking) {
  if (source.device() == target.device()) {
    return count_operation(target.device().index(), "copy_");
  }
  if (!source.is_cpu() && !target.is_cpu()) {
    return count_copy(target.device().index(), &Counts::from_other, target.numel() * source.itemsize());
  }
  const auto& [here, host] = source.is_cpu() ? std::tie(target, source) : std::tie(source, target);
  const auto direction = source.is_cpu() ? &Counts::to_device : &Counts::to_host;
  count_copy(here.device().index(), direction, target.numel() * here.itemsize());
  if (!non_blocking || !is_pinned(host.storage().data())) {
    count_synchronisation(here.device().index(), source.is_cpu() ? "copy to the device" : "copy to the host");
  }
}

Tensor copy_from(const Tensor& source, const Tensor& target, bool non_blocking) {
  if (target.numel() != 0) {
    count_copy_of(source, target, non_blocking);
    if (!is_hollow(source) && !is_hollow(target)) {
      seen_by_host(target).copy_(seen_by_host(source));
    } else if (!is_hollow(target) && static_cast<int64_t>(target.nbytes()) < hollow_from()) {
      seen_by_host(target).zero_();
    }
  }
  return target;
}

Tensor copy_from_and_resize(const Tensor& source, const Tensor& target) {
  if (source.sizes() != target.sizes()) {
    target.resize_(source.sizes());
  }
  return copy_from(source, target, false);
}

at::Scalar local_scalar_dense(const Tensor& self) {
  count_synchronisation(self.device().index(), "item");
  return seen_by_host(self).item();
}

void count_convolution(const Tensor& input, std::initializer_list<Tensor> others) {
  for (const auto& other : others) {
    if (other.defined() && other.device() != input.device()) {
      refuse_devices(input.device(), other.device());
    }
  }
  count_operation(input.device().index(), "convolution");
}

Tensor convolution(
    const Tensor& input,
    const Tensor& weight,
    const optional<Tensor>& bias,
    IntArrayRef stride,
    IntArrayRef padding,
    IntArrayRef dilation,
    bool transposed,
    IntArrayRef output_padding,
    int64_t groups) {
  const auto shift = bias.value_or(Tensor());
  count_convolution(input, {weight, shift});
  const Uncounted uncounted;
  const auto seen = is_hollow(input) || is_hollow(weight) ? &shape_of : &seen_by_host;
  const auto result = at::convolution(
      seen(input), seen(weight), seen(shift), stride, padding, dilation, transposed, output_padding, groups);
  return result.is_meta() ? of_shape(result, input.device()) : result.to(input.device());
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(
    const Tensor& grad_output,
    const Tensor& input,
    const Tensor& weight,
    IntArrayRef stride,
    IntArrayRef padding,
    IntArrayRef dilation,
    bool transposed,
    IntArrayRef output_padding,
    int64_t groups,
    std::array<bool, 3> output_mask) {
  count_convolution(input, {grad_output, weight});
  const Uncounted uncounted;
  const IntArrayRef bias_sizes = grad_output.sizes().slice(1, 1);
  auto [of_input, of_weight, of_bias] = at::convolution_backward(
      seen_by_host(grad_output), seen_by_host(input), seen_by_host(weight), bias_sizes, stride, padding, dilation,
      transposed, output_padding, groups, output_mask);
  const auto moved = [&](const Tensor& grad) { return grad.defined() ? grad.to(input.device()) : grad; };
  return {moved(of_input), moved(of_weight), moved(of_bias)};
}

} // namespace

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("resize_", TORCH_FN(resize));
  m.impl("set_.source_Storage", TORCH_FN(static_cast<Tensor& (*)(Tensor&, at::Storage)>(at::native::set_)));
  m.impl("set_.source_Storage_storage_offset", TORCH_FN(at::native::set_storage_cpu_));
  m.impl("set_.source_Tensor", TORCH_FN(at::native::set_tensor_));

  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("view.dtype", TORCH_FN(at::native::view_dtype));
  m.impl("view_as_real", TORCH_FN(at::native::view_as_real));
  m.impl("view_as_complex", TORCH_FN(at::native::view_as_complex));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("unfold", TORCH_FN(at::native::unfold));

  m.impl("_copy_from", TORCH_FN(copy_from));
  m.impl("_copy_from_and_resize", TORCH_FN(copy_from_and_resize));
  m.impl("_local_scalar_dense", TORCH_FN(local_scalar_dense));
  m.impl("convolution_overrideable", TORCH_FN(convolution));
  m.impl("convolution_backward_overrideable", TORCH_FN(convolution_backward));
}

} // namespace accelerator
