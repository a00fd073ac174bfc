// Where tiles lie: one global grid, anchored at pixel 0 of the image, the same for every block, worker and host.
//
//     input axis      |<-- h -->|<- o/2 ->|<------- S - o ------->|<- o/2 ->|<-- h -->|
//     tile k          |  thrown |  fades  |      its own alone     |  fades  | thrown  |      T = S + o + 2h
//     starts at         kS - o/2 - h         its crossing points kS and (k+1)S lie mid-fade
//
// T tile, h halo, o overlap, S stride, all in input pixels; m (multiple) divides every tile's origin and size.
//
//     tiles          0 ......... 1 ......... 2 ......... count - 1
//     own       |----S----|----S----|----S----|--rest--|
//               0         S        2S        3S       size
//     outside the image a tile is filled by reflection: ... 2 1 | 0 1 2 ... n-2 n-1 | n-2 n-3 ...   (period 2(n-1))
//
// A block [start, stop) of the image asks for the tiles k with kS - o/2 < stop and (k+1)S + o/2 > start, clipped to
// [0, count): those whose own or fading pixels its output touches. A block therefore needs no other block.
#pragma once

#include "view.hpp"

#include <string>
#include <vector>

namespace fluorsr {

// Limits that keep every product of the geometry far inside 64 bits.
inline constexpr Index kMaxSize = Index{1} << 48;
inline constexpr Index kMaxTile = Index{1} << 24;
inline constexpr Index kMaxScale = 1024;
inline constexpr Index kMaxTiles = Index{1} << 31;  // of one block

struct Interval {
    Index start;
    Index stop;
};

// The image pixel that position i shows when an axis of n pixels is continued by reflection (numpy's mode "reflect",
// repeated as often as needed; an axis of one pixel repeats it).
Index reflect(Index i, Index n);

// The image pixels that the positions [start, stop) show, as the smallest interval that holds them all.
Interval reflected_range(Interval positions, Index n);

struct Axis {
    Index size;      // pixels of the image
    Index tile;      // T
    Index halo;      // h
    Index overlap;   // o
    Index multiple;  // m
    Index scale;     // output pixels per input pixel

    Index stride() const { return tile - 2 * halo - overlap; }
    Index margin() const { return overlap / 2 + halo; }
    Index count() const { return (size + stride() - 1) / stride(); }
    Index start(Index k) const { return k * stride() - margin(); }

    // Throws std::invalid_argument with the rule, the value and the remedy; `name` opens the message.
    void check(const std::string& name) const;

    // Tiles needed for the output of the input pixels [start, stop).
    Interval tiles(Interval pixels) const;

    // Image pixels that the tiles [start, stop) show.
    Interval source(Interval tile_range) const;
};

// At most two tiles show one output pixel; `weight` belongs to `later`, 1 - weight to `tile`.
struct Share {
    Index tile;
    Index later;   // -1: `tile` shows the pixel alone
    Index weight;  // position on the ramp of overlap * scale weights (window.hpp)
};

// Who shows output pixel p (counted in output pixels of the whole image).
Share share(const Axis& axis, Index p);

// The first output pixel after p that is shown in another way: by other tiles, or from alone to fading or back.
Index share_end(const Axis& axis, Index p);

struct Grid {
    std::array<Axis, 3> axes;  // z, y, x

    void check() const;
};

struct TileBlock {
    Index3 first;
    Index3 counts;
    Box source;  // image pixels to read

    Index size() const { return counts[0] * counts[1] * counts[2]; }
};

// Throws std::invalid_argument where `block` is empty or not inside the image.
void check_block(const Grid& grid, const Box& block);

// Tiles needed for the output of `block`. Throws as check_block does, and where they are more than kMaxTiles.
TileBlock tiles(const Grid& grid, const Box& block);

// Origins (z, y, x) of the block's tiles in C order, three numbers a tile.
std::vector<Index> starts(const Grid& grid, const TileBlock& block);

}  // namespace fluorsr
