// Splits rows over threads. Each thread owns whole rows and writes nothing else, so a result is the same bit for bit
// at any thread count. Threads live for one call: nothing to configure, nothing that a fork could break.
#pragma once

#include "view.hpp"

#include <functional>

namespace fluorsr {

// Calls body(part, begin, end) for the contiguous parts of [0, rows), part < threads, each on a thread of its own (the
// first on the caller's). Rethrows the first exception. Where no thread can be started the caller does the work.
void parallel_for(Index rows, int threads, const std::function<void(int part, Index begin, Index end)>& body);

// Threads worth starting for so many pixels: starting one costs as much as converting some ten thousand.
int useful_threads(int threads, Index pixels);

}  // namespace fluorsr
