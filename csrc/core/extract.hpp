// Cuts tiles out of a part of an image: reads any pixel type, normalises, continues the image by reflection.
//
//     image    |.........................................|
//     source          |=====================|               what was read, from source_start on
//     tile                 |---- T ----|                    interior: one fused pass a row
//     tile 0   |--r--|---- T - r ---|                       r pixels reflected, found one by one
//
// Requirements: `out` is C-contiguous [n, tile z, tile y, tile x]; every pixel a tile shows lies in the source.
#pragma once

#include "kernels.hpp"
#include "view.hpp"

namespace fluorsr {

// `starts` holds the n tiles' origins (z, y, x) in image pixels, which may be negative.
// Throws std::invalid_argument where a tile shows pixels that the source does not hold.
template <class T>
void extract(const View<const T>& source, const Index3& source_start, const Index3& image_shape, const Index* starts,
             Index n, const Index3& tile, float* out, const Normalise& by, const Options& options);

}  // namespace fluorsr
