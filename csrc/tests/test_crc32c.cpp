// The vectors of RFC 3720, appendix B.4, and the two implementations against each other.
#include "crc32c.hpp"

#include <string>
#include <vector>

#include "cases.hpp"
#include "check.hpp"

int main() {
    using namespace fluorsr;
    using namespace fluorsr::test;
    std::string up(32, '\0');
    for (std::size_t i = 0; i < up.size(); ++i) up[i] = static_cast<char>(i);
    const struct {
        std::string data;
        std::uint32_t sum;
    } vectors[] = {{"", 0u},
                   {std::string(32, '\0'), 0x8A9136AAu},
                   {std::string(32, '\xff'), 0x62A8AB43u},
                   {up, 0x46DD794Eu},
                   {std::string(up.rbegin(), up.rend()), 0x113FDB5Cu},
                   {"123456789", 0xE3069283u}};
    for (const auto& [data, sum] : vectors) {
        CHECK(crc32c(data.data(), data.size()) == sum);
        CHECK(crc32c_portable(data.data(), data.size()) == sum);
    }

    Random random(5);
    std::vector<unsigned char> data(100'000);
    for (auto& byte : data) byte = static_cast<unsigned char>(random.number(0, 255));
    for (int round = 0; round < 200; ++round) {
        const auto begin = static_cast<std::size_t>(random.number(0, 1000));
        const auto end = static_cast<std::size_t>(random.number(1000, static_cast<Index>(data.size())));
        const auto cut = static_cast<std::size_t>(random.number(static_cast<Index>(begin), static_cast<Index>(end)));
        const std::uint32_t whole = crc32c_portable(&data[begin], end - begin);
        CHECK(crc32c(&data[begin], end - begin) == whole);
        CHECK(crc32c(data.data() + cut, end - cut, crc32c(&data[begin], cut - begin)) == whole);
    }
    return failures();
}
