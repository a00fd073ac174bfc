#include "blend.hpp"

#include "parallel.hpp"
#include "window.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace fluorsr {
namespace {

constexpr Index kRun = 1024;  // pixels worked on at a time: a few buffers of this length stay in the L1 cache

// A stretch of output pixels along x that the same tile or pair of tiles shows.
struct Span {
    Index start;  // counted from the block's first output pixel
    Index stop;
    Index offset[2];       // of the span's first pixel in a row of tiles: of the tile, of the later tile
    const float* weights;  // of the later tile; null where the tile is alone
};

// The rows of tiles behind one output row: along z and y, whose they are and where they begin in the stack.
struct Rows {
    int count;  // 1 or 2
    Index offset[2];
    float weight;
};

class Blender {
public:
    Blender(const TileStack& tiles, const Grid& grid, const Box& block) : tiles_(tiles), grid_(grid) {
        for (int a = 0; a < 3; ++a) {
            const Axis& axis = grid.axes[a];
            ramps_[a] = ramp(axis.overlap * axis.scale);
            origin_[a] = block.start[a] * axis.scale;
        }
        const Index end = block.stop[2] * grid.axes[2].scale;
        for (Index p = origin_[2]; p < end;) {
            const Index stop = std::min(share_end(grid.axes[2], p), end);
            const Share who = share(grid.axes[2], p);
            Span span{p - origin_[2], stop - origin_[2], {place(2, who.tile, p), 0}, nullptr};
            if (who.later >= 0) {
                span.offset[1] = place(2, who.later, p);
                span.weights = ramps_[2].data() + who.weight;
            }
            spans_.push_back(span);
            p = stop;
        }
    }

    const std::vector<Span>& spans() const { return spans_; }

    // Along axis a (0 or 1), the rows behind the block's output row i.
    Rows rows(int a, Index i) const {
        const Share who = share(grid_.axes[a], origin_[a] + i);
        Rows result{1, {place(a, who.tile, origin_[a] + i), 0}, 0.0f};
        if (who.later >= 0) {
            result.count = 2;
            result.offset[1] = place(a, who.later, origin_[a] + i);
            result.weight = ramps_[a][static_cast<std::size_t>(who.weight)];
        }
        return result;
    }

private:
    // Offset in the stack of global output pixel p as tile k shows it.
    Index place(int a, Index k, Index p) const {
        const Axis& axis = grid_.axes[a];
        const Index strides[3] = {tiles_.z_stride, tiles_.y_stride, 1};
        const Index inner[3] = {tiles_.range.counts[1] * tiles_.range.counts[2], tiles_.range.counts[2], 1};
        return (k - tiles_.range.first[a]) * inner[a] * tiles_.tile_stride +
               (p - axis.start(k) * axis.scale) * strides[a];
    }

    const TileStack& tiles_;
    const Grid& grid_;
    Index3 origin_{};
    std::array<std::vector<float>, 3> ramps_;
    std::vector<Span> spans_;
};

struct Scratch {
    float first[kRun];
    float second[kRun];
    float mixed[kRun];
};

// n pixels from `at` on, faded along y and z. Returns where they are: in the stack itself where one tile shows them.
const float* gather(const float* at, const Rows& z, const Rows& y, Index y_stride, Index n, const Kernels& k,
                    Scratch& scratch) {
    const auto along_y = [&](const float* plane, float* buffer) -> const float* {
        // By the time the next output row is made, its sources have left the cache for those of other tiles.
        prefetch(plane + y.offset[0], y_stride, n);
        if (y.count == 1) return plane + y.offset[0];
        k.mix(plane + y.offset[0], plane + y.offset[1], y.weight, buffer, n);
        return buffer;
    };
    const float* first = along_y(at + z.offset[0], scratch.first);
    if (z.count == 1) return first;
    const float* second = along_y(at + z.offset[1], scratch.second);
    k.mix(first, second, z.weight, scratch.mixed, n);
    return scratch.mixed;
}

void check_shapes(const TileStack& tiles, const Grid& grid, const Box& block, const Index3& out) {
    const auto str = [](Index value) { return std::to_string(value); };
    check_block(grid, block);
    for (int a = 0; a < 3; ++a) {
        const Axis& axis = grid.axes[a];
        const std::string at = std::string(kAxisNames[a]) + ": ";
        const Index wanted = block.size(a) * axis.scale;
        if (out[a] != wanted)
            throw std::invalid_argument(at + "out has " + str(out[a]) + " pixels; a block of " + str(block.size(a)) +
                                        " at scale " + str(axis.scale) + " makes " + str(wanted));
        const Interval needed = axis.tiles({block.start[a], block.stop[a]});
        const Index first = tiles.range.first[a];
        const Index stop = first + tiles.range.counts[a];
        if (needed.start < first || needed.stop > stop)
            throw std::invalid_argument(at + "the block needs tiles " + str(needed.start) + " to " + str(needed.stop) +
                                        ", but tiles " + str(first) + " to " + str(stop) +
                                        " are given; take them from grid.tiles(block)");
    }
}

}  // namespace

template <class T>
BlendCounts blend(const TileStack& tiles, const Grid& grid, const Box& block, const View<T>& out, const Denormalise& by,
                  const Options& options) {
    check_shapes(tiles, grid, block, out.shape);
    const Blender blender(tiles, grid, block);
    const Kernels& k = kernels(options.simd);
    const Finish<T> finish = k.finish<T>();
    const bool contiguous = out.stride[2] == 1;

    const auto row = [&](Index z, Index y, BlendCounts& counts) {
        const Rows z_rows = blender.rows(0, z);
        const Rows y_rows = blender.rows(1, y);
        T* target = out.row(z, y);
        Scratch one;
        Scratch two;
        float faded[kRun];
        T finished[kRun];
        for (const Span& span : blender.spans()) {
            for (Index begin = span.start; begin < span.stop; begin += kRun) {
                const Index n = std::min(kRun, span.stop - begin);
                const Index in = begin - span.start;
                const float* values =
                    gather(tiles.data + span.offset[0] + in, z_rows, y_rows, tiles.y_stride, n, k, one);
                if (span.weights != nullptr) {
                    const float* later =
                        gather(tiles.data + span.offset[1] + in, z_rows, y_rows, tiles.y_stride, n, k, two);
                    k.fade(values, later, span.weights + in, faded, n);
                    values = faded;
                }
                if (contiguous) {
                    finish(values, target + begin, n, by, counts);
                } else {
                    finish(values, finished, n, by, counts);
                    for (Index i = 0; i < n; ++i) target[(begin + i) * out.stride[2]] = finished[i];
                }
            }
        }
    };
    const Index rows = out.shape[0] * out.shape[1];
    const int threads = useful_threads(options.threads, rows * out.shape[2]);
    std::vector<BlendCounts> parts(static_cast<std::size_t>(threads));
    parallel_for(rows, threads, [&](int part, Index begin, Index end) {
        BlendCounts counts;
        for (Index r = begin; r < end; ++r) row(r / out.shape[1], r % out.shape[1], counts);
        parts[static_cast<std::size_t>(part)] = counts;
    });
    BlendCounts total;
    for (const BlendCounts& part : parts) {
        total.saturated += part.saturated;
        total.nonfinite += part.nonfinite;
    }
    return total;
}

template BlendCounts blend(const TileStack&, const Grid&, const Box&, const View<std::uint8_t>&, const Denormalise&,
                           const Options&);
template BlendCounts blend(const TileStack&, const Grid&, const Box&, const View<std::uint16_t>&, const Denormalise&,
                           const Options&);
template BlendCounts blend(const TileStack&, const Grid&, const Box&, const View<float>&, const Denormalise&,
                           const Options&);

}  // namespace fluorsr
