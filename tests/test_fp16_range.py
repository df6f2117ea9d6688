"""The largest number anywhere in a trained model, beside the largest that fp16 holds (docs/gpu.md states it)."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import oracle
import se600m

FP16_MAX = 65_504
PACKAGED = Path(se600m.__file__).parent / "models" / "se-mini"


@pytest.fixture
def largest(monkeypatch):
    """Largest magnitude of what goes into and comes out of each kind of step of the definition."""
    seen = {}

    def watched(name, step):
        def run(*args):
            result = step(*args)
            for values in (args[-1], result):
                seen[name] = max(seen.get(name, 0.0), float(np.abs(values).max()))
            return result

        return run

    for name in ("_linear", "_norm", "_softmax", "_skip"):
        step = getattr(oracle, name)
        monkeypatch.setattr(oracle, name, watched(name, step))
    return seen


def test_a_trained_model_stays_within_fp16(immune, pbmc, largest, record_property):
    model = se600m.load_model()
    state = load_file(PACKAGED / "model.safetensors")
    for cells, options in ((immune[:1], {"fill": "shared"}), (pbmc[:3].raw.to_adata(), {"fill": "none"})):
        stages = model.trace(cells, **options)
        used = stages.pop("multiplicity") > 0
        for name, values in stages.items():
            if values.dtype == np.float32:
                largest[name] = max(largest.get(name, 0.0), float(np.abs(values).max()))
        for n, tokens in enumerate(stages["tokens"].astype(np.float64)):
            x = tokens[np.append(used[n], np.ones(tokens.shape[0] - len(used[n]), bool))]
            for i in range(model.dimensions["nlayers"]):
                x = oracle._layer(state, f"transformer_encoder.layers.{i}.", x, model.dimensions["nhead"])
            np.testing.assert_allclose(x[0], stages[f"layer_{i + 1}"][n, 0], atol=1e-3)
            oracle._head(state, x)
    for name, value in largest.items():
        record_property(name, value)
    assert {"_linear", "_norm", "_softmax", "_skip", "tokens", "layer_1", "head"} <= set(largest)
    assert max(largest.values()) < FP16_MAX
