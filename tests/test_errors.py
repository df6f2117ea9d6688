"""Every error and warning of errors_table.py: its class, what it names, and that nothing else has changed."""

import os
import re
import tempfile
import warnings
from pathlib import Path

import anndata
import pytest

import errors_table
import se600m
from conftest import RandomModel
from se600m import _files, _library, errors
from test_embed import assert_unchanged, snapshot

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "errors.md"
CASES = [
    pytest.param(case, id=f"{group}: {case.what}") for group, cases in errors_table.GROUPS.items() for case in cases
]
messages: dict[str, str] = {}
"""What each case said, for the page."""


@pytest.fixture
def given(immune, pbmc, tmp_path):
    checkpoint = RandomModel(tmp_path / "checkpoint", [f"G{i}" for i in range(50)], pad_length=64)
    return errors_table.Given(immune, pbmc, checkpoint, tmp_path)


@pytest.fixture
def drafts(monkeypatch):
    """Every draft that this process makes, wherever it is: other processes have theirs in the same cache."""
    made, mkdtemp = [], tempfile.mkdtemp

    def noted(*args, **options):
        folder = mkdtemp(*args, **options)
        if folder.endswith(".unfinished"):
            made.append(Path(folder))
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", noted)
    return made


def test_drafts_are_noted(drafts, tmp_path):
    with pytest.raises(KeyError), _files.appearing(tmp_path / "file"):
        assert [p.exists() for p in drafts] == [True]
        raise KeyError
    assert [p.exists() for p in drafts] == [False]


def plain(message, folder):
    """Leave out what differs from machine to machine and from run to run."""
    message = message.replace(str(folder), "FOLDER").replace(_library.find(), "libonnxruntime.so")
    message = re.sub(r"/\S*/se600m-test-cache-\w+", "CACHE", message)
    message = re.sub(r"se600m-embedding-\w+\.npy", "se600m-embedding-0.npy", message)
    message = re.sub(r"unfinished-\d+", "unfinished-0", message)
    return re.sub(r"only [\d.,]+ GB are free", "only 1.0 GB are free", message)


@pytest.mark.parametrize("case", CASES)
def test_each_is_of_its_class_and_names_the_value(given, drafts, case, monkeypatch):
    monkeypatch.chdir(given.folder)
    if issubclass(case.error, Warning):
        with pytest.warns(case.error, match=case.says) as seen:
            case.do(given)
        message = next(str(w.message) for w in seen if re.search(case.says, str(w.message)))
        ours = [w for w in seen if issubclass(w.category, (errors.DataWarning, errors.DefaultModelWarning))]
        assert all(Path(w.filename).parent == Path(__file__).parent for w in ours), "they point at the user's line"
    else:
        snapshots = []

        def look(*args, **options):
            """Take stock when the data reaches the package, spoiled or not."""
            if isinstance(args[0], anndata.AnnData) and args[0].X is not None:
                snapshots.append((args[0], snapshot(args[0])))
            return embed(*args, **options)

        embed = se600m.embed
        monkeypatch.setattr(se600m, "embed", look)
        with pytest.raises(case.error, match=case.says) as raised:
            case.do(given)
        message = str(raised.value)
        assert isinstance(raised.value, errors.SE600MError)
        for taken in snapshots:
            assert_unchanged(*taken)
        assert not (given.folder / "executed").exists()
        assert not [p for p in given.folder.rglob("*") if "unfinished" in p.name]
        assert not [p for p in drafts if p.exists()]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert se600m.load_model("se-mini") is not None, "the process goes on"
    messages[case.what] = plain(message, given.folder)


def as_markdown(message):
    """Escape what Markdown would not show as it is; code in backticks stays code."""
    parts = message.split("`")
    return "`".join(
        re.sub(r"\\|\*|<|\[(?=\^)", r"\\\g<0>", part) if i % 2 == 0 else part for i, part in enumerate(parts)
    )


def page():
    """Write the page from the table and from what was said."""
    lines = [
        "# Errors and warnings",
        "",
        "This page lists the error and warning messages of se600m. `make docs` writes it from the cases in",
        "`tests/errors_table.py`, which the tests run, so the messages are real. After an error, the AnnData, files",
        "and the process are unchanged. Every error is a `se600m.errors.SE600MError`; warnings are",
        "`se600m.errors.DataWarning` or `DefaultModelWarning`, and after a warning the data is embedded nevertheless.",
        "",
        "## Classes",
        "",
    ]
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    lines += [f"- `{c.__name__}`: {' '.join(c.__doc__.split()).replace(':class:', '')}" for c in classes]
    for group, cases in errors_table.GROUPS.items():
        lines += ["", f"## {group}", ""]
        for case in cases:
            lines += [
                f"**{case.what[0].upper()}{case.what[1:]}**: `{case.error.__name__}`",
                "",
                f"> {as_markdown(messages[case.what])}",
                "",
            ]
    return "\n".join(lines).rstrip() + "\n"


def test_every_class_has_a_case_or_says_why_not():
    elsewhere = {
        "SE600MError",  # the base
        "ForkError",  # test_embed.py, in a process of its own
        "OutOfMemoryError",  # test_gpu_dry.py, on a GPU that stands in
        "MissingPackageError",  # test_contextual.py
        "LibraryWarning",  # test_cuda_libraries.py
        "PrecisionError",  # gocore/embed/finite_test.go
        "RuntimeLibraryError",  # test_native.py
        "InternalError",  # test_native.py
    }
    cases = {case.error.__name__ for group in errors_table.GROUPS.values() for case in group}
    assert cases | elsewhere == {name for name, c in vars(errors).items() if isinstance(c, type)}


def test_the_page_says_what_is_said():
    if len(messages) < len(CASES):
        pytest.skip("docs/errors.md is compared when the whole table has run")
    written = page()
    if os.environ.get("SE600M_WRITE_DOCS"):
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(written)
    assert PAGE.read_text() == written, "docs/errors.md is not up to date: make docs"
