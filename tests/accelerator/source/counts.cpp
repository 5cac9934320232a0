#include "counts.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <mutex>

namespace accelerator {
namespace {

struct State {
  std::mutex mutex;
  std::array<Counts, kMostDevices> counts;
  std::array<Memory, kMostDevices> memory;
};

// Never destroyed: tensors may outlive everything else.
State& state() {
  static auto* all = new State;
  return *all;
}

thread_local bool uncounted = false;

template <typename Change>
void count(const Change& change) {
  if (uncounted) {
    return;
  }
  const std::lock_guard<std::mutex> lock(state().mutex);
  change(state().counts);
}

} // namespace

Uncounted::Uncounted() : before_(uncounted) {
  uncounted = true;
}

Uncounted::~Uncounted() {
  uncounted = before_;
}

void count_operation(c10::DeviceIndex device, const std::string& name) {
  count([&](auto& counts) { ++counts[device].operations[name]; });
}

void count_synchronisation(c10::DeviceIndex device, const std::string& name) {
  count([&](auto& counts) { ++counts[device].synchronisations[name]; });
}

void count_copy(c10::DeviceIndex device, Copies Counts::*direction, int64_t bytes) {
  count([&](auto& counts) {
    auto& copies = counts[device].*direction;
    ++copies.number;
    copies.bytes += bytes;
  });
}

Counts counts_of(c10::DeviceIndex device) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  return state().counts.at(device);
}

Memory memory_of(c10::DeviceIndex device) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  return state().memory.at(device);
}

void set_total(c10::DeviceIndex device, int64_t bytes) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().memory.at(device).total = bytes;
}

void set_peak(c10::DeviceIndex device, int64_t bytes) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  auto& memory = state().memory.at(device);
  memory.peak = std::max(memory.in_use, bytes);
}

int64_t lacking(c10::DeviceIndex device, int64_t bytes) {
  const auto memory = memory_of(device);
  return std::max<int64_t>(0, memory.in_use + bytes - memory.total);
}

void take(c10::DeviceIndex device, int64_t bytes) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  auto& memory = state().memory.at(device);
  TORCH_CHECK_WITH(
      OutOfMemoryError,
      memory.in_use + bytes <= memory.total,
      "Accelerator out of memory. Tried to allocate ", bytes, " bytes. Device ", int{device}, " has ", memory.total,
      " bytes, of which ", memory.in_use, " are in use.");
  memory.in_use += bytes;
  memory.peak = std::max(memory.peak, memory.in_use);
}

void give_back(c10::DeviceIndex device, int64_t bytes) noexcept {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().memory[device].in_use -= bytes;
}

} // namespace accelerator
