// Checks of numpy arrays. A pointer is taken only from an array that passed: type and byte order, rank, shape,
// strides, alignment, and for outputs writeable and free of overlap. Each refusal names the array and the remedy.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#include <type_traits>

#include "view.hpp"

namespace fluorsr::python {

namespace py = pybind11;

// `object` as an array, or an error that says what it is instead.
py::array as_array(const py::object& object, const std::string& name);

// Rank, no empty axis, strides in whole elements, aligned to the element's size.
void check_layout(const py::array& array, const std::string& name, py::ssize_t rank);

// Also writeable, and no element is reached by two indices.
void check_output(const py::array& array, const std::string& name, py::ssize_t rank);

void check_c_contiguous(const py::array& array, const std::string& name);

// The memory spanned by the two arrays must not meet.
void check_disjoint(const py::array& a, const std::string& a_name, const py::array& b, const std::string& b_name);

std::string describe_shape(const py::array& array);

[[noreturn]] void refuse_dtype(const py::array& array, const std::string& name, const std::string& allowed);

// a * b, or an error where it leaves 64 bits.
Index checked_product(Index a, Index b, const std::string& what);

template <class T>
constexpr const char* dtype_name() {
    if constexpr (std::is_same_v<T, std::uint8_t>)
        return "uint8";
    else if constexpr (std::is_same_v<T, std::uint16_t>)
        return "uint16";
    else if constexpr (std::is_same_v<T, std::int16_t>)
        return "int16";
    else if constexpr (std::is_same_v<T, std::int64_t>)
        return "int64";
    else
        return "float32";
}

// True where the elements are T in native byte order.
template <class T>
bool holds(const py::array& array) {
    return py::isinstance<py::array_t<T>>(array);
}

// Calls f(T{}) for the T out of Ts that the array holds.
template <class... Ts, class F>
void dispatch(const py::array& array, const std::string& name, F&& f) {
    const bool found = ((holds<Ts>(array) && (f(Ts{}), true)) || ...);
    if (found) return;
    std::string allowed;
    ((allowed += (allowed.empty() ? "" : ", ") + std::string(dtype_name<Ts>())), ...);
    refuse_dtype(array, name, allowed);
}

template <class T>
void check_dtype(const py::array& array, const std::string& name) {
    if (!holds<T>(array)) refuse_dtype(array, name, dtype_name<T>());
}

// The last three axes of a checked array; T may be const.
template <class T>
View<T> view(const py::array& array) {
    View<T> result{};
    if constexpr (std::is_const_v<T>)
        result.data = static_cast<T*>(array.data());
    else
        result.data = static_cast<T*>(const_cast<void*>(array.data()));  // check_output saw that it is writeable
    const py::ssize_t skip = array.ndim() - 3;
    for (int a = 0; a < 3; ++a) {
        const auto axis = skip + a;
        const auto i = static_cast<std::size_t>(a);
        result.shape[i] = array.shape(axis);
        result.stride[i] = array.strides(axis) / static_cast<py::ssize_t>(sizeof(T));
    }
    return result;
}

}  // namespace fluorsr::python
