#include "stream.hpp"

#include "tiff.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace fluorsr::host {
namespace {

constexpr char kMagic[9] = "FSRSHM01";
constexpr std::size_t kHeader = 64;

struct Header {
    char magic[8];
    std::uint32_t type, frames, height, width;
    std::atomic<std::uint64_t> sequence, closed;
};
static_assert(sizeof(Header) <= kHeader && std::atomic<std::uint64_t>::is_always_lock_free);

std::runtime_error fault(const std::string& what) { return std::runtime_error(what + ": " + std::strerror(errno)); }

class RawSource : public Source {
public:
    RawSource(const std::string& path, const Shape& shape) : shape_(shape), path_(path) {
        if (shape.height < 1 || shape.width < 1)
            throw std::runtime_error("raw frames need their size: --size HEIGHTxWIDTH --type uint8, uint16 or float32");
        file_ = path == "-" ? stdin : std::fopen(path.c_str(), "rb");
        if (!file_) throw fault("cannot open " + path);
    }
    ~RawSource() override {
        if (file_ != stdin) std::fclose(file_);
    }
    Shape shape() const override { return shape_; }
    bool next(Frame& frame) override {
        frame.pixels.resize(static_cast<std::size_t>(shape_.bytes()));
        const std::size_t found = std::fread(frame.pixels.data(), 1, frame.pixels.size(), file_);
        if (found == 0 && !std::ferror(file_)) return false;
        if (found < frame.pixels.size()) throw std::runtime_error(path_ + " ends in the middle of a frame");
        frame.number = number_++;
        frame.arrived = seconds();
        return true;
    }

private:
    Shape shape_;
    std::string path_;
    std::FILE* file_;
    std::uint64_t number_ = 0;
};

class TiffSource : public Source {
public:
    TiffSource(const std::string& path, Index frames) : stack_(read_tiff(path)), frames_(frames) {
        if (stack_.pages % frames != 0)
            throw std::runtime_error(path + " has " + std::to_string(stack_.pages) +
                                     " pages, no whole number of series of " + std::to_string(frames));
    }
    Shape shape() const override { return {stack_.type, frames_, stack_.height, stack_.width}; }
    bool next(Frame& frame) override {
        if ((number_ + 1) * frames_ > stack_.pages) return false;
        const Index size = shape().bytes();
        const char* from = stack_.data.data() + number_ * size;
        frame.pixels.assign(from, from + size);
        frame.number = static_cast<std::uint64_t>(number_++);
        frame.arrived = seconds();
        return true;
    }

private:
    Stack stack_;
    Index frames_, number_ = 0;
};

// A mapped shared memory object, and its removal from the process.
class Mapping {
public:
    Mapping(const std::string& name, std::size_t create) : name_(name) {
        const int file = shm_open(name.c_str(), create ? O_CREAT | O_RDWR : O_RDWR, 0600);
        if (file < 0) throw fault("cannot open the shared memory " + name);
        struct stat facts{};
        if ((create && ftruncate(file, static_cast<off_t>(create)) != 0) || fstat(file, &facts) != 0) {
            const auto error = fault("cannot use the shared memory " + name);
            ::close(file);
            throw error;
        }
        size_ = static_cast<std::size_t>(facts.st_size);
        memory_ = size_ < kHeader ? MAP_FAILED : mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        ::close(file);
        if (memory_ == MAP_FAILED)
            throw std::runtime_error("the shared memory " + name + " is too small or not mappable");
    }
    ~Mapping() { munmap(memory_, size_); }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;

    Header& header() const { return *static_cast<Header*>(memory_); }
    char* pixels() const { return static_cast<char*>(memory_) + kHeader; }
    std::size_t room() const { return size_ - kHeader; }

private:
    std::string name_;
    std::size_t size_ = 0;
    void* memory_ = MAP_FAILED;
};

class SharedSource : public Source {
public:
    SharedSource(const std::string& name, Index frames) : memory_(name, 0) {
        const Header& header = memory_.header();
        if (std::memcmp(header.magic, kMagic, 8) != 0 || header.type > 2)
            throw std::runtime_error(name + " does not begin as shared memory of frames does (" + kMagic + ")");
        shape_ = {static_cast<Pixel>(header.type), header.frames, header.height, header.width};
        if (shape_.frames != frames)
            throw std::runtime_error(name + " holds " + std::to_string(shape_.frames) +
                                     " frames an image; the model takes " + std::to_string(frames));
        if (shape_.height < 1 || shape_.width < 1 || shape_.height > 1 << 20 || shape_.width > 1 << 20 ||
            static_cast<std::size_t>(shape_.bytes()) > memory_.room())
            throw std::runtime_error(name + " is smaller than the frame that it says it holds");
    }
    Shape shape() const override { return shape_; }
    bool next(Frame& frame) override {
        const Header& header = memory_.header();
        frame.pixels.resize(static_cast<std::size_t>(shape_.bytes()));
        for (;;) {
            const bool closed = header.closed.load(std::memory_order_acquire) != 0;
            const std::uint64_t before = header.sequence.load(std::memory_order_acquire);
            if (before % 2 == 0 && before > seen_) {
                std::memcpy(frame.pixels.data(), memory_.pixels(), frame.pixels.size());
                std::atomic_thread_fence(std::memory_order_acquire);
                if (header.sequence.load(std::memory_order_relaxed) != before) continue;  // it changed under our hands
                seen_ = before;
                frame.number = before / 2 - 1;
                frame.arrived = seconds();
                return true;
            }
            if (closed) return false;
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    }

private:
    Mapping memory_;
    Shape shape_;
    std::uint64_t seen_ = 0;
};

class RawSink : public Sink {
public:
    explicit RawSink(const std::string& path)
        : path_(path), file_(path == "-" ? stdout : std::fopen(path.c_str(), "wb")) {
        if (!file_) throw fault("cannot write " + path);
    }
    ~RawSink() override {
        if (file_ && file_ != stdout) std::fclose(file_);
    }
    void write(const std::vector<char>& pixels) override {
        if (std::fwrite(pixels.data(), 1, pixels.size(), file_) != pixels.size() || std::fflush(file_) != 0)
            throw fault("cannot write " + path_);
    }
    void close() override {}

private:
    std::string path_;
    std::FILE* file_;
};

class TiffSink : public Sink {
public:
    TiffSink(const std::string& path, const Shape& shape) : writer_(path, shape.type, shape.height, shape.width) {}
    void write(const std::vector<char>& pixels) override { writer_.write(pixels); }
    void close() override {}

private:
    TiffWriter writer_;
};

class SharedSink : public Sink {
public:
    SharedSink(const std::string& name, const Shape& shape)
        : memory_(name, kHeader + static_cast<std::size_t>(shape.bytes())) {
        Header& header = memory_.header();
        header.type = static_cast<std::uint32_t>(shape.type);
        header.frames = 1;
        header.height = static_cast<std::uint32_t>(shape.height);
        header.width = static_cast<std::uint32_t>(shape.width);
        header.sequence = 0;
        header.closed = 0;
        std::memcpy(header.magic, kMagic, 8);
    }
    void write(const std::vector<char>& pixels) override {
        Header& header = memory_.header();
        header.sequence.fetch_add(1, std::memory_order_acq_rel);
        std::atomic_thread_fence(std::memory_order_release);
        std::memcpy(memory_.pixels(), pixels.data(), pixels.size());
        header.sequence.fetch_add(1, std::memory_order_release);
    }
    void close() override { memory_.header().closed = 1; }

private:
    Mapping memory_;
};

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool is_tiff(const std::string& where) { return ends_with(where, ".tif") || ends_with(where, ".tiff"); }

}  // namespace

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::unique_ptr<Source> open_source(const std::string& where, const Shape& raw) {
    if (where.rfind("shm:", 0) == 0) return std::make_unique<SharedSource>(where.substr(4), raw.frames);
    if (is_tiff(where)) return std::make_unique<TiffSource>(where, raw.frames);
    return std::make_unique<RawSource>(where, raw);
}

std::unique_ptr<Sink> open_sink(const std::string& where, const Shape& shape) {
    if (where.rfind("shm:", 0) == 0) return std::make_unique<SharedSink>(where.substr(4), shape);
    if (is_tiff(where)) return std::make_unique<TiffSink>(where, shape);
    return std::make_unique<RawSink>(where);
}

void Mailbox::put(Frame&& frame) {
    std::unique_lock hold(lock_);
    if (!live_) changed_.wait(hold, [&] { return !full_ || closed_; });
    std::swap(frame_, frame);
    full_ = true;
    changed_.notify_all();
}

bool Mailbox::take(Frame& frame) {
    std::unique_lock hold(lock_);
    changed_.wait(hold, [&] { return full_ || closed_; });
    if (!full_) return false;
    std::swap(frame_, frame);
    full_ = false;
    changed_.notify_all();
    return true;
}

void Mailbox::close(std::string fault) {
    const std::lock_guard hold(lock_);
    closed_ = true;
    if (fault_.empty()) fault_ = std::move(fault);
    changed_.notify_all();
}

}  // namespace fluorsr::host
