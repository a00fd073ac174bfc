// Which vector instructions the inner loops use. The choice is made at run time, so that one build runs everywhere;
// every level gives the same bits (no fused multiply-add, no reordering), which the tests check.
#pragma once

#include <string>
#include <vector>

namespace fluorsr {

enum class Simd { baseline, avx2, avx512 };

// Levels this machine can run, slowest first; `baseline` is always there.
const std::vector<Simd>& simd_levels();

inline Simd best_simd() { return simd_levels().back(); }

const char* simd_name(Simd level);

// Throws std::invalid_argument for an unknown name or one that this machine cannot run; "" is the best level.
Simd simd_by_name(const std::string& name);

}  // namespace fluorsr
