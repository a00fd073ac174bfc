"""The spec: what a model file may claim, and what it may not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fluorsr.errors import ModelError
from fluorsr.restorer import RestorerSpec


def test_a_spec_survives_json() -> None:
    spec = RestorerSpec("unet", 15, 2, 96, 16, False, True, (1.0, 99.0), 0.06, "SIM", ("microtubules", "actin"))
    assert RestorerSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frames": 1.5}, "frames: Input should be a valid integer"),
        ({"halo": "20"}, "halo: Input should be a valid integer"),
        ({"exact": 1}, "exact: Input should be a valid boolean"),
        ({"percentiles": [0.1]}, "percentiles"),
        ({"name": None}, "name: Input should be a valid string"),
        ({"colour": "red"}, "a spec has no colour; this file may come from a newer fluorsr"),
        ({"halo": 10_000}, "halo is 10000; it must be 0 to 4096"),
        ({"scale": 0}, "scale is 0; it must be 1 to 16"),
        ({"percentiles": [99.0, 1.0]}, r"percentiles 99.0, 1.0 must rise"),
    ],
)
def test_what_a_file_may_not_claim(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        RestorerSpec.from_json({"name": "model", **values})
