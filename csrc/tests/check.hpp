// Enough of a test framework: CHECK reports where it fails and goes on, main returns how many failed.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <string>

namespace fluorsr::test {

inline int& failures() {
    static int count = 0;
    return count;
}

inline void report(bool passed, const char* what, const char* file, int line, const std::string& context = "") {
    if (passed) return;
    if (++failures() <= 20) std::fprintf(stderr, "%s:%d: failed: %s  %s\n", file, line, what, context.c_str());
}

// The message of the std::invalid_argument that `body` throws; empty where it throws none.
template <class F>
std::string refusal(F&& body) {
    try {
        body();
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
    return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace fluorsr::test

#define CHECK(condition) fluorsr::test::report((condition), #condition, __FILE__, __LINE__)
#define CHECK_IN(condition, context) fluorsr::test::report((condition), #condition, __FILE__, __LINE__, (context))
