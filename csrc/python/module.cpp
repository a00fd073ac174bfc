#include "topics.hpp"

#include <string>
#include <vector>

#include "simd.hpp"

#include <pybind11/stl.h>

PYBIND11_MODULE(_core, m) {
    m.doc() = "The native core: tile geometry, extraction, blending, CRC-32C. Use it through fluorsr.tiling.";
    fluorsr::python::init_checksum(m);
    fluorsr::python::init_geometry(m);
    fluorsr::python::init_stitching(m);
    m.def(
        "simd_levels",
        [] {
            std::vector<std::string> names;
            for (const fluorsr::Simd level : fluorsr::simd_levels()) names.emplace_back(fluorsr::simd_name(level));
            return names;
        },
        "Vector instructions this machine can run, slowest first; the last is used unless another is asked for.");
}
