"""Messages of the package in the words of the command line."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from se600m import _cli_words, cli

ROOT = Path(__file__).resolve().parents[1]


def flags(*words):
    return _cli_words.flags_of(typer.main.get_command(cli.app), words)


@pytest.mark.parametrize(
    "message, want",
    [
        ("use_raw=True, but adata.raw is None", "--use-raw, but adata.raw is None"),
        ("pass layer=... or use_raw=True", "pass --layer ... or --use-raw"),
        ("try adata.X (no layer, use_raw=False)", "try adata.X (no layer, no --use-raw)"),
        ('fill="shard" is not one of "auto": did', '--fill shard is not one of "auto": did'),
        ("layer='my layer' is not", "--layer 'my layer' is not"),
        ("key_added='' is", "--key '' is"),
        ("another key_added, or replace it with overwrite=True", "another --key, or replace it with --overwrite"),
        ("at least 10.0 % (min_coverage=0.1). Searched", "at least 10.0 % (--min-coverage 0.1). Searched"),
        ("seed=-1 is not; strict=True", "--seed -1 is not; --strict"),
        ('device="cuda:1", precision="bf16" needs', "--device cuda:1, --precision bf16 needs"),
        ("choose one with checkpoint=...: a.ckpt", "choose one with --checkpoint ...: a.ckpt"),
        ('then se600m.load_model("path/to/SE-600M")', "then --model path/to/SE-600M"),
        ("or embed with_dataset_embedding=True (106 columns)", "or embed --with-dataset-embedding (106 columns)"),
        ("create it with se600m.embed(adata, key_added='X_2')", "create it with `se600m embed IN --key X_2`"),
        ("with se600m.embed_file('my cells.h5ad', 'e.h5ad')", "with `se600m embed 'my cells.h5ad' e.h5ad`"),
        ("se600m.index(cells, 'a.lance', ann=True)", "`se600m index IN a.lance --ann`"),
        ("se600m.index(..., ann=True)", "`se600m index ... --ann`"),
        # What is quoted, a path or Python code stays.
        ("'use_raw=True' can't be and doesn't", "'use_raw=True' can't be and doesn't"),
        ("in /data/use_raw/batch_size=3/x.h5ad", "in /data/use_raw/batch_size=3/x.h5ad"),
        ('anndata.concat(..., join="outer", fill_value=0)', 'anndata.concat(..., join="outer", fill_value=0)'),
        ("adata.X = np.expm1(adata.X)", "adata.X = np.expm1(adata.X)"),
    ],
)
def test_options_are_named_as_flags(message, want):
    assert _cli_words.in_flags(message, flags("embed", "in.h5ad", "out.h5ad")) == want


def test_a_command_that_takes_an_argument_names_it():
    assert _cli_words.in_flags("model='x' is", flags("info", "x")) == "MODEL x is"
    assert _cli_words.in_flags("model='x' is", flags("tokenize", "x")) == "--model x is"


def test_an_option_that_a_message_begins_with_is_a_flag():
    names = flags("embed", "in.h5ad", "out.h5ad")
    assert _cli_words.in_flags("report is 'model is': give", names) == "--report is 'model is': give"
    assert _cli_words.in_flags("the report is 'a.txt'", names) == "the report is 'a.txt'"


@pytest.mark.parametrize("words", [("download", "SE-600M"), ("embed", "in.h5ad", "out.h5ad")])
def test_a_switch_with_a_flag_to_turn_it_off_is_named_by_that(words):
    said = _cli_words.in_flags("delete_source=True, but convert=False: nothing is left; copy=False", flags(*words))
    assert said == "--delete-source, but --no-convert: nothing is left; copy=False"
    assert _cli_words.in_flags("convert=True", flags(*words)) == "--convert"


def test_a_flag_of_another_command_is_named_too():
    assert _cli_words.in_flags("with with_dataset_embedding=True", flags("decode")) == "with --with-dataset-embedding"


def test_a_command_with_other_names_than_most_says_its_own():
    names = flags("transfer-labels", "a.h5ad", "b.h5ad", "c.csv")
    assert _cli_words.in_flags("key='x' is not in reference.obs", names) == "--label x is not in reference.obs"
    assert _cli_words.in_flags("choose another key_added", names) == "choose another --key-added"
    assert _cli_words.in_flags("use_rep='x' is not", names) == "--key x is not"
    assert _cli_words.in_flags("se600m.embed(adata, key_added='x')", names) == "`se600m embed IN --key x`"


def test_the_source_of_shards_is_the_flag_of_merge():
    assert _cli_words.in_flags("src='a.h5ad' is of no use", flags("merge", "o.npy")) == "--source a.h5ad is of no use"


def test_every_flag_of_embed_is_written_as_a_user_types_it():
    names = flags("embed")
    for name in ("layer", "use_raw", "gene_column", "min_coverage", "strict", "threads", "with_dataset_embedding"):
        assert names[name] == f"--{name.replace('_', '-')}"
    said = _cli_words.in_flags('layer="it\'s"', names)
    assert shlex.split(said) == ["--layer", "it's"]


def test_no_message_of_the_page_speaks_python_to_the_shell():
    """Every message that is known, as the command would say it."""
    names = flags("embed")
    written = [n for n in names if "_" in n] + ["layer", "fill", "seed", "strict", "overwrite", "precision", "threads"]
    python = re.compile(rf"(?<![\w.'\"/])({'|'.join(written)})=")
    messages = [line[2:] for line in (ROOT / "docs" / "errors.md").read_text().splitlines() if line.startswith("> ")]
    assert sum(bool(python.search(message)) for message in messages) > 40
    left = [m for m in messages if python.search(_cli_words.in_flags(m, names))]
    assert left == []
