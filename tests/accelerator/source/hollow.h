// Memory that holds no values: networks of real size are placed and asked in seconds, with all that a run allocates.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

namespace accelerator {

void set_hollow_from(int64_t bytes); // blocks of at least so many bytes are hollow from now on
int64_t hollow_from();

bool is_hollow(const at::Tensor& tensor);

// A tensor's shape, layout and type alone.
at::Tensor shape_of(const at::Tensor& tensor);

// A tensor of that shape on a device; its values are 0 where it has any.
at::Tensor of_shape(const at::Tensor& shape, c10::Device device);

// An operation on tensors some of which are hollow: its results are made, not computed.
void compute_shapes(const c10::OperatorHandle& op, torch::jit::Stack* stack, c10::Device device);

} // namespace accelerator
