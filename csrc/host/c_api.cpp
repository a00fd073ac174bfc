#include "fluorsr_host.h"

#include "restore.hpp"

#include <exception>
#include <string>

struct fsr_model {
    fluorsr::host::Restorer restorer;
};

namespace {

thread_local std::string last_error;

// No exception may pass into C: each becomes -1 and a message.
template <class Work>
int guarded(const Work& work) {
    try {
        last_error.clear();
        work();
        return 0;
    } catch (const std::exception& error) {
        last_error = error.what();
    } catch (...) {
        last_error = "an unknown error";
    }
    return -1;
}

void need(const void* pointer, const char* name) {
    if (pointer == nullptr) throw std::invalid_argument(std::string(name) + " is NULL");
}

}  // namespace

fsr_model* fsr_open(const char* path, const char* device) {
    fsr_model* model = nullptr;
    guarded([&] {
        need(path, "path");
        need(device, "device");
        model = new fsr_model{{path, device}};
    });
    return model;
}

void fsr_close(fsr_model* model) { delete model; }

int32_t fsr_frames(const fsr_model* model) { return static_cast<int32_t>(model->restorer.facts().frames); }
int32_t fsr_scale(const fsr_model* model) { return static_cast<int32_t>(model->restorer.facts().scale); }
int32_t fsr_halo(const fsr_model* model) { return static_cast<int32_t>(model->restorer.facts().halo); }

int fsr_set_tile(fsr_model* model, int64_t tile) {
    return guarded([&] { model->restorer.set_tile(tile); });
}

int fsr_set_threads(fsr_model* model, int32_t threads) {
    return guarded([&] { model->restorer.set_threads(threads); });
}

int fsr_set_normalisation(fsr_model* model, double low, double high) {
    return guarded([&] { model->restorer.set_normalisation(low, high); });
}

int fsr_set_seed(fsr_model* model, int64_t seed) {
    return guarded([&] { model->restorer.set_seed(seed); });
}

int fsr_restore(fsr_model* model, const void* frames, fsr_type type, int64_t height, int64_t width, void* restored) {
    return guarded([&] {
        need(frames, "frames");
        need(restored, "restored");
        if (type < FSR_UINT8 || type > FSR_FLOAT32) throw std::invalid_argument("type is none of fsr_type");
        model->restorer.restore(frames, static_cast<fluorsr::host::Pixel>(type), height, width, restored);
    });
}

const char* fsr_last_error(void) { return last_error.c_str(); }
