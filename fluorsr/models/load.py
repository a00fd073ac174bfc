"""Load a model to run it: a shipped one by name, a weights file, or TorchScript of our own or anybody's."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fluorsr.classical.registry import METHODS, make_method
from fluorsr.classical.sim_stripes import Stripes, settled
from fluorsr.errors import InputError, ModelError, NotFoundError
from fluorsr.models.architectures import build
from fluorsr.models.measure import measure
from fluorsr.models.network import Network, SamplingNetwork, SeededNetwork, prepare, repeatable_cuda
from fluorsr.models.openvino import OpenVinoNetwork
from fluorsr.models.precision import choose, filaments, has_amx
from fluorsr.models.reach import measure_module
from fluorsr.models.samplers import find_sampler, levels
from fluorsr.models.sim_network import SimNetwork, SimScript, inner_spec, known_waves
from fluorsr.models.sr3 import SR3
from fluorsr.models.symmetries import Symmetries
from fluorsr.models.torchscript import STRIPES, TorchScriptFile, freeze
from fluorsr.models.unet_sim import UNetSIM
from fluorsr.models.weights import ZIP_MAGIC, Weights, is_pickle, read_weights
from fluorsr.models.zoo_index import find, zoo
from fluorsr.restorer import Restorer, RestorerSpec

SUFFIXES = (".safetensors", ".pt", ".pth", ".ts", ".torchscript", ".jit", ".zip", ".ckpt", ".onnx")
ENGINES = ("torch", "openvino")
NO_STEPS = "leave out --steps and --sampler, which are for diffusion models"


@dataclass(frozen=True)
class LoadedModel:
    """A Restorer, ready to run, and what a run's record says of it.

    sha256     of the model's file; of a classical method's name and options
    device     "cpu", "cuda:0", ...
    precision  "fp32" or "bf16"
    notes      lines to tell the user before a run
    steps, sampler   of a diffusion model's sampling; None for the others
    tta        whether it is the mean over the eight symmetries of the square
    engine     "torch" or "openvino"
    """

    spec: RestorerSpec
    network: Restorer
    sha256: str
    device: str
    precision: str
    notes: tuple[str, ...] = ()
    steps: int | None = None
    sampler: str | None = None
    tta: bool = False
    engine: str = "torch"

    @property
    def batch_limit(self) -> int | None:
        """The most tiles at a time that the device's memory takes, once more did not fit."""
        found: int | None = getattr(self.network, "batch_limit", None)
        return found

    def restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        """Restore a batch of tiles; see fluorsr.restorer.Restorer."""
        return self.network.restore(tiles, origin, seed)


def load(
    model: str | Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    steps: int | None = None,
    sampler: str | None = None,
    trust: bool = False,
    options: dict[str, Any] | None = None,
    pixel_size_um: float | None = None,
    tta: bool = False,
    engine: str = "torch",
) -> LoadedModel:
    """Load a model by the name of a shipped one, by path, or a classical method by its name.

    device     auto (CUDA where there is one), cpu, cuda or cuda:n
    precision  auto, fp32 or bf16; auto takes bf16 where the machine is fast in it and the result stays within 50 dB
    steps, sampler   of a diffusion model: network evaluations, and one of samplers.SAMPLERS; default the model's
    trust      run a TorchScript file though it is not on the user's trust list (fluorsr.models.trust)
    options    of a classical method (fluorsr.classical.registry); networks have none but those of raw SIM frames, which
               take `stripes`: a file of them, its content, or a fluorsr.classical.sim_stripes.Stripes
    pixel_size_um   of the images to restore, which some classical methods and SIM networks must know
    engine     torch, or openvino (extra fluorsr[cpu]) for our own networks that restore in one step, on the CPU
    tta        test-time augmentation: the mean over the eight symmetries of the square (fluorsr.models.symmetries)

    A TorchScript file without our spec is measured: seconds, and told in the notes. Raises NotFoundError where there is
    no such model or file, ModelError where the file is not a model fluorsr can run, InputError for a wrong device, or
    for steps and a sampler that there are not or that the model has no use for, and for tta of raw frames or samples.
    """
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} is not one of {', '.join(ENGINES)}")
    if engine == "openvino":
        found = _load_openvino(model, device, precision, steps, sampler)
    else:
        found = _load(model, device, precision, steps, sampler, options, pixel_size_um, trust=trust)
    return replace(found, network=Symmetries(found.network), tta=True) if tta else found


def _load(
    model: str | Path,
    device: str,
    precision: str,
    steps: int | None,
    sampler: str | None,
    options: dict[str, Any] | None,
    pixel_size_um: float | None,
    *,
    trust: bool,
) -> LoadedModel:
    if isinstance(model, str) and model in METHODS:
        if steps is not None or sampler is not None:
            raise InputError(f"{model} has no steps or sampler; {NO_STEPS}")
        return _make_method(model, device, precision, options, pixel_size_um)
    chosen = find_device(device)
    if chosen.type == "cuda":
        repeatable_cuda()
    path = locate(model)
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    if start.startswith(ZIP_MAGIC):
        if steps is not None or sampler is not None:
            raise InputError(
                f"{path} is TorchScript, whose steps and sampler were set when it was exported; {NO_STEPS}"
            )
        _refuse_options(path.name, options)
        return _load_torchscript(path, chosen, precision, trust=trust)
    if is_pickle(start):
        raise ModelError(
            f"{path} is a pickle, which could run any code, so fluorsr does not open it; export the model as "
            "TorchScript (torch.jit.trace, then torch.jit.save)"
        )
    return _load_weights(path, chosen, precision, steps, sampler, options, pixel_size_um)


def _refuse_options(name: str, options: dict[str, Any] | None, known: str = "") -> None:
    unknown = [option for option in options or {} if option != known]
    if unknown:
        but = f" but {known}" if known else ""
        raise InputError(
            f"{name} is a network, which has no options{but}, so not {', '.join(unknown)}; {', '.join(METHODS)} have "
            "some, and networks of raw SIM frames take stripes"
        )


def load_module(
    model: str | Path, *, steps: int | None = None, sampler: str | None = None
) -> tuple[nn.Module, RestorerSpec]:
    """The bare network of a shipped model or weights file, on the CPU in float32 and evaluation mode, and its spec.

    steps, sampler   of a diffusion model, as `load` takes them; they become its configuration's
    Raises as `load`; ModelError also for TorchScript, which is a program already.
    """
    module, weights = _build(locate(model))
    module, spec = module.eval().requires_grad_(False), weights.spec
    if isinstance(module, SR3):
        steps, sampler, spec = _sampling(module, spec, steps, sampler)
        module.config = module.config.model_copy(update={"steps": steps, "sampler": sampler})
    else:
        _refuse_steps(weights, steps, sampler)
    return module, spec


def find_device(device: str) -> torch.device:
    """Resolve auto, cpu, cuda or cuda:n. Raises InputError for any other name, or a device that is not there."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda:0" if count else "cpu")
    name, _, index = device.partition(":")
    if name not in ("cpu", "cuda") or (index and (name == "cpu" or not index.isdecimal())):
        raise InputError(f"device {device!r} is not one of auto, cpu, cuda, cuda:0, cuda:1, ...")
    if name == "cuda" and int(index or 0) >= count:
        raise InputError(
            f"{device} was asked for, this machine has {count} CUDA devices; use --device cpu"
            + (f" or cuda:0 to cuda:{count - 1}" if count else "")
        )
    return torch.device(f"cuda:{int(index or 0)}" if name == "cuda" else "cpu")


def _make_method(
    name: str, device: str, precision: str, options: dict[str, Any] | None, pixel_size_um: float | None
) -> LoadedModel:
    method = make_method(name, options)
    if device not in ("auto", "cpu") or precision not in ("auto", "fp32"):
        raise InputError(f"{name} runs on the CPU in fp32, not on {device} in {precision}; leave these options out")
    restorer = method.make(pixel_size_um)
    spec, notes = restorer.spec, []
    if not spec.exact:
        notes.append(
            f"{spec.name} is not exact: it reaches further than its halo of {spec.halo} pixels, so the result depends "
            "a little on the tile size, and tiles are blended"
        )
    return LoadedModel(spec, restorer, method.digest(name), "cpu", "fp32", tuple(notes))


def locate(model: str | Path) -> Path:
    """The file of a shipped model or a path. Raises NotFoundError where there is none, ModelError for a folder."""
    if isinstance(model, str) and model in zoo():
        return find(model)
    path = Path(model).expanduser()
    if path.is_dir():
        raise ModelError(f"{path} is a folder; a model is one file (.safetensors of fluorsr, or TorchScript)")
    if path.exists():
        return path
    if isinstance(model, Path) or path.suffix in SUFFIXES or path.parent != Path():
        raise NotFoundError(
            f"there is no model file {path}; check the path, or use a shipped model: {', '.join(zoo())}"
        )
    return find(model)  # raises, with the names there are


def _build(path: Path) -> tuple[nn.Module, Weights]:
    weights = read_weights(path)
    module = build(weights.architecture, weights.config)
    try:
        module.load_state_dict(weights.state)
    except RuntimeError as error:
        fault = str(error).splitlines()[1].strip()  # after a headline; the first of what may be hundreds
        raise ModelError(
            f"{path}: its weights do not fit its {weights.architecture} of {weights.config}: {fault}"
        ) from error
    return module, weights


def _load_weights(
    path: Path,
    device: torch.device,
    precision: str,
    steps: int | None,
    sampler: str | None,
    options: dict[str, Any] | None,
    pixel_size_um: float | None,
) -> LoadedModel:
    module, weights = _build(path)
    sim = isinstance(module, UNetSIM) and module.config.periods_um is not None
    _refuse_options(weights.spec.name, options, "stripes" if sim else "")
    if isinstance(module, SR3):
        return _load_sampling(module, weights, device, precision, steps, sampler)
    spec = weights.spec
    _refuse_steps(weights, steps, sampler)
    if isinstance(module, UNetSIM) and module.config.periods_um:
        return _load_sim(module, weights, device, precision, settled(options), pixel_size_um)

    def network(kind: str) -> Network:
        prepared = prepare(copy.deepcopy(module), device=device, precision=kind)
        if kind == "bf16" and device.type == "cpu" and has_amx():
            prepared = freeze(prepared, filaments(spec.frames, 64 * spec.multiple).to(torch.bfloat16))
        return Network(prepared, spec, device=device, precision=kind)

    return _loaded(spec, weights.sha256, device, precision, network, [])


def _load_openvino(
    model: str | Path, device: str, precision: str, steps: int | None, sampler: str | None
) -> LoadedModel:
    if model in METHODS or locate(model).suffix != ".safetensors":
        raise InputError(
            f"engine openvino runs networks of fluorsr's own (.safetensors), not {model}; leave out --engine"
        )
    module, weights = _build(locate(model))
    spec = weights.spec
    if spec.stochastic or (isinstance(module, UNetSIM) and module.config.periods_um) or steps or sampler:
        raise InputError(f"engine openvino runs networks that restore in one step, not {spec.name}; leave out --engine")
    if device not in ("auto", "cpu"):
        raise InputError(f"engine openvino runs on the CPU, not on {device}; leave out --engine or --device")
    module = module.eval().requires_grad_(False)

    def network(kind: str) -> Network:
        return OpenVinoNetwork(module, spec, precision=kind)

    loaded = _loaded(spec, weights.sha256, torch.device("cpu"), precision, network, [])
    return replace(loaded, engine="openvino")


def _refuse_steps(weights: Weights, steps: int | None, sampler: str | None) -> None:
    if steps is not None or sampler is not None:
        raise InputError(f"{weights.spec.name} is a {weights.architecture}: it restores in one step; {NO_STEPS}")


def _sampling(module: SR3, spec: RestorerSpec, steps: int | None, sampler: str | None) -> tuple[int, str, RestorerSpec]:
    """Steps and sampler, the model's own where None, and the spec of a sample that so many evaluations draw."""
    steps, sampler = module.config.steps if steps is None else steps, sampler or module.config.sampler
    levels(module.schedule, steps)
    find_sampler(sampler)
    if steps != module.config.steps:
        found = measure_module(module.eval(), steps)
        spec = replace(spec, halo=found.halo, exact=found.exact)
    return steps, sampler, spec


def _load_sampling(
    module: SR3, weights: Weights, device: torch.device, precision: str, steps: int | None, sampler: str | None
) -> LoadedModel:
    steps, sampler, spec = _sampling(module, weights.spec, steps, sampler)

    def network(kind: str) -> Network:
        prepared = prepare(copy.deepcopy(module), device=device, precision=kind)
        return SamplingNetwork(prepared, spec, steps, sampler, device=device, precision=kind)

    loaded = _loaded(spec, weights.sha256, device, precision, network, [])
    return replace(loaded, steps=steps, sampler=sampler)


def _load_sim(
    module: UNetSIM,
    weights: Weights,
    device: torch.device,
    precision: str,
    options: dict[str, Any] | None,
    pixel_size_um: float | None,
) -> LoadedModel:
    """A network of orders: what runs it measures the stripes, in pixels of the image's size or else the training's."""
    spec, given = weights.spec, (options or {}).get("stripes")
    stripes = Stripes.from_json(given) if given is not None else None
    size = pixel_size_um or (stripes.pixel_size_um if stripes else spec.pixel_size_um)
    if size is None:
        raise InputError(f"{spec.name} must know the camera's pixel size, which neither the image nor the model tells")
    inner = inner_spec(spec, module.config)

    def network(kind: str) -> Network:
        return Network(
            prepare(copy.deepcopy(module), device=device, precision=kind), inner, device=device, precision=kind
        )

    loaded = _loaded(inner, weights.sha256, device, precision, network, [])
    assert isinstance(loaded.network, Network)
    ready = SimNetwork(loaded.network, spec, module.config, size)
    if stripes is None:
        return replace(loaded, spec=spec, network=ready)
    waves, notes = known_waves(stripes, spec, module.config, size)
    return replace(loaded, spec=spec, network=ready.calibrated(waves, stripes.beams), notes=(*loaded.notes, *notes))


def _load_torchscript(path: Path, device: torch.device, precision: str, *, trust: bool) -> LoadedModel:
    file = TorchScriptFile(path, trust=trust)
    spec, notes = file.spec, []
    if spec is None:
        started = time.perf_counter()
        try:
            measured = measure(file.module(device=device), device=device)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error
        spec = RestorerSpec(name=path.stem, **vars(measured))
        notes.append(
            f"{path.name} carries no spec; measured in {time.perf_counter() - started:.1f} s: frames {spec.frames}, "
            f"scale {spec.scale}, halo {spec.halo}, multiple {spec.multiple}, {'exact' if spec.exact else 'not exact'}"
        )

    exported = file.notes.get("precision")
    if (exported == "bf16" and precision == "fp32") or (STRIPES in file.notes and precision not in ("auto", exported)):
        raise ModelError(
            f"{path} computes in {exported}, as it was exported; for {precision} export it again with "
            f"--precision {precision}"
        )
    if STRIPES in file.notes:
        whole = SimScript(file.module(device=device), spec, device)
        return LoadedModel(spec, whole, file.sha256, str(device), str(exported))
    ordered = file.takes_channels_last(spec, device=device)

    def network(kind: str) -> Network:
        module = file.module(device=device) if kind == "fp32" else file.cast(torch.bfloat16, device=device)
        kind_of = SeededNetwork if spec.stochastic else Network
        return kind_of(module, spec, device=device, precision=kind, ordered=ordered)

    if exported != "bf16":
        return _loaded(spec, file.sha256, device, precision, network, notes)
    return replace(_loaded(spec, file.sha256, device, "fp32", network, notes), precision="bf16")


def _loaded(
    spec: RestorerSpec,
    sha256: str,
    device: torch.device,
    precision: str,
    build_network: Callable[[str], Network],
    notes: list[str],
) -> LoadedModel:
    network, found = choose(precision, device, spec, build_network)
    if not spec.exact:
        notes.append(
            f"{spec.name} is not exact: it sees further than its halo of {spec.halo} pixels, or uses statistics of the "
            "whole tile, so the result depends on the tile size, and tiles are faded into each other"
        )
    return LoadedModel(spec, network, sha256, str(device), network.precision, (*notes, *found))
