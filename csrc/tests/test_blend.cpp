// Blending: agreement is the identity, blocks, threads, strides and vector levels change no bit, values fit their type.
#include "blend.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "cases.hpp"
#include "check.hpp"
#include "parallel.hpp"

namespace fluorsr::test {
namespace {

Index3 out_shape(const Grid& grid, const Box& block) {
    return {block.size(0) * grid.axes[0].scale, block.size(1) * grid.axes[1].scale, block.size(2) * grid.axes[2].scale};
}

Box everything(const Grid& grid) { return {{0, 0, 0}, {grid.axes[0].size, grid.axes[1].size, grid.axes[2].size}}; }

// The restored tiles of a block; `value` is asked for each with its tile (z, y, x) and global output pixel (z, y, x).
struct Tiles {
    template <class F>
    Tiles(const Grid& grid, const Box& block, F&& value) {
        stack.range = tiles(grid, block);
        Index3 size{};
        for (std::size_t a = 0; a < 3; ++a) size[a] = grid.axes[a].tile * grid.axes[a].scale;
        stack.y_stride = size[2];
        stack.z_stride = size[1] * size[2];
        stack.tile_stride = size[0] * size[1] * size[2];
        const std::vector<Index> origins = starts(grid, stack.range);
        memory.reserve(static_cast<std::size_t>(stack.range.size() * stack.tile_stride));
        for (Index k = 0; k < stack.range.size(); ++k) {
            const Index* origin = &origins[static_cast<std::size_t>(3 * k)];
            for (Index z = 0; z < size[0]; ++z)
                for (Index y = 0; y < size[1]; ++y)
                    for (Index x = 0; x < size[2]; ++x)
                        memory.push_back(
                            value(Index3{origin[0], origin[1], origin[2]},
                                  Index3{origin[0] * grid.axes[0].scale + z, origin[1] * grid.axes[1].scale + y,
                                         origin[2] * grid.axes[2].scale + x}));
        }
        stack.data = memory.data();
    }

    std::vector<float> memory;
    TileStack stack{};
};

// A value that differs from pixel to pixel and hides where it comes from.
float scramble(Index a, Index b, Index c) {
    const auto mixed = static_cast<std::uint64_t>(a * 73856093 ^ b * 19349663 ^ c * 83492791) * 0x9E3779B97F4A7C15u;
    return static_cast<float>(mixed >> 40) * 1e-5f;
}

float of_pixel(const Index3&, const Index3& p) { return scramble(p[0], p[1], p[2]); }

float of_tile_and_pixel(const Index3& tile, const Index3& p) {
    return scramble(p[0] + 7 * tile[0], p[1] + 5 * tile[1], p[2] + 3 * tile[2]);
}

template <class T>
std::vector<T> run(const Grid& grid, const Tiles& input, const Box& block, const Options& options,
                   BlendCounts* counts = nullptr, const Denormalise& by = {1.0f, 0.0f}) {
    const Index3 shape = out_shape(grid, block);
    std::vector<T> memory(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
    const View<T> out{memory.data(), shape, {shape[1] * shape[2], shape[2], 1}};
    const BlendCounts counted = blend<T>(input.stack, grid, block, out, by, options);
    if (counts != nullptr) *counts = counted;
    return memory;
}

void agreement_is_the_identity(Random& random) {
    const Grid grid = random.grid();
    const Box block = random.block(grid);
    const std::vector<float> result = run<float>(grid, Tiles(grid, block, of_pixel), block, {});
    const Index3 shape = out_shape(grid, block);
    std::size_t i = 0;
    for (Index z = 0; z < shape[0]; ++z)
        for (Index y = 0; y < shape[1]; ++y)
            for (Index x = 0; x < shape[2]; ++x, ++i) {
                const Index3 p{block.start[0] * grid.axes[0].scale + z, block.start[1] * grid.axes[1].scale + y,
                               block.start[2] * grid.axes[2].scale + x};
                CHECK_IN(result[i] == of_pixel({}, p), describe(grid.axes[2]));
            }
}

// A block blended on its own equals the same part of the whole image, at every thread count and vector level.
template <class T>
void nothing_changes_a_bit(Random& random) {
    const Grid grid = random.grid();
    const Box all = everything(grid);
    const Box block = random.block(grid);
    const Denormalise by{1.7f, -20.0f};
    const std::vector<T> whole = run<T>(grid, Tiles(grid, all, of_tile_and_pixel), all, {}, nullptr, by);
    const Index3 size = out_shape(grid, all);
    const Index3 shape = out_shape(grid, block);
    const Tiles part(grid, block, of_tile_and_pixel);
    BlendCounts first;
    run<T>(grid, part, block, {}, &first, by);
    for (const Simd level : simd_levels())
        for (const int threads : {1, 2, 5}) {
            BlendCounts counts;
            const std::vector<T> result = run<T>(grid, part, block, {threads, level}, &counts, by);
            CHECK(counts.saturated == first.saturated && counts.nonfinite == 0);
            for (Index z = 0; z < shape[0]; ++z)
                for (Index y = 0; y < shape[1]; ++y) {
                    const Index at = ((block.start[0] * grid.axes[0].scale + z) * size[1] +
                                      block.start[1] * grid.axes[1].scale + y) *
                                         size[2] +
                                     block.start[2] * grid.axes[2].scale;
                    CHECK_IN(std::memcmp(&result[static_cast<std::size_t>((z * shape[1] + y) * shape[2])],
                                         &whole[static_cast<std::size_t>(at)],
                                         static_cast<std::size_t>(shape[2]) * sizeof(T)) == 0,
                             simd_name(level));
                }
        }
}

// Written backwards and with gaps, the output holds the same pixels and the gaps stay as they were.
void any_strides(Random& random) {
    const Grid grid = random.grid();
    const Box all = everything(grid);
    const Tiles input(grid, all, of_tile_and_pixel);
    const std::vector<std::uint16_t> packed = run<std::uint16_t>(grid, input, all, {});
    const Index3 shape = out_shape(grid, all);
    std::vector<std::uint16_t> memory(3 * packed.size(), 7);
    const Index3 stride{-3 * shape[1] * shape[2], 3 * shape[2], -3};
    std::uint16_t* first = memory.data() + (shape[0] - 1) * -stride[0] + 3 * (shape[2] - 1);
    const View<std::uint16_t> out{first, shape, stride};
    blend<std::uint16_t>(input.stack, grid, all, out, {1.0f, 0.0f}, {});
    std::size_t i = 0;
    for (Index z = 0; z < shape[0]; ++z)
        for (Index y = 0; y < shape[1]; ++y)
            for (Index x = 0; x < shape[2]; ++x, ++i) CHECK(out.row(z, y)[x * stride[2]] == packed[i]);
    for (std::size_t gap = 1; gap < memory.size(); gap += 3) CHECK(memory[gap] == 7 && memory[gap + 1] == 7);
}

void finishing() {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float inf = std::numeric_limits<float>::infinity();
    const std::vector<float> values{0.5f, 1.5f, 2.5f, -0.5f, -0.51f, 255.5f, 255.49f, nan, inf, -inf, 3e38f, -3e38f};
    const std::vector<int> wanted{0, 2, 2, 0, 0, 255, 255, 0, 255, 0, 255, 0};
    const Index n = static_cast<Index>(values.size());
    const Grid grid{{Axis{1, 1, 0, 0, 1, 1}, Axis{1, 1, 0, 0, 1, 1}, Axis{n, n, 0, 0, 1, 1}}};
    const Tiles input(grid, everything(grid),
                      [&](const Index3&, const Index3& p) { return values[static_cast<std::size_t>(p[2])]; });
    for (const Simd level : simd_levels()) {
        BlendCounts counts;
        const auto out = run<std::uint8_t>(grid, input, everything(grid), {1, level}, &counts);
        for (std::size_t i = 0; i < out.size(); ++i) CHECK_IN(out[i] == wanted[i], std::to_string(values[i]));
        CHECK(counts.saturated == 4 && counts.nonfinite == 3);
        run<float>(grid, input, everything(grid), {1, level}, &counts);
        CHECK(counts.saturated == 0 && counts.nonfinite == 3);
    }
}

void refusals() {
    const Grid grid{{Axis{1, 1, 0, 0, 1, 1}, Axis{20, 8, 0, 0, 1, 2}, Axis{20, 8, 0, 0, 1, 1}}};
    const Box part{{0, 0, 0}, {1, 8, 20}};
    const Tiles input(grid, part, of_pixel);
    std::vector<float> memory(800);
    const auto message = [&](const Box& block, const Index3& shape) {
        return refusal([&] {
            blend<float>(input.stack, grid, block, View<float>{memory.data(), shape, {800, 20, 1}}, {1.0f, 0.0f}, {});
        });
    };
    CHECK(message(part, {1, 16, 20}).empty());
    CHECK(contains(message(part, {1, 8, 20}), "y: out has 8 pixels; a block of 8 at scale 2 makes 16"));
    CHECK(contains(message(everything(grid), {1, 40, 20}), "y: the block needs tiles 0 to 3, but tiles 0 to 1"));
}

void threads() {
    for (const int count : {1, 2, 3, 8})
        for (const Index rows : {Index{0}, Index{1}, Index{2}, Index{7}, Index{100}}) {
            std::vector<int> seen(static_cast<std::size_t>(rows));
            parallel_for(rows, count, [&](int, Index begin, Index end) {
                for (Index r = begin; r < end; ++r) ++seen[static_cast<std::size_t>(r)];
            });
            for (const int times : seen) CHECK(times == 1);
        }
    const std::string message = refusal([] {
        parallel_for(10, 3, [](int part, Index, Index) {
            if (part == 2) throw std::invalid_argument("from a thread");
        });
    });
    CHECK(message == "from a thread");
}

}  // namespace
}  // namespace fluorsr::test

int main() {
    using namespace fluorsr::test;
    Random random(4);
    for (int round = 0; round < 6; ++round) {
        agreement_is_the_identity(random);
        nothing_changes_a_bit<float>(random);
        nothing_changes_a_bit<std::uint8_t>(random);
        nothing_changes_a_bit<std::uint16_t>(random);
        any_strides(random);
    }
    finishing();
    refusals();
    threads();
    return failures();
}
