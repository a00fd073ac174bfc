// Random grids and blocks for the property tests. The generator is seeded, so every run tests the same cases.
#pragma once

#include <random>
#include <string>

#include "grid.hpp"

namespace fluorsr::test {

class Random {
public:
    explicit Random(unsigned seed) : engine_(seed) {}

    // Any of lowest..highest.
    Index number(Index lowest, Index highest) { return std::uniform_int_distribution<Index>(lowest, highest)(engine_); }
    float real(float lowest, float highest) { return std::uniform_real_distribution<float>(lowest, highest)(engine_); }

    Axis axis(Index longest) {
        const Index multiple = number(0, 2) == 0 ? number(1, 8) : 1;
        const Index half = number(0, 6);
        Index halo = number(0, 6);
        halo += (multiple - (halo + half) % multiple) % multiple;
        Index stride = multiple * number(1, 12);
        while (stride < 2 * half) stride += multiple;
        const Index scale = Index{1} << number(0, 2);
        return Axis{number(1, longest), stride + 2 * (halo + half), halo, 2 * half, multiple, scale};
    }

    Grid grid() { return Grid{{axis(6), axis(40), axis(90)}}; }

    Box block(const Grid& grid) {
        Box box{};
        for (std::size_t a = 0; a < 3; ++a) {
            box.start[a] = number(0, grid.axes[a].size - 1);
            box.stop[a] = number(box.start[a] + 1, grid.axes[a].size);
        }
        return box;
    }

private:
    std::mt19937 engine_;
};

inline std::string describe(const Axis& a) {
    return "size " + std::to_string(a.size) + " tile " + std::to_string(a.tile) + " halo " + std::to_string(a.halo) +
           " overlap " + std::to_string(a.overlap) + " multiple " + std::to_string(a.multiple) + " scale " +
           std::to_string(a.scale);
}

}  // namespace fluorsr::test
