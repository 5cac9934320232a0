// What Python asks of the devices.
#include "device.h"
#include "hollow.h"

#include <torch/csrc/utils/pybind.h>

#include <pybind11/functional.h>

namespace py = pybind11;

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  using namespace accelerator;
  py::class_<Copies>(m, "Copies").def_readonly("number", &Copies::number).def_readonly("bytes", &Copies::bytes);
  py::class_<Counts>(m, "Counts")
      .def_readonly("operations", &Counts::operations)
      .def_readonly("synchronisations", &Counts::synchronisations)
      .def_readonly("to_device", &Counts::to_device)
      .def_readonly("to_host", &Counts::to_host)
      .def_readonly("from_other", &Counts::from_other);
  py::class_<Memory>(m, "Memory")
      .def_readonly("in_use", &Memory::in_use)
      .def_readonly("peak", &Memory::peak)
      .def_readonly("total", &Memory::total);
  m.def("counts_of", &counts_of);
  m.def("memory_of", &memory_of);
  m.def("set_total", &set_total);
  m.def("set_hollow_from", &set_hollow_from);
  m.def("set_relief", &set_relief);
  m.def("set_peak", &set_peak);
  m.def("count_synchronisation", &count_synchronisation);
  m.def("device_count", &device_count);
  m.def("set_device_count", &set_device_count);
  m.def("current_device", &current_device);
  m.def("set_current_device", &set_current_device);
  m.def("default_generator", &default_generator);
}
