// A frame of any size -> tiles -> network -> frame: csrc/core around LibTorch, as fluorsr-infer does it, so that the
// same file at the same tile gives the same bits on a CPU.
#pragma once

#include "grid.hpp"
#include "network.hpp"

#include <optional>
#include <utility>
#include <vector>

namespace fluorsr::host {

enum class Pixel { u8, u16, f32 };

Index pixel_bytes(Pixel type);

class Restorer {
public:
    // Throws std::runtime_error as Network does.
    Restorer(const std::string& path, const std::string& device)
        : network_(path, device), memory_(facts().memory), low_(facts().low), high_(facts().high) {}

    const Facts& facts() const { return network_.facts(); }

    // Each throws std::invalid_argument with the rule and the value. tile 0: the exported file's own.
    void set_tile(Index tile);
    void set_threads(int threads);
    void set_normalisation(double low, double high);
    void set_seed(Index seed) { seed_ = seed; }

    // frames [frames, height, width] -> restored [scale * height, scale * width], both C order, not overlapping
    void restore(const void* frames, Pixel type, Index height, Index width, void* restored);

private:
    template <class T>
    void restore_as(const T* frames, Index height, Index width, T* restored);
    template <class T>
    void fit(const T* pixels, Index n);
    Grid grid(Index height, Index width) const;

    Network network_;
    Index tile_ = 0;
    int threads_ = 1;
    Index memory_, seen_ = 0;  // as in fluorsr/export/program.py
    double low_, high_;
    Index seed_ = 0;
    std::vector<float> cut_, tiles_, whole_;  // kept between frames: fresh memory costs more than the arithmetic
};

// The counts at two percentiles of n pixels: the smallest value that at least that share of the finite pixels does not
// exceed, as fluorsr.normalize.fit has it; their extremes where both coincide; nothing where no pixel is finite.
template <class T>
std::optional<std::pair<double, double>> percentiles(const T* pixels, Index n, double low, double high);

}  // namespace fluorsr::host
