// Extraction against one pixel at a time, for every type, stride, thread count and vector level.
#include "extract.hpp"

#include <cstring>
#include <limits>
#include <vector>

#include "cases.hpp"
#include "check.hpp"

namespace fluorsr::test {
namespace {

template <class T>
T pixel(Random& random) {
    if constexpr (std::is_same_v<T, float>) {
        const Index kind = random.number(0, 30);
        if (kind == 0) return std::numeric_limits<float>::quiet_NaN();
        if (kind == 1) return -std::numeric_limits<float>::infinity();
        return random.real(-1000.0f, 1000.0f);
    } else {
        return static_cast<T>(random.number(std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
    }
}

template <class T>
void one_case(Random& random) {
    const Grid grid = random.grid();
    const TileBlock block = tiles(grid, random.block(grid));
    const std::vector<Index> origins = starts(grid, block);
    const Index n = block.size();
    const Index3 tile{grid.axes[0].tile, grid.axes[1].tile, grid.axes[2].tile};
    const Index3 image{grid.axes[0].size, grid.axes[1].size, grid.axes[2].size};
    const Index3 shape{block.source.size(0), block.source.size(1), block.source.size(2)};

    // The source is exactly what must be read, so that the sanitizer sees every step beyond it.
    const Index step = random.number(1, 2);
    std::vector<T> memory(static_cast<std::size_t>(shape[0] * shape[1] * shape[2] * step));
    for (T& value : memory) value = pixel<T>(random);
    const View<const T> source{memory.data(), shape, {shape[1] * shape[2] * step, shape[2] * step, step}};
    const Normalise by{12.5f, 0.0375f, -7.0f};

    const std::size_t size = static_cast<std::size_t>(n * tile[0] * tile[1] * tile[2]);
    std::vector<float> expected;
    expected.reserve(size);
    for (Index k = 0; k < n; ++k)
        for (Index z = 0; z < tile[0]; ++z)
            for (Index y = 0; y < tile[1]; ++y)
                for (Index x = 0; x < tile[2]; ++x) {
                    const Index* at = &origins[static_cast<std::size_t>(3 * k)];
                    const Index sz = reflect(at[0] + z, image[0]) - block.source.start[0];
                    const Index sy = reflect(at[1] + y, image[1]) - block.source.start[1];
                    const Index sx = reflect(at[2] + x, image[2]) - block.source.start[2];
                    expected.push_back(normalise(static_cast<float>(source.row(sz, sy)[sx * step]), by));
                }
    for (const Simd level : simd_levels())
        for (const int threads : {1, 3}) {
            std::vector<float> out(size);
            extract<T>(source, block.source.start, image, origins.data(), n, tile, out.data(), by, {threads, level});
            CHECK_IN(std::memcmp(out.data(), expected.data(), size * sizeof(float)) == 0, simd_name(level));
        }
}

void refusals() {
    const std::vector<float> memory(100);
    const View<const float> source{memory.data(), {1, 10, 10}, {100, 10, 1}};
    std::vector<float> out(16);
    const Index outside[3] = {0, 5, 0};
    const Index far_away[3] = {0, -4 * kMaxSize, 0};
    const auto run = [&](const Index* origin, const Index3& start, const Index3& image) {
        return refusal([&] { extract<float>(source, start, image, origin, 1, {1, 4, 4}, out.data(), {0, 1, 0}, {}); });
    };
    CHECK(run(outside, {0, 0, 0}, {1, 10, 10}).empty());
    CHECK(
        contains(run(outside, {0, 6, 0}, {1, 20, 10}), "y: tile 0 shows image pixels 5 to 9, but the source holds 6"));
    CHECK(contains(run(outside, {0, 6, 0}, {1, 10, 10}), "must lie inside the image of 10"));
    CHECK(contains(run(far_away, {0, 0, 0}, {1, 10, 10}), "which no image reaches"));
}

}  // namespace
}  // namespace fluorsr::test

int main() {
    using namespace fluorsr::test;
    Random random(3);
    for (int round = 0; round < 15; ++round) {
        one_case<std::uint8_t>(random);
        one_case<std::uint16_t>(random);
        one_case<std::int16_t>(random);
        one_case<float>(random);
    }
    refusals();
    return failures();
}
