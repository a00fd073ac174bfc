#include "arrays.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace fluorsr::python {
namespace {

struct Extent {
    std::intptr_t begin;
    std::intptr_t end;
};

Extent extent(const py::array& array) {
    const auto data = reinterpret_cast<std::intptr_t>(array.data());
    Extent result{data, data + array.itemsize()};
    for (py::ssize_t a = 0; a < array.ndim(); ++a) {
        const py::ssize_t reach = (array.shape(a) - 1) * array.strides(a);
        (reach < 0 ? result.begin : result.end) += reach;
    }
    return result;
}

// Sufficient, and met by every slice and transpose of an ordinary array: each stride clears all smaller ones.
bool reaches_elements_twice(const py::array& array) {
    std::vector<std::pair<py::ssize_t, py::ssize_t>> axes;  // |stride|, length
    for (py::ssize_t a = 0; a < array.ndim(); ++a)
        if (array.shape(a) > 1) axes.emplace_back(std::abs(array.strides(a)), array.shape(a));
    std::sort(axes.begin(), axes.end());
    py::ssize_t covered = array.itemsize();
    for (const auto& [stride, length] : axes) {
        if (stride < covered) return true;
        covered += (length - 1) * stride;
    }
    return false;
}

}  // namespace

py::array as_array(const py::object& object, const std::string& name) {
    if (!py::isinstance<py::array>(object))
        throw std::invalid_argument(name + " is a " + std::string(py::str(py::type::of(object).attr("__name__"))) +
                                    "; it must be a numpy array (a torch tensor becomes one by .numpy())");
    return py::reinterpret_borrow<py::array>(object);
}

std::string describe_shape(const py::array& array) { return py::str(array.attr("shape")); }

void refuse_dtype(const py::array& array, const std::string& name, const std::string& allowed) {
    throw std::invalid_argument(name + " has dtype " + std::string(py::str(array.dtype().attr("str"))) +
                                "; it must be one of " + allowed + " in native byte order; try np.ascontiguousarray(" +
                                name + ", dtype=...)");
}

void check_layout(const py::array& array, const std::string& name, py::ssize_t rank) {
    if (array.ndim() != rank)
        throw std::invalid_argument(name + " has shape " + describe_shape(array) + "; it must have " +
                                    std::to_string(rank) + " axes, the last three z, y, x (a 2-D image has z = 1)");
    if (array.size() == 0)
        throw std::invalid_argument(name + " is empty: its shape is " + describe_shape(array) +
                                    "; every axis must have at least one element");
    // numpy's own flag asks only for what this processor needs; C++ asks for the element's size.
    const bool whole_strides = [&] {
        for (py::ssize_t a = 0; a < rank; ++a)
            if (array.shape(a) > 1 && array.strides(a) % array.itemsize() != 0) return false;
        return true;
    }();
    if (!whole_strides ||
        reinterpret_cast<std::uintptr_t>(array.data()) % static_cast<std::uintptr_t>(array.itemsize()) != 0)
        throw std::invalid_argument(name + " is misaligned: its pixels do not lie at multiples of their size in " +
                                    "memory; try " + name + ".copy()");
}

void check_output(const py::array& array, const std::string& name, py::ssize_t rank) {
    check_layout(array, name, rank);
    if (!array.writeable())
        throw std::invalid_argument(name + " is read-only; it must be writeable to take the result");
    if (reaches_elements_twice(array))
        throw std::invalid_argument(name + " overlaps itself: its strides " +
                                    std::string(py::str(array.attr("strides"))) +
                                    " reach some elements twice; try a fresh array from np.empty");
}

void check_c_contiguous(const py::array& array, const std::string& name) {
    if ((array.flags() & py::array::c_style) == 0)
        throw std::invalid_argument(name + " is not C-contiguous: shape " + describe_shape(array) + ", strides " +
                                    std::string(py::str(array.attr("strides"))) + "; try np.ascontiguousarray(" + name +
                                    ")");
}

void check_disjoint(const py::array& a, const std::string& a_name, const py::array& b, const std::string& b_name) {
    const Extent one = extent(a);
    const Extent two = extent(b);
    if (one.begin < two.end && two.begin < one.end)
        throw std::invalid_argument(a_name + " and " + b_name + " share memory; they must be separate arrays, try " +
                                    a_name + ".copy()");
}

Index checked_product(Index a, Index b, const std::string& what) {
    constexpr Index kMost = INT64_MAX / 16;  // leaves room for the size of an element
    if (a < 0 || b < 0 || (a != 0 && b > kMost / a))
        throw std::invalid_argument(what + " would need more memory than any machine has; take fewer or smaller ones");
    return a * b;
}

}  // namespace fluorsr::python
