#include "simd.hpp"

#include "kernels.hpp"

#include <stdexcept>

namespace fluorsr {

const std::vector<Simd>& simd_levels() {
    static const std::vector<Simd> levels = [] {
        std::vector<Simd> found{Simd::baseline};
#if FLUORSR_X86_DISPATCH
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx2")) {
            found.push_back(Simd::avx2);
            if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
                found.push_back(Simd::avx512);
        }
#endif
        return found;
    }();
    return levels;
}

const char* simd_name(Simd level) {
    switch (level) {
        case Simd::avx2: return "avx2";
        case Simd::avx512: return "avx512";
        case Simd::baseline: break;
    }
    return "baseline";
}

Simd simd_by_name(const std::string& name) {
    if (name.empty()) return best_simd();
    std::string known;
    for (const Simd level : simd_levels()) {
        if (name == simd_name(level)) return level;
        known += (known.empty() ? "" : ", ") + std::string(simd_name(level));
    }
    throw std::invalid_argument("simd level '" + name + "' is not one that this machine runs; use one of: " + known);
}

}  // namespace fluorsr
