#include "grid.hpp"

#include <algorithm>
#include <stdexcept>

namespace fluorsr {
namespace {

Index floor_mod(Index a, Index b) {
    const Index r = a % b;
    return r < 0 ? r + b : r;
}

Index round_up(Index a, Index b) { return (a + b - 1) / b * b; }

// True where some i in [start, stop) is congruent to `residue`.
bool meets(Interval positions, Index residue, Index period) {
    return positions.start + floor_mod(residue - positions.start, period) < positions.stop;
}

std::string str(Index value) { return std::to_string(value); }

void require_between(const std::string& what, Index value, Index lowest, Index highest) {
    if (value < lowest || value > highest)
        throw std::invalid_argument(what + " is " + str(value) + "; it must be " + str(lowest) + " to " + str(highest));
}

}  // namespace

Index reflect(Index i, Index n) {
    if (i >= 0 && i < n) return i;
    if (n == 1) return 0;
    const Index period = 2 * (n - 1);
    const Index r = floor_mod(i, period);
    return r < n ? r : period - r;
}

Interval reflected_range(Interval positions, Index n) {
    if (n == 1) return {0, 1};
    const Index period = 2 * (n - 1);
    const Index a = reflect(positions.start, n);
    const Index b = reflect(positions.stop - 1, n);
    // Between two turning points reflection is monotone, so the ends bound it unless a turning point is met.
    const Index low = meets(positions, 0, period) ? 0 : std::min(a, b);
    const Index high = meets(positions, n - 1, period) ? n - 1 : std::max(a, b);
    return {low, high + 1};
}

void Axis::check(const std::string& name) const {
    const std::string at = name + ": ";
    require_between(at + "image size", size, 1, kMaxSize);
    require_between(at + "tile", tile, 1, kMaxTile);
    require_between(at + "halo", halo, 0, kMaxTile);
    require_between(at + "overlap", overlap, 0, kMaxTile);
    require_between(at + "multiple", multiple, 1, kMaxTile);
    require_between(at + "scale", scale, 1, kMaxScale);
    if (tile % multiple != 0) {
        const Index below = tile / multiple * multiple;
        const std::string lower = below > 0 ? str(below) + " or " : "";
        throw std::invalid_argument(at + "tile " + str(tile) + " must be a multiple of " + str(multiple) +
                                    " (the model works on pixels in groups of " + str(multiple) + "); try " + lower +
                                    str(below + multiple));
    }
    if (overlap % 2 != 0)
        throw std::invalid_argument(at + "overlap " + str(overlap) + " must be even (half of it lies on each side of " +
                                    "a tile's boundary); try " + str(overlap - 1) + " or " + str(overlap + 1));
    if (margin() % multiple != 0)
        throw std::invalid_argument(at + "halo + overlap / 2 = " + str(halo) + " + " + str(overlap / 2) + " = " +
                                    str(margin()) + " must be a multiple of " + str(multiple) +
                                    " so that tiles start on one; try halo " +
                                    str(round_up(margin(), multiple) - overlap / 2));
    // With stride >= overlap the two fades of a tile cannot meet, so that a pixel is shown by two tiles at most.
    const Index needed = std::max<Index>(round_up(2 * halo + 2 * overlap, multiple), 2 * margin() + multiple);
    if (tile < needed)
        throw std::invalid_argument(at + "tile " + str(tile) + " is too small for halo " + str(halo) +
                                    " on both sides and overlap " + str(overlap) + ": its stride, tile - 2 * halo - " +
                                    "overlap = " + str(stride()) + ", must be at least the overlap and at least 1; " +
                                    "try tile " + str(needed) + (overlap > 0 ? " or a smaller overlap" : ""));
}

Interval Axis::tiles(Interval pixels) const {
    const Index S = stride();
    const Index half = overlap / 2;
    // (k + 1) S + half > start, the least such k; k S - half < stop, the greatest such k.
    const Index first = (pixels.start - half) < 0 ? 0 : (pixels.start - half) / S;
    const Index last = (pixels.stop + half - 1) / S;
    return {first, std::min(last + 1, count())};
}

Interval Axis::source(Interval tile_range) const {
    return reflected_range({start(tile_range.start), start(tile_range.stop - 1) + tile}, size);
}

Share share(const Axis& axis, Index p) {
    const Index S = axis.stride() * axis.scale;
    const Index half = axis.overlap / 2 * axis.scale;
    const Index k = p / S;
    const Index r = p - k * S;
    if (r < half && k > 0) return {k - 1, k, half + r};
    if (r >= S - half && k + 1 < axis.count()) return {k, k + 1, r - (S - half)};
    return {k, -1, 0};
}

Index share_end(const Axis& axis, Index p) {
    const Index S = axis.stride() * axis.scale;
    const Index half = axis.overlap / 2 * axis.scale;
    const Index end = axis.size * axis.scale;
    const Share now = share(axis, p);
    if (now.later >= 0) return std::min(now.later * S + half, end);
    const Index next = now.tile + 1;
    return next < axis.count() ? std::min(next * S - half, end) : end;
}

void Grid::check() const {
    for (int a = 0; a < 3; ++a) axes[a].check(kAxisNames[a]);
}

void check_block(const Grid& grid, const Box& block) {
    for (int a = 0; a < 3; ++a)
        if (block.start[a] < 0 || block.start[a] >= block.stop[a] || block.stop[a] > grid.axes[a].size)
            throw std::invalid_argument(std::string(kAxisNames[a]) + ": block " + str(block.start[a]) + " to " +
                                        str(block.stop[a]) +
                                        " must hold at least one pixel and lie inside the image, 0 to " +
                                        str(grid.axes[a].size) + "; clip it to the image");
}

TileBlock tiles(const Grid& grid, const Box& block) {
    check_block(grid, block);
    TileBlock result{};
    for (int a = 0; a < 3; ++a) {
        const Interval range = grid.axes[a].tiles({block.start[a], block.stop[a]});
        const Interval source = grid.axes[a].source(range);
        result.first[a] = range.start;
        result.counts[a] = range.stop - range.start;
        result.source.start[a] = source.start;
        result.source.stop[a] = source.stop;
    }
    Index most = kMaxTiles;
    for (int a = 0; a < 3; ++a) most /= result.counts[a];
    if (most == 0)
        throw std::invalid_argument("block of " + str(block.size(0)) + " x " + str(block.size(1)) + " x " +
                                    str(block.size(2)) + " pixels needs more than " + str(kMaxTiles) +
                                    " tiles; take smaller blocks or larger tiles");
    return result;
}

std::vector<Index> starts(const Grid& grid, const TileBlock& block) {
    std::vector<Index> result;
    result.reserve(static_cast<std::size_t>(3 * block.size()));
    for (Index z = 0; z < block.counts[0]; ++z)
        for (Index y = 0; y < block.counts[1]; ++y)
            for (Index x = 0; x < block.counts[2]; ++x) {
                result.push_back(grid.axes[0].start(block.first[0] + z));
                result.push_back(grid.axes[1].start(block.first[1] + y));
                result.push_back(grid.axes[2].start(block.first[2] + x));
            }
    return result;
}

}  // namespace fluorsr
