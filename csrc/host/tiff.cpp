#include "tiff.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <stdexcept>

namespace fluorsr::host {
namespace {

enum Tag : int {
    kWidth = 256,
    kHeight = 257,
    kBits = 258,
    kCompression = 259,
    kPhotometric = 262,
    kOffsets = 273,
    kSamples = 277,
    kRowsPerStrip = 278,
    kByteCounts = 279,
    kFormat = 339
};

class Reader {
public:
    Reader(const std::string& path, std::vector<char> bytes) : path_(path), bytes_(std::move(bytes)) {
        if (bytes_.size() < 8) fail("is too short for a TIFF");
        little_ = bytes_[0] == 'I';
        if (number(2, 2) != 42) fail("is not a classic TIFF (BigTIFF is not read here: use fluorsr-infer)");
    }

    Stack read() {
        Stack stack;
        std::set<Index> seen;
        for (Index at = number(4, 4); at != 0; at = page(at, stack))
            if (!seen.insert(at).second) fail("has page directories that go in a circle");
        if (stack.pages == 0) fail("holds no page");
        return stack;
    }

private:
    using Values = std::vector<Index>;

    [[noreturn]] void fail(const std::string& what) const { throw std::runtime_error(path_ + " " + what); }

    void check(Index at, Index size) const {
        const auto length = static_cast<Index>(bytes_.size());
        if (at < 0 || size < 0 || size > length || at > length - size) fail("is truncated or damaged; copy it again");
    }

    Index number(Index at, Index size) const {
        check(at, size);
        Index value = 0;
        for (Index i = 0; i < size; ++i) {
            const Index place = little_ ? size - 1 - i : i;
            value = value << 8 | static_cast<unsigned char>(bytes_[static_cast<std::size_t>(at + place)]);
        }
        return value;
    }

    std::map<int, Values> directory(Index at, Index& next) const {
        const Index entries = number(at, 2);
        std::map<int, Values> tags;
        for (Index i = 0; i < entries; ++i) {
            const Index entry = at + 2 + 12 * i;
            const Index kind = number(entry + 2, 2), count = number(entry + 4, 4);
            const Index size = kind == 3 ? 2 : kind == 4 ? 4 : 0;
            if (size == 0) continue;
            const Index where = count * size <= 4 ? entry + 8 : number(entry + 8, 4);
            check(where, count * size);
            Values values;
            for (Index k = 0; k < count; ++k) values.push_back(number(where + k * size, size));
            if (count > 0) tags[static_cast<int>(number(entry, 2))] = values;
        }
        next = number(at + 2 + 12 * entries, 4);
        return tags;
    }

    Index page(Index at, Stack& stack) {
        Index next = 0;
        const auto tags = directory(at, next);
        const auto value = [&](int tag, Index otherwise) {
            const auto found = tags.find(tag);
            return found == tags.end() ? otherwise : found->second.front();
        };
        const Index bits = value(kBits, 1), format = value(kFormat, 1);
        if (value(kCompression, 1) != 1) fail("is compressed, which is not read here: use fluorsr-infer");
        if (value(kSamples, 1) != 1) fail("has colour samples; split it into channels first");
        const bool is_float = format == 3 && bits == 32;
        if (!is_float && (format != 1 || (bits != 8 && bits != 16)))
            fail("has pixels of " + std::to_string(bits) + " bit; uint8, uint16 and float32 are read");
        const Pixel type = is_float ? Pixel::f32 : bits == 8 ? Pixel::u8 : Pixel::u16;
        const Index height = value(kHeight, 0), width = value(kWidth, 0), bytes = pixel_bytes(type);
        // all pages together: many may point to the same pixels
        const bool possible = height > 0 && width > 0 && width <= (Index{1} << 32) / height;
        check(0, possible ? (stack.pages + 1) * height * width * bytes : -1);
        if (stack.pages == 0) {
            stack.type = type, stack.height = height, stack.width = width;
        } else if (type != stack.type || height != stack.height || width != stack.width) {
            fail("has pages of different sizes or types");
        }
        const auto offsets = tags.find(kOffsets), counts = tags.find(kByteCounts);
        if (offsets == tags.end() || counts == tags.end() || offsets->second.size() != counts->second.size())
            fail("has no strips (tiles are not read here: use fluorsr-infer)");
        Index left = height * width * bytes;
        for (std::size_t i = 0; i < offsets->second.size() && left > 0; ++i) {
            const Index size = std::min(left, counts->second[i]);
            check(offsets->second[i], size);
            const char* from = bytes_.data() + offsets->second[i];
            stack.data.insert(stack.data.end(), from, from + size);
            left -= size;
        }
        if (left > 0) fail("is truncated or damaged; copy it again");
        if (!little_ && bytes > 1) {  // cameras and this machine are little-endian
            char* pixels = stack.data.data() + stack.pages * height * width * bytes;
            for (Index i = 0; i < height * width; ++i) std::reverse(pixels + i * bytes, pixels + (i + 1) * bytes);
        }
        ++stack.pages;
        return next;
    }

    std::string path_;
    std::vector<char> bytes_;
    bool little_ = true;
};

}  // namespace

Stack read_tiff(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot open " + path);
    std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    return Reader(path, std::move(bytes)).read();
}

TiffWriter::TiffWriter(const std::string& path, Pixel type, Index height, Index width)
    : path_(path), file_(path, std::ios::binary | std::ios::trunc), type_(type), height_(height), width_(width) {
    file_.write("II", 2);
    put(42, 2), put(0, 4);
    if (!file_) throw std::runtime_error("cannot write " + path_);
}

void TiffWriter::put(Index value, int size) {
    for (int i = 0; i < size; ++i) file_.put(static_cast<char>(value >> (8 * i) & 0xff));
}

void TiffWriter::write(const std::vector<char>& pixels) {
    constexpr Index kEntries = 9, kDirectory = 2 + 12 * kEntries + 4;
    const Index plane = height_ * width_ * pixel_bytes(type_), data = end_ + kDirectory;
    if (data + plane + 1 >= Index{1} << 32)
        throw std::runtime_error(path_ + " is full: a classic TIFF holds 4 GiB; name the output otherwise than .tif, " +
                                 "for raw frames");
    file_.seekp(end_);
    put(kEntries, 2);
    const auto entry = [&](int tag, Index value) { put(tag, 2), put(4, 2), put(1, 4), put(value, 4); };
    entry(kWidth, width_), entry(kHeight, height_), entry(kBits, 8 * pixel_bytes(type_)), entry(kCompression, 1);
    entry(kPhotometric, 1), entry(kOffsets, data), entry(kRowsPerStrip, height_), entry(kByteCounts, plane);
    entry(kFormat, type_ == Pixel::f32 ? 3 : 1);
    put(0, 4);
    file_.write(pixels.data(), plane);
    file_.seekp(pointer_);
    put(end_, 4);
    file_.flush();
    if (!file_) throw std::runtime_error("cannot write " + path_);
    pointer_ = data - 4;
    end_ = data + plane + plane % 2;  // directories begin at even places
}

}  // namespace fluorsr::host
