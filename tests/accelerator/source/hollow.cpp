// What operations do with hollow memory: torch's meta device says the shapes of their results.
#include "hollow.h"

#include "counts.h"

#include <ATen/ops/empty_strided.h>

#include <atomic>
#include <limits>

namespace accelerator {
namespace {

std::atomic<int64_t> least{std::numeric_limits<int64_t>::max()};

c10::IValue shapes_in(const c10::IValue& value) {
  if (value.isTensor()) {
    return shape_of(value.toTensor());
  }
  if (value.isTensorList()) {
    c10::List<at::Tensor> shapes;
    for (const at::Tensor& tensor : value.toTensorVector()) {
      shapes.push_back(shape_of(tensor));
    }
    return shapes;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> shapes;
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
      shapes.push_back(tensor ? std::optional(shape_of(*tensor)) : std::nullopt);
    }
    return shapes;
  }
  if (value.isDevice()) {
    return c10::Device(c10::kMeta);
  }
  return value.isGenerator() ? c10::IValue() : value;
}

c10::IValue made_of(const c10::IValue& shapes, c10::Device device) {
  if (shapes.isTensor()) {
    return of_shape(shapes.toTensor(), device);
  }
  if (shapes.isTensorList()) {
    c10::List<at::Tensor> made;
    for (const at::Tensor& shape : shapes.toTensorVector()) {
      made.push_back(of_shape(shape, device));
    }
    return made;
  }
  return shapes;
}

// The argument that a result is, where the operation writes into it; -1 where the result is a tensor of its own.
int written_argument(const c10::FunctionSchema& schema, const c10::Argument& result) {
  if (result.alias_info() == nullptr || !result.alias_info()->isWrite()) {
    return -1;
  }
  for (size_t place = 0; place < schema.arguments().size(); ++place) {
    const auto* alias = schema.arguments()[place].alias_info();
    if (alias != nullptr && alias->beforeSets() == result.alias_info()->beforeSets()) {
      return static_cast<int>(place);
    }
  }
  return -1;
}

void write_nothing(const at::Tensor& target, c10::IntArrayRef sizes) {
  const Uncounted uncounted;
  if (target.sizes() != sizes) {
    target.resize_(sizes);
  }
  if (!is_hollow(target)) {
    target.zero_();
  }
}

} // namespace

void set_hollow_from(int64_t bytes) {
  least = bytes;
}

int64_t hollow_from() {
  return least;
}

bool is_hollow(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().type() == kType &&
      static_cast<int64_t>(tensor.storage().nbytes()) >= hollow_from();
}

at::Tensor shape_of(const at::Tensor& tensor) {
  // A number of Python's stays what it is: it decides a result's type less than a tensor does.
  if (!tensor.defined() || tensor.unsafeGetTensorImpl()->is_wrapped_number()) {
    return tensor;
  }
  return at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options().device(c10::kMeta));
}

at::Tensor of_shape(const at::Tensor& shape, c10::Device device) {
  if (!shape.defined() || !shape.is_meta()) {
    return shape;
  }
  auto made = at::empty_strided(shape.sizes(), shape.strides(), shape.options().device(device));
  write_nothing(made, made.sizes());
  return made;
}

void compute_shapes(const c10::OperatorHandle& op, torch::jit::Stack* stack, c10::Device device) {
  const auto& schema = op.schema();
  const auto arguments = torch::jit::last(*stack, schema.arguments().size()).vec();
  torch::jit::Stack asked;
  for (const auto& argument : arguments) {
    asked.push_back(shapes_in(argument));
  }
  const auto shapes = asked;
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::Meta), &asked);
  torch::jit::drop(*stack, arguments.size());
  for (size_t place = 0; place < schema.returns().size(); ++place) {
    const auto written = written_argument(schema, schema.returns()[place]);
    if (written < 0) {
      stack->push_back(made_of(asked[place], device));
      continue;
    }
    const auto& target = arguments[written];
    if (target.isTensor()) {
      write_nothing(target.toTensor(), shapes[written].toTensor().sizes());
    }
    stack->push_back(target);
  }
}

} // namespace accelerator
