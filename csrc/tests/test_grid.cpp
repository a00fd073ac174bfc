// Geometry against a brute-force reading of its definition.
#include "grid.hpp"

#include <algorithm>

#include "cases.hpp"
#include "check.hpp"
#include "window.hpp"

namespace fluorsr::test {
namespace {

// Walks from 0, turning at the image's ends, as one would on paper.
Index walk(Index i, Index n) {
    if (n == 1) return 0;
    Index at = 0;
    Index step = i < 0 ? -1 : 1;
    for (Index left = std::abs(i); left > 0; --left) {
        if (at + step < 0 || at + step >= n) step = -step;
        at += step;
    }
    return at;
}

void reflection() {
    for (Index n = 1; n < 9; ++n)
        for (Index i = -40; i < 40; ++i) {
            CHECK_IN(reflect(i, n) == walk(i, n), std::to_string(i) + " of " + std::to_string(n));
            for (Index stop = i + 1; stop < i + 25; ++stop) {
                Index low = n;
                Index high = -1;
                for (Index p = i; p < stop; ++p) {
                    low = std::min(low, walk(p, n));
                    high = std::max(high, walk(p, n));
                }
                const Interval found = reflected_range({i, stop}, n);
                CHECK(found.start == low && found.stop == high + 1);
            }
        }
    CHECK(reflect(-kMaxSize, kMaxSize) == kMaxSize - 2);
}

void needed_tiles() {
    Random random(1);
    for (int round = 0; round < 300; ++round) {
        const Axis axis = random.axis(200);
        axis.check("x");
        const Index start = random.number(0, axis.size - 1);
        const Index stop = random.number(start + 1, axis.size);
        const Interval found = axis.tiles({start, stop});
        const Index S = axis.stride();
        const Index half = axis.overlap / 2;
        for (Index k = 0; k < axis.count(); ++k) {
            const bool wanted = k * S - half < stop && (k + 1) * S + half > start;
            CHECK_IN(wanted == (k >= found.start && k < found.stop), describe(axis));
            CHECK(axis.start(k) % axis.multiple == 0);
        }
    }
}

// Every output pixel is shown by one tile or by two neighbours, within what their halos leave, and the pieces that
// share_end cuts are alike throughout.
void shares() {
    Random random(2);
    for (int round = 0; round < 200; ++round) {
        const Axis axis = random.axis(150);
        const Index end = axis.size * axis.scale;
        const Index fade = axis.overlap * axis.scale;
        for (Index p = 0; p < end;) {
            const Share first = share(axis, p);
            const Index stop = share_end(axis, p);
            CHECK_IN(stop > p && stop <= end, describe(axis));
            for (Index q = p; q < stop; ++q) {
                const Share at = share(axis, q);
                CHECK_IN(at.tile == first.tile && at.later == first.later, describe(axis));
                for (const Index k : {at.tile, at.later}) {
                    if (k < 0) continue;
                    const Index in = q - axis.start(k) * axis.scale;
                    CHECK(k < axis.count());
                    CHECK(in >= axis.halo * axis.scale && in < (axis.tile - axis.halo) * axis.scale);
                }
                if (at.later >= 0) {
                    CHECK(at.later == at.tile + 1 && at.weight == first.weight + (q - p) && at.weight < fade);
                    const Index centre = at.later * axis.stride() * axis.scale;
                    CHECK(at.weight == q - (centre - fade / 2));
                }
            }
            p = stop;
            CHECK(stop == end || share(axis, stop).tile != first.tile || share(axis, stop).later != first.later);
        }
    }
}

void ramps() {
    for (const Index n : {2, 4, 6, 64, 254, 4096}) {
        const auto weights = ramp(n);
        for (Index i = 0; i < n; ++i) {
            const float w = weights[static_cast<std::size_t>(i)];
            CHECK(w > 0.0f && w < 1.0f && w + weights[static_cast<std::size_t>(n - 1 - i)] == 1.0f);
            CHECK(i == 0 || w > weights[static_cast<std::size_t>(i - 1)]);
        }
    }
    CHECK(ramp(0).empty());
}

void refusals() {
    const auto message = [](Axis axis) { return refusal([&] { axis.check("y"); }); };
    CHECK(contains(message({700, 100, 0, 0, 16, 1}), "y: tile 100 must be a multiple of 16"));
    CHECK(contains(message({700, 100, 0, 0, 16, 1}), "try 96 or 112"));
    CHECK(contains(message({700, 64, 0, 3, 1, 1}), "must be even"));
    CHECK(contains(message({700, 64, 3, 4, 4, 1}), "try halo 6"));
    CHECK(contains(message({700, 64, 32, 0, 1, 1}), "try tile 65"));
    CHECK(contains(message({kMaxSize + 1, 64, 0, 0, 1, 1}), "image size"));
    CHECK(message({kMaxSize, kMaxTile, 0, 0, 1, kMaxScale}).empty());
    const Grid grid{{Axis{1, 1, 0, 0, 1, 1}, Axis{40, 8, 0, 0, 1, 1}, Axis{40, 8, 0, 0, 1, 1}}};
    CHECK(contains(refusal([&] { tiles(grid, {{0, 0, 0}, {1, 41, 40}}); }), "inside the image"));
    CHECK(contains(refusal([&] { tiles(grid, {{0, 5, 0}, {1, 5, 40}}); }), "at least one pixel"));
}

}  // namespace
}  // namespace fluorsr::test

int main() {
    using namespace fluorsr::test;
    reflection();
    needed_tiles();
    shares();
    ramps();
    refusals();
    return failures();
}
