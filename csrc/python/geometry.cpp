#include "topics.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <vector>

#include "arrays.hpp"
#include "grid.hpp"

namespace fluorsr::python {
namespace {

Grid make_grid(const Index3& shape, const Index3& tile, const Index3& halo, const Index3& overlap,
               const Index3& multiple, const Index3& scale) {
    Grid grid{};
    for (std::size_t a = 0; a < 3; ++a)
        grid.axes[a] = Axis{shape[a], tile[a], halo[a], overlap[a], multiple[a], scale[a]};
    grid.check();
    return grid;
}

py::tuple triple(const Index3& values) { return py::make_tuple(values[0], values[1], values[2]); }

py::tuple per_axis(const Grid& grid, Index (Axis::*value)() const) {
    return triple({(grid.axes[0].*value)(), (grid.axes[1].*value)(), (grid.axes[2].*value)()});
}

py::tuple tiles_of(const Grid& grid, const Index3& start, const Index3& stop) {
    const TileBlock block = tiles(grid, Box{start, stop});
    const std::vector<Index> origins = starts(grid, block);
    py::array_t<Index> array({static_cast<py::ssize_t>(block.size()), py::ssize_t{3}});
    std::copy(origins.begin(), origins.end(), array.mutable_data());
    return py::make_tuple(triple(block.first), triple(block.counts), array, triple(block.source.start),
                          triple(block.source.stop));
}

}  // namespace

void init_geometry(py::module_& m) {
    py::class_<Grid>(m, "Grid", "Tile geometry of one image; every argument is a triple (z, y, x).")
        .def(py::init(&make_grid), py::arg("shape"), py::arg("tile"), py::arg("halo"), py::arg("overlap"),
             py::arg("multiple"), py::arg("scale"))
        .def_property_readonly("stride", [](const Grid& grid) { return per_axis(grid, &Axis::stride); })
        .def_property_readonly("count", [](const Grid& grid) { return per_axis(grid, &Axis::count); })
        .def("tiles", &tiles_of, py::arg("start"), py::arg("stop"),
             "(first, counts, starts [n, 3], source start, source stop) of the tiles that a block needs.");
}

}  // namespace fluorsr::python
