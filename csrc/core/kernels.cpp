// The loops are written once as plain C++ that compilers vectorise, inlined into one function per level.
#include "kernels.hpp"

#include <algorithm>
#include <cstring>

#if defined(__GNUC__) || defined(__clang__)
#define FLUORSR_INLINE inline __attribute__((always_inline))
#define FLUORSR_RESTRICT __restrict__
#else
#define FLUORSR_INLINE inline
#define FLUORSR_RESTRICT
#endif

namespace fluorsr {
namespace {

template <class T>
FLUORSR_INLINE void convert_loop(const T* FLUORSR_RESTRICT source, float* FLUORSR_RESTRICT out, Index n,
                                 const Normalise by) {
    for (Index i = 0; i < n; ++i) {
        const float value = (static_cast<float>(source[i]) - by.subtract) * by.multiply;
        out[i] = value - value == 0.0f ? value : by.fill;
    }
}

FLUORSR_INLINE void mix_loop(const float* a, const float* b, float weight, float* FLUORSR_RESTRICT out, Index n) {
    for (Index i = 0; i < n; ++i) out[i] = a[i] + weight * (b[i] - a[i]);
}

FLUORSR_INLINE void fade_loop(const float* a, const float* b, const float* weights, float* FLUORSR_RESTRICT out,
                              Index n) {
    for (Index i = 0; i < n; ++i) out[i] = a[i] + weights[i] * (b[i] - a[i]);
}

FLUORSR_INLINE std::int32_t to_bits(float value) {
    std::int32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

FLUORSR_INLINE float from_bits(std::int32_t bits) {
    float value = 0.0f;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T>
FLUORSR_INLINE void finish_loop(const float* FLUORSR_RESTRICT source, T* FLUORSR_RESTRICT out, Index n,
                                const Denormalise by, BlendCounts& counts) {
    constexpr Index kRun = Index{1} << 20;  // 32-bit counters vectorise best and cannot overflow within a run
    for (Index begin = 0; begin < n; begin += kRun) {
        const Index end = begin + kRun < n ? begin + kRun : n;
        [[maybe_unused]] std::uint32_t inside = 0;
        std::uint32_t nonfinite = 0;
        for (Index i = begin; i < end; ++i) {
            const float value = source[i] * by.multiply + by.add;
            nonfinite += value - value == 0.0f ? 0u : 1u;
            if constexpr (std::is_same_v<T, float>) {
                out[i] = value;
            } else {
                constexpr float highest = static_cast<float>(static_cast<T>(-1));
                // What rounds into the type; 255.5 and 65535.5 would round half to even and leave it.
                inside +=
                    static_cast<std::uint32_t>(value >= -0.5f) & static_cast<std::uint32_t>(value < highest + 0.5f);
                // Floats that are not negative are ordered as their bits are, and whole numbers have minima and maxima
                // that compilers vectorise well. A negative float has negative bits; NaN is masked out.
                std::int32_t bits = to_bits(value) & -static_cast<std::int32_t>(value == value);
                bits = std::max(bits, std::int32_t{0});
                bits = std::min(bits, to_bits(highest));
                // 1.5 * 2^23 pushes the fraction out of the mantissa, rounding half to even; what is left is the
                // number.
                constexpr float rounder = 12582912.0f;
                out[i] = static_cast<T>(to_bits(from_bits(bits) + rounder) - to_bits(rounder));
            }
        }
        counts.nonfinite += nonfinite;
        // Every value that is not finite lies outside an integer's range, too.
        if constexpr (!std::is_same_v<T, float>)
            counts.saturated += static_cast<std::uint32_t>(end - begin) - inside - nonfinite;
    }
}

// clang-format off
#define FLUORSR_LEVEL(level, attribute)                                                                               \
    namespace level {                                                                                                 \
    template <class T>                                                                                                \
    attribute void convert(const T* source, float* out, Index n, const Normalise& by) {                               \
        convert_loop(source, out, n, by);                                                                             \
    }                                                                                                                 \
    attribute void mix(const float* a, const float* b, float weight, float* out, Index n) {                           \
        mix_loop(a, b, weight, out, n);                                                                               \
    }                                                                                                                 \
    attribute void fade(const float* a, const float* b, const float* weights, float* out, Index n) {                  \
        fade_loop(a, b, weights, out, n);                                                                             \
    }                                                                                                                 \
    template <class T>                                                                                                \
    attribute void finish(const float* source, T* out, Index n, const Denormalise& by, BlendCounts& counts) {         \
        finish_loop(source, out, n, by, counts);                                                                      \
    }                                                                                                                 \
    constexpr Kernels table{convert<std::uint8_t>, convert<std::uint16_t>, convert<std::int16_t>, convert<float>,     \
                            mix, fade, finish<std::uint8_t>, finish<std::uint16_t>, finish<float>};                   \
    }
// clang-format on

FLUORSR_LEVEL(plain, )
#if FLUORSR_X86_DISPATCH
FLUORSR_LEVEL(with_avx2, __attribute__((target("avx2"))))
FLUORSR_LEVEL(with_avx512, __attribute__((target("avx2,avx512f,avx512bw,avx512dq,avx512vl"))))
#endif

}  // namespace

const Kernels& kernels(Simd level) {
#if FLUORSR_X86_DISPATCH
    if (level == Simd::avx512) return with_avx512::table;
    if (level == Simd::avx2) return with_avx2::table;
#endif
    (void)level;
    return plain::table;
}

}  // namespace fluorsr
