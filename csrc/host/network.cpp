#include "network.hpp"

#include <ATen/Parallel.h>
#include <torch/script.h>

#include <cstring>
#include <stdexcept>

namespace fluorsr::host {

struct Network::Program {
    torch::jit::Module module;
    torch::Device device;
};

namespace {

std::string first_line(const std::exception& error) {
    const std::string text = error.what();
    return text.substr(0, text.find('\n'));
}

torch::Device find_device(const std::string& name) {
    try {
        return torch::Device(name);
    } catch (const std::exception&) {
        throw std::runtime_error("device " + name + " is not one of cpu, cuda, cuda:0, cuda:1, ...");
    }
}

}  // namespace

Network::Network(const std::string& path, const std::string& device) {
    at::set_num_threads(1);  // tiles run side by side instead; so no sum depends on the number of threads
    at::globalContext().setAllowTF32CuDNN(false);
    at::globalContext().setBenchmarkCuDNN(false);
    at::globalContext().setDeterministicCuDNN(true);
    const torch::Device where = find_device(device);
    try {
        program_ = std::make_unique<Program>(Program{torch::jit::load(path, where), where});
        program_->module.eval();
    } catch (const std::exception& error) {
        throw std::runtime_error(path + " cannot be loaded as TorchScript on " + device + ": " + first_line(error));
    }
    const torch::jit::Module& module = program_->module;
    for (const char* name : {"frames", "scale", "halo", "multiple", "tile", "overlap", "percent_low", "percent_high",
                             "memory", "low", "high"})
        if (!module.hasattr(name))
            throw std::runtime_error(path + " was not written by `fluorsr export --to torchscript`: it has no " + name);
    const auto whole = [&](const char* name) { return static_cast<Index>(module.attr(name).toInt()); };
    facts_ = {whole("frames"),
              whole("scale"),
              whole("halo"),
              whole("multiple"),
              whole("tile"),
              whole("overlap"),
              module.attr("percent_low").toDouble(),
              module.attr("percent_high").toDouble(),
              whole("memory"),
              module.attr("low").toDouble(),
              module.attr("high").toDouble()};
    if (facts_.frames < 1 || facts_.scale < 1 || facts_.halo < 0 || facts_.multiple < 1 || facts_.memory < 0)
        throw std::runtime_error(path + " says impossible things of itself; export the model again");
}

Network::~Network() = default;

struct Network::Stripes {
    c10::IValue values;
};

bool Network::measures() const { return program_->module.find_method("measure").has_value(); }

std::shared_ptr<const Network::Stripes> Network::measure(const float* frames, Index height, Index width, double low,
                                                         double span) const {
    const c10::InferenceMode guard;
    const auto shape = std::vector<std::int64_t>{facts_.frames, height, width};
    torch::Tensor given = torch::from_blob(const_cast<float*>(frames), shape, torch::kFloat32).to(program_->device);
    try {
        return std::make_shared<Stripes>(Stripes{program_->module.get_method("measure")({given, low, span})});
    } catch (const std::exception& error) {
        throw std::runtime_error("the stripes of the frames could not be measured: " + first_line(error));
    }
}

void Network::forward(const float* tile, Index height, Index width, Index y, Index x, Index seed,
                      const Stripes* stripes, float* out) const {
    const c10::InferenceMode guard;
    const auto shape = std::vector<std::int64_t>{1, facts_.frames, height, width};
    torch::Tensor given = torch::from_blob(const_cast<float*>(tile), shape, torch::kFloat32).to(program_->device);
    torch::Tensor origin = torch::tensor({{y, x}}, torch::kInt64).to(program_->device);
    torch::Tensor found;
    try {
        std::vector<c10::IValue> arguments{given, origin, seed};
        if (stripes) arguments.push_back(stripes->values);
        // Its halo is thrown away: with `centre` a diffusion model computes less of it; older files have forward alone.
        const bool centre = !stripes && program_->module.find_method("centre").has_value();
        const torch::jit::Method method = program_->module.get_method(centre ? "centre" : "forward");
        found = method(arguments).toTensor().to(torch::kCPU).contiguous();
    } catch (const std::exception& error) {
        throw std::runtime_error("the model failed: " + first_line(error));
    }
    const std::vector<std::int64_t> expected{1, 1, facts_.scale * height, facts_.scale * width};
    if (found.sizes().vec() != expected || found.scalar_type() != torch::kFloat32)
        throw std::runtime_error("the model's output does not have the size that its scale says; export it again");
    std::memcpy(out, found.data_ptr<float>(), static_cast<std::size_t>(found.numel()) * sizeof(float));
}

}  // namespace fluorsr::host
