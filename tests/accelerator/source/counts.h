// What a device has been asked to do, and the memory that it has given out.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <string>

namespace accelerator {

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;
constexpr c10::DeviceIndex kMostDevices = 8;

struct Copies {
  int64_t number = 0;
  int64_t bytes = 0;
};

struct Counts {
  std::map<std::string, int64_t> operations; // by name
  std::map<std::string, int64_t> synchronisations; // by the operation that waited
  Copies to_device, to_host, from_other; // the last from another accelerator, counted where they arrive
};

struct Memory {
  int64_t in_use = 0;
  int64_t peak = 0;
  int64_t total = int64_t{64} << 30;
};

// Nothing is counted in a thread while one of these lives: an operation that is computed on the host copies its
// arguments there and its results back, which a device of its own would not do.
class Uncounted {
 public:
  Uncounted();
  ~Uncounted();
  Uncounted(const Uncounted&) = delete;
  Uncounted& operator=(const Uncounted&) = delete;

 private:
  bool before_;
};

void count_operation(c10::DeviceIndex device, const std::string& name);
void count_synchronisation(c10::DeviceIndex device, const std::string& name);
void count_copy(c10::DeviceIndex device, Copies Counts::*direction, int64_t bytes);

Counts counts_of(c10::DeviceIndex device);
Memory memory_of(c10::DeviceIndex device);
void set_total(c10::DeviceIndex device, int64_t bytes);
void set_peak(c10::DeviceIndex device, int64_t bytes); // at least what is in use
int64_t lacking(c10::DeviceIndex device, int64_t bytes); // how many of so many bytes a device lacks
void take(c10::DeviceIndex device, int64_t bytes); // raises c10::OutOfMemoryError beyond the total
void give_back(c10::DeviceIndex device, int64_t bytes) noexcept;

} // namespace accelerator
