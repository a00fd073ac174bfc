// fluorsr-host: restore a stream of frames with an exported model, without Python. See kHelp.
#include "stream.hpp"

#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <map>
#include <stdexcept>
#include <thread>

using namespace fluorsr::host;
using fluorsr::Index;

namespace {

constexpr const char* kHelp =
    R"(fluorsr-host MODEL --in WHERE --out WHERE [options]

Restores camera frames with a file of `fluorsr export MODEL --to torchscript`.
WHERE is a .tif, a raw file, - (standard input, output), or shm:/name (POSIX shared memory, see csrc/host/stream.hpp).

  --size HxW --type T   of raw frames: uint8, uint16 or float32
  --tile N              tile in input pixels, halo included; the file's own by default
  --threads N           tiles at a time; 1 by default. No thread count changes the result
  --normalise LOW,HIGH  counts that become 0 and 1; by default as the file was exported
  --device D            cpu, cuda or cuda:N
  --seed N              which sample a diffusion model draws
  --live                always the newest frame: those that came meanwhile are skipped and counted
)";

std::map<std::string, std::string> read_options(int argc, char** argv) {
    static const std::vector<std::string> known{"--in",      "--out",       "--size",   "--type", "--tile",
                                                "--threads", "--normalise", "--device", "--seed"};
    std::map<std::string, std::string> options;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--live" || word == "--help") {
            options[word] = "yes";
        } else if (word.rfind("--", 0) != 0 && options.count("MODEL") == 0) {
            options["MODEL"] = word;
        } else if (std::find(known.begin(), known.end(), word) == known.end()) {
            throw std::invalid_argument("there is no option " + word + "; see fluorsr-host --help");
        } else if (++i == argc) {
            throw std::invalid_argument(word + " needs a value");
        } else {
            options[word] = argv[i];
        }
    }
    return options;
}

Index whole(const std::string& name, const std::string& text) {
    std::size_t used = 0;
    Index value = 0;
    try {
        value = std::stoll(text, &used);
    } catch (const std::exception&) {
        used = 0;
    }
    if (used == 0 || used != text.size()) throw std::invalid_argument(name + " " + text + " is no whole number");
    return value;
}

Shape raw_shape(std::map<std::string, std::string>& options, Index frames) {
    Shape shape;
    shape.frames = frames;
    if (options.count("--size")) {
        const std::string& size = options["--size"];
        const std::size_t at = size.find('x');
        if (at == std::string::npos) throw std::invalid_argument("--size " + size + " must be HEIGHTxWIDTH");
        shape.height = whole("--size", size.substr(0, at));
        shape.width = whole("--size", size.substr(at + 1));
        const Index most = Index{1} << 20;
        if (shape.height < 1 || shape.width < 1 || shape.height > most || shape.width > most)
            throw std::invalid_argument("--size " + size + ": sides are 1 to " + std::to_string(most));
    }
    if (options.count("--type")) {
        static const std::map<std::string, Pixel> types{
            {"uint8", Pixel::u8}, {"uint16", Pixel::u16}, {"float32", Pixel::f32}};
        const auto found = types.find(options["--type"]);
        if (found == types.end()) throw std::invalid_argument("--type must be uint8, uint16 or float32");
        shape.type = found->second;
    }
    return shape;
}

double percentile(std::vector<double> values, double percent) {
    std::sort(values.begin(), values.end());
    const auto rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
    return values[static_cast<std::size_t>(std::max(1.0, rank)) - 1];
}

void run(std::map<std::string, std::string> options) {
    for (const char* needed : {"MODEL", "--in", "--out"})
        if (!options.count(needed)) throw std::invalid_argument(std::string(needed) + " is missing\n\n" + kHelp);
    const auto or_else = [&](const char* name, const char* value) {
        return options.count(name) ? options[name] : std::string(value);
    };
    Restorer restorer(options["MODEL"], or_else("--device", "cpu"));
    restorer.set_tile(whole("--tile", or_else("--tile", "0")));
    restorer.set_threads(static_cast<int>(whole("--threads", or_else("--threads", "1"))));
    restorer.set_seed(whole("--seed", or_else("--seed", "0")));
    if (options.count("--normalise")) {
        double low = 0, high = 0;
        char rest = 0;
        if (std::sscanf(options["--normalise"].c_str(), "%lf,%lf%c", &low, &high, &rest) != 2)
            throw std::invalid_argument("--normalise " + options["--normalise"] + " must be LOW,HIGH such as 100,2400");
        restorer.set_normalisation(low, high);
    }
    const auto source = open_source(options["--in"], raw_shape(options, restorer.facts().frames));
    const Shape shape = source->shape();
    const Index scale = restorer.facts().scale;
    const Shape wide{shape.type, 1, scale * shape.height, scale * shape.width};
    const auto sink = open_sink(options["--out"], wide);

    Mailbox mailbox(options.count("--live") != 0);
    std::thread reader([&] {
        try {
            for (Frame frame; source->next(frame);) mailbox.put(std::move(frame));
            mailbox.close();
        } catch (const std::exception& error) {
            mailbox.close(error.what());
        }
    });
    std::vector<char> restored(static_cast<std::size_t>(wide.bytes()));
    std::vector<double> latencies, restoring;  // from a frame's arrival, and from when it was taken up
    std::uint64_t expected = 0, skipped = 0;
    const double began = seconds();
    try {
        for (Frame frame; mailbox.take(frame);) {
            skipped += frame.number - expected;
            expected = frame.number + 1;
            const double taken = seconds();
            restorer.restore(frame.pixels.data(), shape.type, shape.height, shape.width, restored.data());
            sink->write(restored);
            latencies.push_back(1e3 * (seconds() - frame.arrived));
            restoring.push_back(1e3 * (seconds() - taken));
        }
    } catch (const std::exception& error) {
        // the reader may wait for a frame that never comes, so the process ends without it
        std::fprintf(stderr, "error: %s\n", error.what());
        std::_Exit(1);
    }
    reader.join();
    sink->close();
    if (!mailbox.fault().empty()) throw std::runtime_error(mailbox.fault());
    const double took = seconds() - began;
    if (latencies.empty()) throw std::runtime_error("no frame came");
    const auto in_words = [](const std::vector<double>& times) {
        char text[128];
        std::snprintf(text, sizeof text, "{\"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f, \"max\": %.2f}",
                      percentile(times, 50), percentile(times, 90), percentile(times, 99), percentile(times, 100));
        return std::string(text);
    };
    std::fprintf(stderr,
                 "{\"frames\": %zu, \"skipped\": %llu, \"seconds\": %.3f, \"frames_per_second\": %.3f, "
                 "\"latency_ms\": %s, \"restore_ms\": %s}\n",
                 latencies.size(), static_cast<unsigned long long>(skipped), took,
                 static_cast<double>(latencies.size()) / took, in_words(latencies).c_str(),
                 in_words(restoring).c_str());
}

}  // namespace

int main(int argc, char** argv) {
#ifdef M_MMAP_THRESHOLD
    // glibc would give every layer's buffer back to the kernel, and fault its pages in again for the next; and with a
    // heap for each thread, memory would grow with the stream, as what one thread frees is lost to the others.
    mallopt(M_MMAP_THRESHOLD, 0x7fffffff);
    mallopt(M_TRIM_THRESHOLD, 0x7fffffff);
    mallopt(M_ARENA_MAX, 1);
#endif
    try {
        const auto options = read_options(argc, argv);
        if (options.count("--help")) {
            std::fputs(kHelp, stdout);
            return 0;
        }
        run(options);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    }
}
