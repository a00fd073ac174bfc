/* fluorsr in any program: restore camera frames with an exported TorchScript model, without Python.
 *
 *     fsr_model* model = fsr_open("edsr.ts", "cpu");
 *     if (!model) { puts(fsr_last_error()); ... }
 *     fsr_set_normalisation(model, 100, 2400);
 *     fsr_restore(model, frame, FSR_UINT16, height, width, restored);
 *     fsr_close(model);
 *
 * A model may be used by one thread at a time; it works on as many threads as fsr_set_threads says. Functions that
 * return int return 0, or -1 where fsr_last_error() says what is wrong.
 *
 * A TorchScript file is a program. This library runs whatever it is given: check with `fluorsr export --check`, or in
 * fluorsr's Python, what you did not export yourself.
 */
#ifndef FLUORSR_HOST_H
#define FLUORSR_HOST_H

#include <stdint.h>

#if defined(__GNUC__)
#define FSR_API __attribute__((visibility("default")))
#else
#define FSR_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fsr_model fsr_model;

typedef enum { FSR_UINT8 = 0, FSR_UINT16 = 1, FSR_FLOAT32 = 2 } fsr_type;

/* Open a file of `fluorsr export --to torchscript`. device: "cpu", "cuda", "cuda:1". NULL where that fails. */
FSR_API fsr_model* fsr_open(const char* path, const char* device);
FSR_API void fsr_close(fsr_model* model);

/* What the file says of itself: raw frames per image, output pixels per input pixel, halo in input pixels. */
FSR_API int32_t fsr_frames(const fsr_model* model);
FSR_API int32_t fsr_scale(const fsr_model* model);
FSR_API int32_t fsr_halo(const fsr_model* model);

/* Tile in input pixels, halo included; 0 chooses it as fluorsr-infer does. Default 0. */
FSR_API int fsr_set_tile(fsr_model* model, int64_t tile);

/* Tiles restored side by side. Default 1. The result does not depend on it. */
FSR_API int fsr_set_threads(fsr_model* model, int32_t threads);

/* Counts that become 0 and 1. Without it they are what the file was exported with: each frame's percentiles, their
 * running mean over the frames that this model restores, or fixed counts. */
FSR_API int fsr_set_normalisation(fsr_model* model, double low, double high);

/* Which sample a diffusion model draws. Default 0. */
FSR_API int fsr_set_seed(fsr_model* model, int64_t seed);

/* Restore frames [frames, height, width], C order, into restored [scale * height, scale * width], of the same type:
 * in the camera's counts; integers are rounded half to even and saturated. The two must not overlap. */
FSR_API int fsr_restore(fsr_model* model, const void* frames, fsr_type type, int64_t height, int64_t width,
                        void* restored);

/* What went wrong last on this thread; "" where nothing has. Valid until the next call on this thread. */
FSR_API const char* fsr_last_error(void);

#ifdef __cplusplus
}
#endif

#endif
