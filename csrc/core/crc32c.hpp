// CRC-32C (Castagnoli), the checksum of RFC 3720, of zarr's crc32c codec and of the run's record.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fluorsr {

// The checksum of what `value` already covers followed by `size` bytes; 0 covers nothing.
std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t value = 0);

// The same by table, on any machine; what `crc32c` uses where there is no instruction for it.
std::uint32_t crc32c_portable(const void* data, std::size_t size, std::uint32_t value = 0);

// True where `crc32c` uses the processor's instruction.
bool crc32c_in_hardware();

}  // namespace fluorsr
