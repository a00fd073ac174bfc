#include "restore.hpp"

#include "blend.hpp"
#include "extract.hpp"
#include "parallel.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace fluorsr::host {
namespace {

constexpr Index kMaxSide = Index{1} << 20;

Index rank(Index n, double percent) {
    return std::clamp<Index>(static_cast<Index>(std::ceil(percent / 100 * static_cast<double>(n))), 1, n);
}

// fluorsr.export.program.Program._axis: an axis no longer than the stride is one tile of its own.
Axis axis(Index size, const Facts& facts, Index tile, bool given) {
    Axis found{size, tile, facts.halo, facts.overlap, facts.multiple, facts.scale};
    if (!given && size <= found.stride()) {
        found.overlap = 0;
        found.tile = (size + facts.multiple - 1) / facts.multiple * facts.multiple + 2 * facts.halo;
    }
    return found;
}

}  // namespace

Index pixel_bytes(Pixel type) { return type == Pixel::u8 ? 1 : type == Pixel::u16 ? 2 : 4; }

void Restorer::set_tile(Index tile) {
    if (tile < 0) throw std::invalid_argument("tile " + std::to_string(tile) + " must be 0 (chosen) or positive");
    if (tile > 0) axis(1, facts(), tile, true).check("tile");
    tile_ = tile;
}

void Restorer::set_threads(int threads) {
    if (threads < 1 || threads > 1024)
        throw std::invalid_argument("threads " + std::to_string(threads) + " must be 1 to 1024");
    threads_ = threads;
}

void Restorer::set_normalisation(double low, double high) {
    if (!std::isfinite(low) || !std::isfinite(high) || high <= low)
        throw std::invalid_argument("normalisation needs finite low < high, not " + std::to_string(low) + " and " +
                                    std::to_string(high));
    memory_ = 0;
    low_ = low;
    high_ = high;
}

Grid Restorer::grid(Index height, Index width) const {
    const bool given = tile_ > 0;
    const Index tile = given ? tile_ : facts().tile;
    Grid found{{Axis{1, 1, 0, 0, 1, 1}, axis(height, facts(), tile, given), axis(width, facts(), tile, given)}};
    found.check();
    return found;
}

void Restorer::restore(const void* frames, Pixel type, Index height, Index width, void* restored) {
    if (height < 1 || width < 1 || height > kMaxSide || width > kMaxSide)
        throw std::invalid_argument("a frame of " + std::to_string(height) + " x " + std::to_string(width) +
                                    " pixels cannot be restored; sides are 1 to " + std::to_string(kMaxSide));
    switch (type) {
        case Pixel::u8:
            return restore_as(static_cast<const std::uint8_t*>(frames), height, width,
                              static_cast<std::uint8_t*>(restored));
        case Pixel::u16:
            return restore_as(static_cast<const std::uint16_t*>(frames), height, width,
                              static_cast<std::uint16_t*>(restored));
        case Pixel::f32:
            return restore_as(static_cast<const float*>(frames), height, width, static_cast<float*>(restored));
    }
    throw std::invalid_argument("the pixel type is none of uint8, uint16 and float32");
}

// fluorsr.export.program.Program._fit
template <class T>
void Restorer::fit(const T* pixels, Index n) {
    if (memory_ == 0) return;
    const auto found = percentiles(pixels, n, facts().percent_low, facts().percent_high);
    if (!found) {
        if (memory_ == 1 || seen_ == 0) low_ = high_ = 0;
        return;
    }
    seen_ = std::min(seen_ + 1, memory_);
    if (seen_ == 1) {
        low_ = found->first;
        high_ = found->second;
    } else {
        low_ += (found->first - low_) / static_cast<double>(seen_);
        high_ += (found->second - high_) / static_cast<double>(seen_);
    }
}

template <class T>
void Restorer::restore_as(const T* frames, Index height, Index width, T* restored) {
    const Facts& f = facts();
    const Index plane = height * width;
    fit(frames, f.frames * plane);
    const double span = high_ > low_ ? high_ - low_ : 1.0;
    const Normalise normalise{static_cast<float>(low_), static_cast<float>(1.0 / span), 0.0f};

    std::shared_ptr<const Network::Stripes> stripes;
    if (network_.measures()) {
        whole_.assign(frames, frames + f.frames * plane);
        stripes = network_.measure(whole_.data(), height, width, low_, span);
    }

    const Grid grid = this->grid(height, width);
    const Box block{{0, 0, 0}, {1, height, width}};
    const TileBlock range = tiles(grid, block);
    const std::vector<Index> origins = starts(grid, range);
    const Index3 tile{1, grid.axes[1].tile, grid.axes[2].tile};
    const Index3 shape{1, height, width};
    const Index pixels = tile[1] * tile[2];
    const int threads = static_cast<int>(std::min<Index>(threads_, range.size()));
    cut_.resize(static_cast<std::size_t>(threads * f.frames * pixels));
    tiles_.resize(static_cast<std::size_t>(range.size() * f.scale * f.scale * pixels));

    parallel_for(range.size(), threads, [&](int part, Index begin, Index end) {
        float* cut = cut_.data() + part * f.frames * pixels;
        for (Index k = begin; k < end; ++k) {
            for (Index frame = 0; frame < f.frames; ++frame) {
                const View<const T> source{frames + frame * plane, shape, {plane, width, 1}};
                extract<T>(source, {0, 0, 0}, shape, &origins[static_cast<std::size_t>(3 * k)], 1, tile,
                           cut + frame * pixels, normalise, Options{});
            }
            network_.forward(cut, tile[1], tile[2], origins[static_cast<std::size_t>(3 * k + 1)],
                             origins[static_cast<std::size_t>(3 * k + 2)], seed_, stripes.get(),
                             tiles_.data() + k * f.scale * f.scale * pixels);
        }
    });

    const Index wide = f.scale * tile[2];
    const TileStack stack{tiles_.data(), f.scale * f.scale * pixels, f.scale * f.scale * pixels, wide, range};
    const View<T> out{
        restored, {1, f.scale * height, f.scale * width}, {f.scale * f.scale * plane, f.scale * width, 1}};
    Options options;
    options.threads = threads_;
    blend<T>(stack, grid, block, out, Denormalise{static_cast<float>(span), static_cast<float>(low_)}, options);
}

template <class T>
std::optional<std::pair<double, double>> percentiles(const T* pixels, Index n, double low, double high) {
    if constexpr (std::is_integral_v<T>) {
        std::vector<Index> counts(std::size_t{std::numeric_limits<T>::max()} + 1);
        for (Index i = 0; i < n; ++i) ++counts[pixels[i]];
        const auto value = [&](Index wanted) {
            std::size_t at = 0;
            for (Index seen = counts[0]; seen < wanted; seen += counts[++at]) {
            }
            return static_cast<double>(at);
        };
        const std::pair found{value(rank(n, low)), value(rank(n, high))};
        return found.second > found.first ? found : std::pair{value(1), value(n)};
    } else {
        std::vector<float> finite;
        finite.reserve(static_cast<std::size_t>(n));
        std::copy_if(pixels, pixels + n, std::back_inserter(finite), [](float p) { return std::isfinite(p); });
        if (finite.empty()) return std::nullopt;
        const auto value = [&](Index wanted) {
            const auto at = finite.begin() + (wanted - 1);
            std::nth_element(finite.begin(), at, finite.end());
            return static_cast<double>(*at);
        };
        const auto count = static_cast<Index>(finite.size());
        const std::pair found{value(rank(count, low)), value(rank(count, high))};
        return found.second > found.first ? found : std::pair{value(1), value(count)};
    }
}

template std::optional<std::pair<double, double>> percentiles(const std::uint8_t*, Index, double, double);
template std::optional<std::pair<double, double>> percentiles(const std::uint16_t*, Index, double, double);
template std::optional<std::pair<double, double>> percentiles(const float*, Index, double, double);

}  // namespace fluorsr::host
