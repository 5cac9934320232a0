// A device's random numbers: the host's generator under the device's name, so that both draw the same ones.
#include "device.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/TensorImpl.h>

#include <array>

namespace accelerator {
namespace {

struct DeviceGenerator final : c10::GeneratorImpl {
  explicit DeviceGenerator(c10::DeviceIndex device, at::Generator drawing = at::detail::createCPUGenerator())
      : GeneratorImpl(c10::Device(kType, device), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)),
        host(std::move(drawing)) {}

  void set_current_seed(uint64_t seed) override {
    host.set_current_seed(seed);
  }
  void set_offset(uint64_t offset) override {
    host.set_offset(offset);
  }
  uint64_t get_offset() const override {
    return host.get_offset();
  }
  uint64_t current_seed() const override {
    return host.current_seed();
  }
  uint64_t seed() override {
    return host.seed();
  }
  void set_state(const c10::TensorImpl& state) override {
    host.unsafeGetGeneratorImpl()->set_state(state);
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return host.unsafeGetGeneratorImpl()->get_state();
  }
  DeviceGenerator* clone_impl() const override {
    return new DeviceGenerator(device_.index(), host.clone());
  }

  at::Generator host;
};

} // namespace

at::Generator new_generator(c10::DeviceIndex device) {
  return at::make_generator<DeviceGenerator>(device < 0 ? current_device() : device);
}

const at::Generator& default_generator(c10::DeviceIndex device) {
  static auto* all = new std::array<at::Generator, kMostDevices>;
  auto& generator = all->at(device < 0 ? current_device() : device);
  if (!generator.defined()) {
    generator = new_generator(device);
  }
  return generator;
}

at::Generator on_host(const at::Generator& generator) {
  TORCH_CHECK(
      generator.device().type() == kType,
      "Expected a '", kType, "' device type for generator but found '", generator.device().type(), "'");
  return generator.get<DeviceGenerator>()->host;
}

} // namespace accelerator
