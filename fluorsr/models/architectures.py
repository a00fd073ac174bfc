"""The networks fluorsr can rebuild from a weights file, by name. A new model is its own file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from fluorsr.errors import ModelError
from fluorsr.models.edsr import EDSR, EDSRConfig
from fluorsr.models.sr3 import SR3, SR3Config
from fluorsr.models.srgan import SRGAN, SRGANConfig
from fluorsr.models.unet_sim import UNetSIM, UNetSIMConfig

ARCHITECTURES: dict[str, tuple[Callable[[Any], nn.Module], Callable[..., Any]]] = {
    "edsr": (EDSR, EDSRConfig),
    "sr3": (SR3, SR3Config),
    "srgan": (SRGAN, SRGANConfig),
    "unet_sim": (UNetSIM, UNetSIMConfig),
}
"""Name -> (network class, class of its configuration)."""


def build(architecture: str, config: dict[str, Any]) -> nn.Module:
    """Build a network with fresh weights from its name and the plain values of its configuration.

    Raises ModelError where the name is unknown or the configuration breaks one of the network's rules.
    """
    if architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ModelError(
            f"architecture {architecture!r} is not one of this fluorsr ({known}); the file may need a newer version"
        )
    network, configuration = ARCHITECTURES[architecture]
    try:
        return network(configuration(**config))
    except (TypeError, ValueError) as error:  # pydantic's ValidationError is a ValueError
        raise ModelError(f"the configuration of this {architecture} does not fit: {error}") from error
