// How two neighbouring tiles share the pixels of their fade.
//
//     weight of   1 |            ________        The ramp is a raised cosine over n = overlap * scale output pixels,
//     the later     |          /                 centred on the boundary kS * scale, sampled at pixel centres:
//     tile        0 |________/                       w[i] = (1 - cos(pi (i + 1/2) / n)) / 2
//                   kS - o/2 ^ kS + o/2          At the image's edges there is no neighbour and the weight is flat.
//
// Blending is a + w (b - a): the weights of the two tiles sum to 1 by construction, no weight volume is kept, nothing
// is divided, and where the tiles agree the result is that value bit for bit.
#pragma once

#include "view.hpp"

#include <vector>

namespace fluorsr {

// Rising weights of the later tile; ramp[i] + ramp[n - 1 - i] is exactly 1.
std::vector<float> ramp(Index n);

}  // namespace fluorsr
