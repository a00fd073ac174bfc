#include "parallel.hpp"

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace fluorsr {

void parallel_for(Index rows, int threads, const std::function<void(int, Index, Index)>& body) {
    const int parts = static_cast<int>(std::clamp<Index>(rows, 1, std::max(threads, 1)));
    if (parts == 1) {
        body(0, 0, rows);
        return;
    }
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(parts));
    const auto work = [&](int part) {
        try {
            // rows * part cannot overflow: rows < 2^56 and part < 2^7 (see the limits in grid.hpp and useful_threads).
            body(part, rows * part / parts, rows * (part + 1) / parts);
        } catch (...) {
            errors[static_cast<std::size_t>(part)] = std::current_exception();
        }
    };
    std::vector<std::thread> pool;
    pool.reserve(static_cast<std::size_t>(parts - 1));
    for (int part = 1; part < parts; ++part) {
        try {
            pool.emplace_back(work, part);
        } catch (const std::system_error&) {
            work(part);
        }
    }
    work(0);
    for (auto& thread : pool) thread.join();
    for (const auto& error : errors)
        if (error) std::rethrow_exception(error);
}

int useful_threads(int threads, Index pixels) {
    constexpr Index kPixelsPerThread = Index{1} << 15;
    constexpr Index kMostThreads = 128;
    return static_cast<int>(
        std::clamp<Index>(pixels / kPixelsPerThread, 1, std::clamp<Index>(threads, 1, kMostThreads)));
}

}  // namespace fluorsr
