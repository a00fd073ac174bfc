// Baseline TIFF, uncompressed: what cameras write and any program reads. Grey, 8 or 16 bit unsigned or 32-bit float, in
// strips, classic (32-bit offsets), either byte order, any number of pages of one size and type.
//
//     header -> directory (tag, type, count, value)... -> next directory -> ... -> 0
//
// Nothing a file says is believed before it was held against the file's size.
#pragma once

#include "restore.hpp"

#include <string>
#include <vector>

namespace fluorsr::host {

struct Stack {
    Pixel type = Pixel::u16;
    Index height = 0;
    Index width = 0;
    Index pages = 0;
    std::vector<char> data;  // [pages, height, width] in this machine's byte order
};

// Throws std::runtime_error with what is wrong, or what this reader does not read.
Stack read_tiff(const std::string& path);

// Throws std::runtime_error where the disk refuses or the stack exceeds classic TIFF's 4 GiB.
void write_tiff(const std::string& path, const Stack& stack);

}  // namespace fluorsr::host
