// Where frames come from and go to: a TIFF, a raw file, standard input and output, or POSIX shared memory.
//
//     source -> reader thread -> mailbox (one frame) -> restore -> sink        live: a newer frame replaces the one
//     that
//                                                                              waits, and the numbers show what was
//                                                                              left out
//
// Shared memory "/name" holds one frame behind a header of 64 bytes. The writer makes `sequence` odd, writes, and makes
// it even again, so a reader can tell a frame that changed under its hands; sequence / 2 counts frames. `closed` ends
// it.
//
//     0 magic "FSRSHM01" | 8 u32 type, frames, height, width | 24 u64 sequence | 32 u64 closed | 64 pixels
#pragma once

#include "restore.hpp"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace fluorsr::host {

struct Shape {
    Pixel type = Pixel::u16;
    Index frames = 1;  // raw frames that make one image
    Index height = 0;
    Index width = 0;

    Index bytes() const { return frames * height * width * pixel_bytes(type); }
};

struct Frame {
    std::vector<char> pixels;
    std::uint64_t number = 0;  // counted by the source from 0 on
    double arrived = 0;        // seconds()
};

double seconds();  // of a steady clock

class Source {
public:
    virtual ~Source() = default;
    virtual Shape shape() const = 0;
    virtual bool next(Frame& frame) = 0;  // false at the end; waits where a frame is still to come
};

class Sink {
public:
    virtual ~Sink() = default;
    virtual void write(const std::vector<char>& pixels) = 0;
    virtual void close() = 0;
};

// `where` is shm:/name, - (standard input or output), a .tif or .tiff, or a raw file. A raw source has `raw`'s shape;
// the others know theirs, but for the frames of one image. Throw std::runtime_error with what is wrong.
std::unique_ptr<Source> open_source(const std::string& where, const Shape& raw);
std::unique_ptr<Sink> open_sink(const std::string& where, const Shape& shape);

class Mailbox {
public:
    explicit Mailbox(bool live) : live_(live) {}

    void put(Frame&& frame);  // waits while a frame lies there, unless live
    bool take(Frame& frame);  // false when closed and empty
    void close(std::string fault = "");
    const std::string& fault() const { return fault_; }

private:
    bool live_, full_ = false, closed_ = false;
    Frame frame_;
    std::string fault_;
    std::mutex lock_;
    std::condition_variable changed_;
};

}  // namespace fluorsr::host
