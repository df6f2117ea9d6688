"""What `import se600m` and the command import, and when."""

import subprocess
import sys

import pytest

import se600m

SLOW = ("numpy", "anndata", "tqdm", "se600m._se600m", "pandas", "scipy", "zarr", "dask", "huggingface_hub")


@pytest.mark.parametrize("statement", ["import se600m", "import se600m.cli"])
def test_slow_packages_wait_until_they_are_needed(statement: str) -> None:
    code = f"{statement}; import sys; print(*sorted(set({SLOW!r}) & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


def test_every_public_name_is_there() -> None:
    for name in se600m.__all__:
        assert getattr(se600m, name) is not None
    assert {*se600m.__all__, "__version__"} <= set(dir(se600m))
    with pytest.raises(AttributeError, match="module 'se600m' has no attribute 'embde'"):
        se600m.embde  # type: ignore[attr-defined]  # noqa: B018
