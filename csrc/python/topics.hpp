// One init function per topic; module.cpp calls them all.
//
// Every binding does the same four things: check each argument, allocate what it returns, release the GIL, make one
// call of the core. What the core throws as std::invalid_argument becomes ValueError; fluorsr/tiling raises it again
// as InputError.
#pragma once

#include <pybind11/pybind11.h>

namespace fluorsr::python {

void init_checksum(pybind11::module_& m);
void init_geometry(pybind11::module_& m);
void init_stitching(pybind11::module_& m);

}  // namespace fluorsr::python
