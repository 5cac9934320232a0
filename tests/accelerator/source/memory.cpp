// Device memory is the host's, counted; so is pinned memory, whose addresses are known.
#include "device.h"
#include "hollow.h"

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/alloc_cpu.h>

#include <cstdlib>
#include <mutex>
#include <set>

#ifndef _WIN32
#include <sys/mman.h>
#endif

namespace accelerator {
namespace {

constexpr int64_t kGranule = 512; // CUDA's allocator gives no smaller blocks, and multiples of it

struct Block {
  void* memory;
  int64_t bytes;
  c10::DeviceIndex device;
  bool hollow;
};

// Pages of zeros that the system gives no memory for before they are written to, which nothing does with hollow memory.
#ifdef _WIN32
void* reserve(size_t bytes) {
  return std::calloc(1, bytes);
}

void release(void* memory, size_t /*bytes*/) {
  std::free(memory);
}
#else
void* reserve(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TORCH_CHECK(memory != MAP_FAILED, "The system has no address for ", bytes, " bytes.");
  return memory;
}

void release(void* memory, size_t bytes) {
  munmap(memory, bytes);
}
#endif

void free_block(void* context) {
  const auto* block = static_cast<Block*>(context);
  if (block->hollow) {
    release(block->memory, block->bytes);
  } else {
    c10::free_cpu(block->memory);
  }
  give_back(block->device, block->bytes);
  delete block;
}

Relief& relief() {
  static auto* one = new Relief;
  return *one;
}

struct DeviceMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    const auto device = current_device();
    const c10::Device place(kType, device);
    if (bytes == 0) {
      return {nullptr, place};
    }
    const auto counted = (static_cast<int64_t>(bytes) + kGranule - 1) / kGranule * kGranule;
    if (const auto lacks = lacking(device, counted); lacks > 0 && relief()) {
      relief()(device, lacks);
    }
    take(device, counted);
    const bool hollow = static_cast<int64_t>(bytes) >= hollow_from();
    auto* block = new Block{hollow ? reserve(counted) : c10::alloc_cpu(bytes), counted, device, hollow};
    return {block->memory, block, &free_block, place};
  }

  c10::DeleterFnPtr raw_deleter() const override {
    return nullptr; // what is freed is the block, not its address
  }

  void copy_data(void* target, const void* source, std::size_t bytes) const override {
    default_copy_data(target, source, bytes);
  }
};

struct PinnedMemory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* memory = c10::alloc_cpu(bytes);
    const std::lock_guard<std::mutex> lock(mutex());
    addresses().insert(memory);
    return {memory, memory, &free_pinned, c10::Device(c10::kCPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override {
    return &free_pinned;
  }

  void copy_data(void* target, const void* source, std::size_t bytes) const override {
    default_copy_data(target, source, bytes);
  }

  static void free_pinned(void* memory) {
    const std::lock_guard<std::mutex> lock(mutex());
    addresses().erase(memory);
    c10::free_cpu(memory);
  }

  static std::mutex& mutex() {
    static auto* one = new std::mutex;
    return *one;
  }

  static std::set<const void*>& addresses() {
    static auto* all = new std::set<const void*>;
    return *all;
  }
};

DeviceMemory of_devices;
PinnedMemory of_host;
REGISTER_ALLOCATOR(kType, &of_devices)

} // namespace

c10::Allocator* device_memory() {
  return &of_devices;
}

void resize_storage(const c10::Storage& storage, size_t bytes) {
  const c10::DeviceGuard guard(storage.device());
  storage.set_data_ptr_noswap(of_devices.allocate(bytes));
  storage.set_nbytes(bytes);
}

void set_relief(Relief to_call) {
  relief() = std::move(to_call);
}

c10::Allocator* pinned_memory() {
  return &of_host;
}

bool is_pinned(const void* data) {
  const std::lock_guard<std::mutex> lock(PinnedMemory::mutex());
  return PinnedMemory::addresses().count(data) != 0;
}

} // namespace accelerator
