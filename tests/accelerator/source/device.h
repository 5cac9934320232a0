// The devices themselves: which one is current, their memory and their random numbers.
#pragma once

#include "counts.h"

#include <ATen/core/Generator.h>
#include <c10/core/Allocator.h>
#include <c10/core/Storage.h>

#include <functional>

namespace accelerator {

c10::DeviceIndex device_count();
void set_device_count(c10::DeviceIndex count);
c10::DeviceIndex current_device();
void set_current_device(c10::DeviceIndex device);

c10::Allocator* device_memory(); // on the current device
void resize_storage(const c10::Storage& storage, size_t bytes); // of a device; its values are lost

// Is told, before a device is out of memory, how many bytes it lacks, and may free some.
using Relief = std::function<void(c10::DeviceIndex, int64_t)>;
void set_relief(Relief relief);

c10::Allocator* pinned_memory(); // on the host
bool is_pinned(const void* data);

const at::Generator& default_generator(c10::DeviceIndex device);
at::Generator new_generator(c10::DeviceIndex device);
at::Generator on_host(const at::Generator& generator); // which one draws for a device's generator

} // namespace accelerator
