#include "topics.hpp"

#include <pybind11/stl.h>

#include <cmath>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "blend.hpp"
#include "extract.hpp"

namespace fluorsr::python {
namespace {

float finite(double value, const std::string& name) {
    const float single = static_cast<float>(value);
    if (!std::isfinite(single))
        throw std::invalid_argument(name + " is " + std::string(py::str(py::float_(value))) +
                                    "; it must be finite as float32");
    return single;
}

Options options(int threads, const std::string& simd) {
    if (threads < 1) throw std::invalid_argument("threads is " + std::to_string(threads) + "; it must be at least 1");
    return Options{threads, simd_by_name(simd)};
}

// A copy, so that nobody changes the origins between their check and their use while the GIL is released.
std::vector<Index> tile_origins(const py::object& starts) {
    const py::array array = as_array(starts, "starts");
    check_dtype<Index>(array, "starts");
    if (array.ndim() != 2 || array.shape(1) != 3)
        throw std::invalid_argument("starts has shape " + describe_shape(array) + "; it must be [tiles, 3] (z, y, x)");
    check_layout(array, "starts", 2);
    check_c_contiguous(array, "starts");
    const auto* data = static_cast<const Index*>(array.data());
    return std::vector<Index>(data, data + array.size());
}

py::array extract_tiles(const py::object& source_object, const Index3& source_start, const Index3& image_shape,
                        const py::object& starts, const Index3& tile, double subtract, double multiply, double fill,
                        const py::object& out_object, int threads, const std::string& simd) {
    const py::array source = as_array(source_object, "source");
    check_layout(source, "source", 3);
    const std::vector<Index> origins = tile_origins(starts);
    const auto n = static_cast<Index>(origins.size()) / 3;
    for (std::size_t a = 0; a < 3; ++a)
        if (tile[a] < 1 || tile[a] > kMaxTile)
            throw std::invalid_argument(std::string(kAxisNames[a]) + ": tile " + std::to_string(tile[a]) +
                                        " must be 1 to " + std::to_string(kMaxTile));
    const std::vector<Index> shape{n, tile[0], tile[1], tile[2]};
    Index size = 1;
    for (const Index length : shape) size = checked_product(size, length, "the tiles");

    const Normalise by{finite(subtract, "subtract"), finite(multiply, "multiply"), finite(fill, "fill")};
    const Options how = options(threads, simd);
    py::array out;
    if (out_object.is_none()) {
        out = py::array_t<float>(shape);
    } else {
        out = as_array(out_object, "out");
        check_dtype<float>(out, "out");
        if (out.ndim() != 4 || !std::equal(shape.begin(), shape.end(), out.shape()))
            throw std::invalid_argument("out has shape " + describe_shape(out) + "; it must be " +
                                        std::string(py::str(py::tuple(py::cast(shape)))) + " [tiles, z, y, x]");
        check_output(out, "out", 4);
        check_c_contiguous(out, "out");
        check_disjoint(out, "out", source, "source");
    }
    auto* target = static_cast<float*>(out.mutable_data());
    dispatch<std::uint8_t, std::uint16_t, std::int16_t, float>(source, "source", [&](auto pixel) {
        using T = decltype(pixel);
        const auto pixels = view<const T>(source);
        const py::gil_scoped_release release;
        extract<T>(pixels, source_start, image_shape, origins.data(), n, tile, target, by, how);
    });
    return out;
}

TileStack tile_stack(const py::array& tiles, const Grid& grid, const Index3& first, const Index3& counts) {
    check_dtype<float>(tiles, "tiles");
    check_layout(tiles, "tiles", 4);
    TileStack stack{};
    stack.data = static_cast<const float*>(tiles.data());
    const View<const float> one = view<const float>(tiles);
    if (one.stride[2] != 1 && one.shape[2] > 1)
        throw std::invalid_argument("tiles must be contiguous along x; try np.ascontiguousarray(tiles)");
    Index n = 1;
    for (std::size_t a = 0; a < 3; ++a) {
        const Axis& axis = grid.axes[a];
        if (first[a] < 0 || counts[a] < 1 || counts[a] > axis.count() || first[a] > axis.count() - counts[a])
            throw std::invalid_argument(std::string(kAxisNames[a]) + ": tiles " + std::to_string(first[a]) + " on, " +
                                        std::to_string(counts[a]) + " of them, are not on the grid of " +
                                        std::to_string(axis.count()) + "; take them from grid.tiles(block)");
        n = checked_product(n, counts[a], "the tiles");
        const Index wanted = axis.tile * axis.scale;
        if (one.shape[a] != wanted)
            throw std::invalid_argument(std::string(kAxisNames[a]) + ": tiles have " + std::to_string(one.shape[a]) +
                                        " pixels, but tile " + std::to_string(axis.tile) + " at scale " +
                                        std::to_string(axis.scale) + " makes " + std::to_string(wanted) +
                                        "; the model's scale differs from the grid's");
    }
    if (tiles.shape(0) != n)
        throw std::invalid_argument("tiles holds " + std::to_string(tiles.shape(0)) + " tiles; the block has " +
                                    std::to_string(n));
    stack.tile_stride = tiles.strides(0) / static_cast<py::ssize_t>(sizeof(float));
    stack.z_stride = one.stride[0];
    stack.y_stride = one.stride[1];
    stack.range.first = first;
    stack.range.counts = counts;
    return stack;
}

py::tuple blend_tiles(const py::object& tiles_object, const Grid& grid, const Index3& first, const Index3& counts,
                      const Index3& start, const Index3& stop, const py::object& out_object, double multiply,
                      double add, int threads, const std::string& simd) {
    const py::array tiles = as_array(tiles_object, "tiles");
    const TileStack stack = tile_stack(tiles, grid, first, counts);
    const py::array out = as_array(out_object, "out");
    check_output(out, "out", 3);
    check_disjoint(out, "out", tiles, "tiles");
    const Denormalise by{finite(multiply, "multiply"), finite(add, "add")};
    const Options how = options(threads, simd);
    BlendCounts counted;
    dispatch<std::uint8_t, std::uint16_t, float>(out, "out", [&](auto pixel) {
        using T = decltype(pixel);
        const auto pixels = view<T>(out);
        const py::gil_scoped_release release;
        counted = blend<T>(stack, grid, Box{start, stop}, pixels, by, how);
    });
    return py::make_tuple(counted.saturated, counted.nonfinite);
}

}  // namespace

void init_stitching(py::module_& m) {
    m.def("extract", &extract_tiles, py::arg("source"), py::arg("source_start"), py::arg("image_shape"),
          py::arg("starts"), py::arg("tile"), py::kw_only(), py::arg("subtract"), py::arg("multiply"), py::arg("fill"),
          py::arg("out") = py::none(), py::arg("threads") = 1, py::arg("simd") = "",
          "Cut tiles out of `source`: float32 [n, z, y, x] of (pixel - subtract) * multiply.");
    m.def("blend", &blend_tiles, py::arg("tiles"), py::arg("grid"), py::arg("first"), py::arg("counts"),
          py::arg("start"), py::arg("stop"), py::arg("out"), py::kw_only(), py::arg("multiply"), py::arg("add"),
          py::arg("threads") = 1, py::arg("simd") = "",
          "Blend restored tiles into `out` as value * multiply + add; returns (saturated, nonfinite).");
}

}  // namespace fluorsr::python
