// The one place that knows LibTorch: a file of `fluorsr export --to torchscript`, and its forward.
#pragma once

#include "view.hpp"

#include <memory>
#include <string>

namespace fluorsr::host {

// What the exported program says of itself; see fluorsr/export/program.py.
struct Facts {
    Index frames, scale, halo, multiple, tile, overlap;
    double percent_low, percent_high;
    Index memory;      // frames over which the percentiles are averaged; 1: each frame's own; 0: low and high are fixed
    double low, high;  // counts that become 0 and 1
};

class Network {
public:
    // Throws std::runtime_error with what is wrong with the file or the device.
    Network(const std::string& path, const std::string& device);
    ~Network();

    const Facts& facts() const { return facts_; }

    // What a program of raw SIM frames measures of a whole image before its tiles are restored; null of other models.
    // frames [frames, height, width] in counts, of which low and low + span become 0 and 1.
    struct Stripes;
    bool measures() const;
    std::shared_ptr<const Stripes> measure(const float* frames, Index height, Index width, double low,
                                           double span) const;

    // One normalised tile [frames, height, width] whose first pixel is (y, x) of the image, into
    // [scale * height, scale * width]. Safe to call from several threads.
    void forward(const float* tile, Index height, Index width, Index y, Index x, Index seed, const Stripes* stripes,
                 float* out) const;

private:
    struct Program;
    std::unique_ptr<Program> program_;
    Facts facts_;
};

}  // namespace fluorsr::host
