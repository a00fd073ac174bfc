// Puts restored tiles together and finishes them into the output's pixel type, in one pass.
//
// Gather form: every output pixel looks up the tiles that show it, at most two along each axis, so no accumulator and
// no weights are kept and every output row can be made on its own.
//
//     output row     |---- tile 0 alone ----|-- fade --|---- tile 1 alone ----|-- fade --| ...      spans along x
//     its sources      rows of at most 2 (z) x 2 (y) tiles a span, faded along y, then z, then x
//
// Requirements: tiles hold `scale` times the grid's tile along each axis; their pixels are contiguous along x.
#pragma once

#include "extract.hpp"
#include "grid.hpp"

namespace fluorsr {

struct TileStack {
    const float* data;
    Index tile_stride;  // from one tile to the next, in C order over `range.counts`
    Index z_stride;
    Index y_stride;
    TileBlock range;  // which tiles of the grid these are
};

// Fills `out`, whose shape is the block's times the scale. Throws std::invalid_argument where the shapes disagree or a
// tile is missing.
template <class T>
BlendCounts blend(const TileStack& tiles, const Grid& grid, const Box& block, const View<T>& out, const Denormalise& by,
                  const Options& options);

}  // namespace fluorsr
