// What the device's own kernels and the fallback to the host share.
#pragma once

#include <ATen/core/Tensor.h>

namespace accelerator {

// The same memory as a tensor on the host; a tensor on the host as it is.
at::Tensor seen_by_host(const at::Tensor& tensor);

// Refuses two devices with CUDA's sentence.
void refuse_devices(c10::Device one, c10::Device other);

} // namespace accelerator
