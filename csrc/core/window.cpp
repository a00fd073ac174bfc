#include "window.hpp"

#include <cmath>

namespace fluorsr {

std::vector<float> ramp(Index n) {
    constexpr double pi = 3.14159265358979323846;
    std::vector<float> weights(static_cast<std::size_t>(n));
    for (Index i = 0; i < n; ++i) {
        // The second half mirrors the first, so that rounding cannot break the sum.
        const Index mirrored = n - 1 - i;
        weights[static_cast<std::size_t>(i)] =
            i > mirrored ? 1.0f - weights[static_cast<std::size_t>(mirrored)]
                         : static_cast<float>(
                               (1.0 - std::cos(pi * (static_cast<double>(i) + 0.5) / static_cast<double>(n))) / 2.0);
    }
    return weights;
}

}  // namespace fluorsr
