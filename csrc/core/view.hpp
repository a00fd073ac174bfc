// Arrays as the core sees them: a pointer, a shape and strides, always of rank 3 (z, y, x). A 2-D image has z = 1.
// Sizes, strides and offsets are 64-bit and count elements; a stride may be negative.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace fluorsr {

using Index = std::int64_t;
using Index3 = std::array<Index, 3>;  // z, y, x

inline constexpr const char* kAxisNames[3] = {"z", "y", "x"};

template <class T>
struct View {
    T* data;
    Index3 shape;
    Index3 stride;

    T* row(Index z, Index y) const { return data + z * stride[0] + y * stride[1]; }
};

// Half open: start <= i < stop along each axis.
struct Box {
    Index3 start;
    Index3 stop;

    Index size(int axis) const { return stop[axis] - start[axis]; }
};

}  // namespace fluorsr
