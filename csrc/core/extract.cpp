#include "extract.hpp"

#include "grid.hpp"
#include "parallel.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace fluorsr {
namespace {

void check_source(const Index3& shape, const Index3& source_start, const Index3& image_shape, const Index* starts,
                  Index n, const Index3& tile) {
    const auto str = [](Index value) { return std::to_string(value); };
    for (int a = 0; a < 3; ++a) {
        const std::string at = std::string(kAxisNames[a]) + ": ";
        if (image_shape[a] < 1 || image_shape[a] > kMaxSize || tile[a] < 1 || tile[a] > kMaxTile)
            throw std::invalid_argument(at + "image size " + str(image_shape[a]) + " and tile " + str(tile[a]) +
                                        " must be at least 1 and at most " + str(kMaxSize) + " and " + str(kMaxTile));
        if (source_start[a] < 0 || shape[a] < 1 || shape[a] > image_shape[a] ||
            source_start[a] > image_shape[a] - shape[a])
            throw std::invalid_argument(at + "the source's " + str(shape[a]) + " pixels from " + str(source_start[a]) +
                                        " on must lie inside the image of " + str(image_shape[a]) +
                                        "; check source_start and image_shape");
        for (Index k = 0; k < n; ++k) {
            const Index start = starts[3 * k + a];
            if (start < -kMaxSize || start > 2 * kMaxSize)
                throw std::invalid_argument(at + "tile " + str(k) + " starts at " + str(start) +
                                            ", which no image reaches");
            const Interval shown = reflected_range({start, start + tile[a]}, image_shape[a]);
            if (shown.start < source_start[a] || shown.stop > source_start[a] + shape[a])
                throw std::invalid_argument(at + "tile " + str(k) + " shows image pixels " + str(shown.start) + " to " +
                                            str(shown.stop) + ", but the source holds " + str(source_start[a]) +
                                            " to " + str(source_start[a] + shape[a]) +
                                            "; read TileBlock.source from the image");
        }
    }
}

}  // namespace

template <class T>
void extract(const View<const T>& source, const Index3& source_start, const Index3& image_shape, const Index* starts,
             Index n, const Index3& tile, float* out, const Normalise& by, const Options& options) {
    check_source(source.shape, source_start, image_shape, starts, n, tile);
    const Convert<T> convert = kernels(options.simd).convert<T>();
    const Index width = tile[2];
    const Index image_width = image_shape[2];
    const Index rows = n * tile[0] * tile[1];

    const auto row = [&](Index r) {
        const Index* origin = starts + 3 * (r / (tile[0] * tile[1]));
        const Index z = reflect(origin[0] + r / tile[1] % tile[0], image_shape[0]) - source_start[0];
        const Index y = reflect(origin[1] + r % tile[1], image_shape[1]) - source_start[1];
        const T* pixels = source.row(z, y);
        float* target = out + r * width;
        const Index start = origin[2];
        const auto one_by_one = [&](Index begin, Index end) {
            for (Index i = begin; i < end; ++i) {
                const Index x = reflect(start + i, image_width) - source_start[2];
                target[i] = normalise(static_cast<float>(pixels[x * source.stride[2]]), by);
            }
        };
        const Index begin = std::clamp<Index>(-start, 0, width);
        const Index end = std::clamp<Index>(image_width - start, begin, width);
        one_by_one(0, begin);
        if (source.stride[2] == 1) {
            if (end > begin) {
                // Rows of a tile lie an image row apart, which the processor does not foresee by itself.
                const T* first = pixels + (start + begin - source_start[2]);
                prefetch(first, 2 * source.stride[1], end - begin);
                convert(first, target + begin, end - begin, by);
            }
        } else {
            one_by_one(begin, end);
        }
        one_by_one(end, width);
    };
    parallel_for(rows, useful_threads(options.threads, rows * width), [&](int, Index begin, Index end) {
        for (Index r = begin; r < end; ++r) row(r);
    });
}

template void extract(const View<const std::uint8_t>&, const Index3&, const Index3&, const Index*, Index, const Index3&,
                      float*, const Normalise&, const Options&);
template void extract(const View<const std::uint16_t>&, const Index3&, const Index3&, const Index*, Index,
                      const Index3&, float*, const Normalise&, const Options&);
template void extract(const View<const std::int16_t>&, const Index3&, const Index3&, const Index*, Index, const Index3&,
                      float*, const Normalise&, const Options&);
template void extract(const View<const float>&, const Index3&, const Index3&, const Index*, Index, const Index3&,
                      float*, const Normalise&, const Options&);

}  // namespace fluorsr
