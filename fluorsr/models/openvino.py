"""A network of ours through OpenVINO (extra fluorsr[cpu]): the same numbers from other kernels, faster on many CPUs.

The network is traced and handed to OpenVINO's PyTorch frontend here and now, so no further file is kept; for each shape
of tiles it is compiled once. One stream of one thread for each CPU core: tiles run side by side as with torch, and the
number of threads changes no bit. Against torch, results differ by rounding.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from fluorsr.errors import import_extra
from fluorsr.models.measure import check_output
from fluorsr.models.network import Network
from fluorsr.models.torchscript import quiet_jit
from fluorsr.restorer import RestorerSpec

HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoNetwork(Network):
    """A module on the CPU, in float32, run by OpenVINO in fp32 or bf16. Raises MissingDependencyError without it."""

    def __init__(self, module: nn.Module, spec: RestorerSpec, *, precision: str) -> None:
        super().__init__(module, spec, precision=precision)
        self._runtime = import_extra("openvino", "cpu")
        self._frontend = import_extra("openvino.frontend", "cpu")
        self._decoder = import_extra("openvino.frontend.pytorch.ts_decoder", "cpu")
        self._module = module
        self._threads = os.cpu_count() or 1
        self._lock = threading.Lock()
        self._compiled: dict[tuple[int, ...], Any] = {}
        self._mine = threading.local()

    def _restore(self, tiles: Tensor, origin: Tensor, seed: int) -> Tensor:
        requests: dict[Any, Any] = self._mine.__dict__
        shape = tuple(tiles.shape)
        if shape not in requests:
            requests[shape] = self._model(shape).create_infer_request()
        made = requests[shape].infer([tiles.contiguous().numpy()])[0]
        return check_output(tiles, torch.from_numpy(made.copy()))

    def _model(self, shape: tuple[int, ...]) -> Any:
        """The network compiled for tiles of one shape [B, frames, Y, X]."""
        with self._lock:
            if shape not in self._compiled:
                # OpenVINO gives the thread that compiles a signal stack of its own, and frees it with the model: on the
                # main thread the next signal would end the process. So that thread is one that ends at once.
                with ThreadPoolExecutor(1) as brief:
                    self._compiled[shape] = brief.submit(self._compile, shape).result()
            return self._compiled[shape]

    def _compile(self, shape: tuple[int, ...]) -> Any:
        example = torch.zeros(shape)
        with quiet_jit(), torch.inference_mode():
            traced = torch.jit.trace(self._module, example, check_trace=False)  # type: ignore[no-untyped-call]
        # Not openvino.convert_model: it reports its use to a server.
        frontend = self._frontend.FrontEndManager().load_by_framework("pytorch")
        decoder = self._decoder.TorchScriptPythonDecoder(traced, example_input=(example,))
        model = frontend.convert(frontend.load(decoder))
        model.reshape({model.inputs[0]: self._runtime.PartialShape(list(shape))})
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[self.precision],
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": self._threads,
            "ENABLE_CPU_PINNING": False,
        }
        return self._runtime.Core().compile_model(model, "CPU", settings)
