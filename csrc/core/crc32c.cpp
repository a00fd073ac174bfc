// The register holds a polynomial over GF(2), bit-reversed; reading a byte multiplies it by x^8 modulo the Castagnoli
// polynomial. The instruction takes 8 bytes every cycle but answers three cycles later, so three streams run at once:
//
//     data     |--- a ---|--- b ---|--- c ---|        crc(abc) = shift(shift(crc(a)) ^ crc(b)) ^ crc(c)
//
// where shift appends as many zero bytes as a stream is long. It is linear, hence four tables of 256 words.
#include "crc32c.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define FLUORSR_CRC_SSE42 1
#include <nmmintrin.h>
#else
#define FLUORSR_CRC_SSE42 0
#endif

namespace fluorsr {
namespace {

using Table = std::array<std::uint32_t, 256>;

constexpr std::uint32_t kPolynomial = 0x82F63B78u;  // bit-reversed 0x1EDC6F41

// tables[0] reads a byte; tables[k] reads a byte and then k zero bytes.
std::array<Table, 8> make_byte_tables() {
    std::array<Table, 8> tables{};
    for (std::uint32_t n = 0; n < 256; ++n) {
        std::uint32_t crc = n;
        for (int bit = 0; bit < 8; ++bit) crc = (crc & 1u) != 0 ? (crc >> 1) ^ kPolynomial : crc >> 1;
        tables[0][n] = crc;
    }
    for (std::size_t k = 1; k < 8; ++k)
        for (std::size_t n = 0; n < 256; ++n)
            tables[k][n] = (tables[k - 1][n] >> 8) ^ tables[0][tables[k - 1][n] & 0xFFu];
    return tables;
}

const std::array<Table, 8>& byte_tables() {
    static const std::array<Table, 8> tables = make_byte_tables();
    return tables;
}

// Works on the raw register, without the inversions at either end. Words are put together byte by byte, so the
// machine's byte order does not matter.
std::uint32_t run_by_table(std::uint32_t crc, const unsigned char* at, std::size_t size) {
    const auto& t = byte_tables();
    const auto word = [](const unsigned char* p) {
        return static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8 |
               static_cast<std::uint32_t>(p[2]) << 16 | static_cast<std::uint32_t>(p[3]) << 24;
    };
    for (; size >= 8; size -= 8, at += 8) {
        const std::uint32_t low = crc ^ word(at);
        const std::uint32_t high = word(at + 4);
        crc = t[7][low & 0xFFu] ^ t[6][low >> 8 & 0xFFu] ^ t[5][low >> 16 & 0xFFu] ^ t[4][low >> 24] ^
              t[3][high & 0xFFu] ^ t[2][high >> 8 & 0xFFu] ^ t[1][high >> 16 & 0xFFu] ^ t[0][high >> 24];
    }
    for (; size > 0; --size, ++at) crc = (crc >> 8) ^ t[0][(crc ^ *at) & 0xFFu];
    return crc;
}

#if FLUORSR_CRC_SSE42

constexpr std::size_t kLong = 8192;  // bytes of a stream: long ones cost fewest shifts, short ones serve the rest
constexpr std::size_t kShort = 256;

class Shift {
public:
    explicit Shift(std::size_t bytes) {
        const auto& step = byte_tables()[0];
        std::array<std::uint32_t, 32> bits{};  // what becomes of each bit of the register
        for (std::size_t b = 0; b < 32; ++b) {
            std::uint32_t crc = std::uint32_t{1} << b;
            for (std::size_t i = 0; i < bytes; ++i) crc = (crc >> 8) ^ step[crc & 0xFFu];
            bits[b] = crc;
        }
        for (std::size_t part = 0; part < 4; ++part)
            for (std::size_t n = 0; n < 256; ++n)
                for (std::size_t b = 0; b < 8; ++b)
                    if ((n >> b & 1u) != 0) tables_[part][n] ^= bits[8 * part + b];
    }

    std::uint64_t operator()(std::uint64_t crc) const {
        return tables_[0][crc & 0xFFu] ^ tables_[1][crc >> 8 & 0xFFu] ^ tables_[2][crc >> 16 & 0xFFu] ^
               tables_[3][crc >> 24 & 0xFFu];
    }

private:
    std::array<Table, 4> tables_{};
};

__attribute__((target("sse4.2"))) inline std::uint64_t read8(std::uint64_t crc, const unsigned char* at) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    return _mm_crc32_u64(crc, word);
}

__attribute__((target("sse4.2"))) std::uint64_t run_three(std::uint64_t crc, const unsigned char*& at,
                                                          std::size_t& size, std::size_t stream, const Shift& shift) {
    while (size >= 3 * stream) {
        std::uint64_t second = 0;
        std::uint64_t third = 0;
        for (std::size_t i = 0; i < stream; i += 8) {
            crc = read8(crc, at + i);
            second = read8(second, at + stream + i);
            third = read8(third, at + 2 * stream + i);
        }
        crc = shift(shift(crc) ^ second) ^ third;
        at += 3 * stream;
        size -= 3 * stream;
    }
    return crc;
}

__attribute__((target("sse4.2"))) std::uint32_t run_by_instruction(std::uint32_t start, const unsigned char* at,
                                                                   std::size_t size) {
    static const Shift long_shift(kLong);
    static const Shift short_shift(kShort);
    std::uint64_t crc = run_three(start, at, size, kLong, long_shift);
    crc = run_three(crc, at, size, kShort, short_shift);
    for (; size >= 8; size -= 8, at += 8) crc = read8(crc, at);
    std::uint32_t last = static_cast<std::uint32_t>(crc);
    for (; size > 0; --size, ++at) last = _mm_crc32_u8(last, *at);
    return last;
}

#endif

}  // namespace

bool crc32c_in_hardware() {
#if FLUORSR_CRC_SSE42
    static const bool found = __builtin_cpu_supports("sse4.2") != 0;
    return found;
#else
    return false;
#endif
}

std::uint32_t crc32c_portable(const void* data, std::size_t size, std::uint32_t value) {
    return ~run_by_table(~value, static_cast<const unsigned char*>(data), size);
}

std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t value) {
#if FLUORSR_CRC_SSE42
    if (crc32c_in_hardware()) return ~run_by_instruction(~value, static_cast<const unsigned char*>(data), size);
#endif
    return crc32c_portable(data, size, value);
}

}  // namespace fluorsr
