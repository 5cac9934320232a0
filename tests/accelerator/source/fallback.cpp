// Every operation without a kernel here is computed on the host, as strict about devices as CUDA is.
#include "device.h"
#include "hollow.h"
#include "kernels.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/CPUFallback.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <functional>
#include <set>

namespace accelerator {
namespace {

using Arguments = c10::ArrayRef<c10::IValue>;

// Operations whose result, or its size, the host has to know before it can go on.
const std::set<std::string> kWaiting = {
    "_unique2", "bincount", "equal", "masked_select", "nonzero", "repeat_interleave", "unique_consecutive", "unique_dim",
};
// Operations whose CUDA kernels take a tensor without dimensions from the host, beside those marked as pointwise.
const std::set<std::string> kTakingScalars = {
    "_index_put_impl_", "fill_", "floor_divide", "floor_divide_", "index_fill_", "masked_fill_", "rsub", "where",
};
const std::set<std::string> kIndexing = {"index", "_index_put_impl_"};

std::string short_name(const c10::OperatorHandle& op) {
  const auto& name = op.operator_name().name;
  return name.substr(name.find("::") + 2);
}

void for_each_tensor(const c10::IValue& value, const std::function<void(const at::Tensor&)>& visit) {
  if (value.isTensor() && value.toTensor().defined()) {
    visit(value.toTensor());
  } else if (value.isList()) {
    for (const c10::IValue& element : value.toListRef()) {
      for_each_tensor(element, visit);
    }
  }
}

bool is_index(const std::string& name, const c10::Argument& argument) {
  return argument.name() == "indices" && kIndexing.count(name) != 0;
}

// The device of the arguments, or the current one. CUDA too allows on the host, beside tensors on a device, what has no
// dimensions and is only read by a pointwise operation, and indices.
c10::Device device_of(const c10::OperatorHandle& op, const std::string& name, Arguments arguments) {
  c10::Device device(kType, current_device());
  bool found = false;
  for (const auto& value : arguments) {
    for_each_tensor(value, [&](const at::Tensor& tensor) {
      if (!found && tensor.device().type() == kType) {
        device = tensor.device();
        found = true;
      }
    });
  }
  const bool takes_scalars = op.hasTag(at::Tag::pointwise) || kTakingScalars.count(name) != 0;
  for (size_t place = 0; place < arguments.size(); ++place) {
    const auto& argument = op.schema().arguments()[place];
    const bool written = argument.alias_info() != nullptr && argument.alias_info()->isWrite();
    for_each_tensor(arguments[place], [&](const at::Tensor& tensor) {
      const bool scalar = takes_scalars && tensor.dim() == 0 && !written;
      if (tensor.device() != device && !(tensor.is_cpu() && (scalar || is_index(name, argument)))) {
        refuse_devices(device, tensor.device());
      }
    });
  }
  return device;
}

// Where values are put, indices on the host are copied to the device, and a mask there is asked how many it chooses,
// unless there is one value: CUDA then fills what is masked. (Where values are got, torch does all this itself.)
void count_indices(const std::string& name, Arguments arguments, c10::DeviceIndex device) {
  if (name != "_index_put_impl_") {
    return;
  }
  const bool fills = arguments[2].toTensor().numel() == 1;
  for_each_tensor(arguments[1], [&](const at::Tensor& index) {
    const bool mask = index.scalar_type() == at::kBool || index.scalar_type() == at::kByte;
    if (index.is_cpu()) {
      count_copy(device, &Counts::to_device, static_cast<int64_t>(index.nbytes()));
    }
    if (index.is_cpu() || (mask && !fills)) {
      count_synchronisation(device, name);
    }
  });
}

// The host's generator in place of the device's, which is the device's default where none is given.
void unwrap_generators(const c10::OperatorHandle& op, torch::jit::Stack* stack, c10::DeviceIndex device) {
  const auto& arguments = op.schema().arguments();
  const auto first = stack->size() - arguments.size();
  for (size_t place = 0; place < arguments.size(); ++place) {
    auto& value = (*stack)[first + place];
    if (value.isGenerator()) {
      value = on_host(value.toGenerator());
    } else if (value.isNone() && arguments[place].type()->str() == "Generator?") {
      value = on_host(default_generator(device));
    }
  }
}

// A result is where torch's fallback saw the first tensor, which a scalar on the host may have been.
void move_results(const c10::OperatorHandle& op, torch::jit::Stack* stack, c10::Device device) {
  const auto results = op.schema().returns().size();
  for (auto& value : c10::ArrayRef<c10::IValue>(*stack).slice(stack->size() - results)) {
    if (value.isTensor() && value.toTensor().defined() && value.toTensor().is_cpu()) {
      const_cast<c10::IValue&>(value) = value.toTensor().to(device);
    }
  }
}

bool any_hollow(Arguments arguments) {
  bool found = false;
  for (const auto& value : arguments) {
    for_each_tensor(value, [&](const at::Tensor& tensor) { found = found || is_hollow(tensor); });
  }
  return found;
}

void compute_on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto name = short_name(op);
  const auto arguments = torch::jit::last(*stack, op.schema().arguments().size());
  const auto device = device_of(op, name, arguments);
  count_operation(device.index(), name);
  count_indices(name, arguments, device.index());
  if (kWaiting.count(name) != 0) {
    count_synchronisation(device.index(), name);
  }
  const c10::DeviceGuard guard(device);
  if (any_hollow(arguments)) {
    return compute_shapes(op, stack, device);
  }
  unwrap_generators(op, stack, device.index());
  const Uncounted uncounted;
  at::native::cpu_fallback(op, stack, /*error_on_views=*/true);
  move_results(op, stack, device);
}

} // namespace

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&compute_on_host>());
}

// torch would take these apart, where CUDA has a kernel each.
TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  for (const auto* name : {"native_group_norm", "native_layer_norm"}) {
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&compute_on_host>());
  }
}

} // namespace accelerator
