"""Renders the conda recipe as rattler-build would for linux-64, and compares it with pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

from rattler_build import PlatformConfig, RenderConfig, Stage0Recipe, VariantConfig

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = VariantConfig({"python": ["3.12"], "c_stdlib": ["sysroot"], "c_stdlib_version": ["2.28"]})
"""What conda-forge's own configuration would say."""


def plain(requirement: str) -> str:
    """Write a requirement without blanks; both kinds are the same then."""
    return requirement.replace(" ", "")


def main() -> None:
    """End the program if they differ."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    platform = RenderConfig(PlatformConfig(target_platform="linux-64", experimental=True))
    (rendered,) = Stage0Recipe.from_file(ROOT / "recipe" / "recipe.yaml").render(VARIANTS, platform)
    recipe = rendered.recipe
    wanted, found = project["project"], {plain(str(one)) for one in recipe.requirements.run}
    expected = {plain(one) for one in wanted["dependencies"]} | {"python"}
    host = {plain(str(one)) for one in recipe.requirements.host}
    built = {plain(one) for one in project["build-system"]["requires"]} | {"python", "pip"}
    for what, mine, theirs in (
        ("run", expected, found),
        ("host", built, host),
        ("version", {wanted["version"]}, {recipe.package.version}),
        ("license", {wanted["license"]}, {recipe.about.license}),
    ):
        if mine != theirs:
            raise SystemExit(f"recipe/recipe.yaml, {what}: {sorted(theirs - mine)} instead of {sorted(mine - theirs)}")
    print("recipe/recipe.yaml agrees with pyproject.toml")


if __name__ == "__main__":
    main()
