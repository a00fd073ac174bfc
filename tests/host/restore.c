/* The C interface as a C program uses it: MODEL HEIGHT WIDTH; uint16 frames on standard input, restored on standard
 * output. Compiled as C99 by test_host.py. */
#include "fluorsr_host.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
    fsr_model* model;
    uint16_t *frame, *restored;
    size_t height, width, pixels, scale;
    int failed;

    if (argc != 4) return 2;
    height = (size_t)atol(argv[2]), width = (size_t)atol(argv[3]);
    model = fsr_open(argv[1], "cpu");
    if (!model) {
        fprintf(stderr, "%s\n", fsr_last_error());
        return 1;
    }
    scale = (size_t)fsr_scale(model);
    pixels = (size_t)fsr_frames(model) * height * width;
    frame = malloc(pixels * sizeof *frame);
    restored = malloc(scale * scale * height * width * sizeof *restored);
    failed = fsr_set_tile(model, 64) || fsr_set_threads(model, 2);
    while (!failed && fread(frame, sizeof *frame, pixels, stdin) == pixels) {
        failed = fsr_restore(model, frame, FSR_UINT16, (int64_t)height, (int64_t)width, restored);
        if (!failed) fwrite(restored, sizeof *restored, scale * scale * height * width, stdout);
    }
    if (failed) fprintf(stderr, "%s\n", fsr_last_error());
    free(frame);
    free(restored);
    fsr_close(model);
    return failed ? 1 : 0;
}
