// Baseline TIFF, uncompressed: what cameras write and any program reads. Grey, 8 or 16 bit unsigned or 32-bit float, in
// strips, classic (32-bit offsets), either byte order, any number of pages of one size and type.
//
//     header -> directory (tag, type, count, value)... -> next directory -> ... -> 0
//
// Nothing a file says is believed before it was held against the file's size.
#pragma once

#include "restore.hpp"

#include <fstream>
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

// Writes page by page, so that a long stream takes no memory; after each page the file is whole. Throws
// std::runtime_error where the disk refuses, or a page would exceed classic TIFF's 4 GiB.
class TiffWriter {
public:
    TiffWriter(const std::string& path, Pixel type, Index height, Index width);
    void write(const std::vector<char>& pixels);  // [height, width]

private:
    void put(Index value, int size);

    std::string path_;
    std::ofstream file_;
    Pixel type_;
    Index height_, width_;
    Index pointer_ = 4, end_ = 8;  // where the next page's place is to be noted, and that place
};

}  // namespace fluorsr::host
