"""What is said of values that are no counts and no log1p values, and that nothing is said of those that are."""

import re
import warnings

import anndata
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
from scipy.stats import rankdata

import se600m
from conftest import IMMUNE
from se600m import _scales, errors

N_CELLS = 60


@pytest.fixture(scope="module")
def counts():
    return anndata.read_h5ad(IMMUNE)[:N_CELLS].copy()


def normalised(x, depth):
    return x / x.sum(1, keepdims=True) * depth


def variable(x, n=2000):
    """Keep the genes that vary most, as a selection of highly variable genes does."""
    return np.sort(np.argsort(-x.var(0), kind="stable")[:n])


def tpm(x):
    length = np.random.default_rng(1).uniform(200, 5000, x.shape[1])
    return normalised(x / length, 1e6)


def ambient(x, share=0.1):
    """Take away a share of each cell in the proportions of all cells, as SoupX does."""
    profile = x.sum(0) / x.sum()
    return np.maximum(x - share * x.sum(1, keepdims=True) * profile, 0)


def thinned(x, share):
    return np.random.default_rng(2).binomial(x.astype(int), share).astype(float)


def per_cell(x, low, high):
    return x / np.random.default_rng(3).uniform(low, high, len(x))[:, None]


def ranks(x, method):
    out = np.zeros_like(x)
    for row, of in zip(out, x, strict=True):
        row[of > 0] = rankdata(of[of > 0], method=method)
    return out


def smoothed(x):
    """Average cells with random weights, as imputation over neighbours does."""
    weights = np.random.default_rng(4).random((len(x), len(x)))
    return weights / weights.sum(1, keepdims=True) @ x


def unit_variance(x):
    deviation = x.std(0, ddof=1)
    return x / np.where(deviation > 0, deviation, 1)


def largest_one(x):
    largest = x.max(0)
    return x / np.where(largest > 0, largest, 1)


RIGHT = {
    "counts": lambda x: x,
    "counts of few genes": lambda x: x[:, variable(x, 300)],
    "counts of full-length reads": lambda x: np.floor(x * 7.3),
    "log1p of counts": np.log1p,
    "log1p of 10,000": lambda x: np.log1p(normalised(x, 1e4)),
    "log1p of 10,000, variable genes": lambda x: np.log1p(normalised(x, 1e4))[:, variable(x)],
    "log1p of counts per million": lambda x: np.log1p(normalised(x, 1e6)),
    "log1p of the median depth": lambda x: np.log1p(normalised(x, np.median(x.sum(1)))),
    "log1p of TPM": lambda x: np.log1p(tpm(x)),
    "log1p of corrected counts": lambda x: np.log1p(normalised(ambient(x), 1e4)),
    "log1p of 10,000, in 16 bits": lambda x: np.log1p(normalised(x, 1e4)).astype(np.float16).astype(np.float32),
    "log10 of counts per million": lambda x: np.log10(1 + normalised(x, 1e6)),
    "log2 of 10,000": lambda x: np.log2(1 + normalised(x, 1e4)),
    "counts without ones": lambda x: np.where(x > 1, x, 0),
    "log1p of 10,000, to two decimals": lambda x: np.round(np.log1p(normalised(x, 1e4)), 2),
    "log1p of 10,000, in steps of 1/64": lambda x: np.round(np.log1p(normalised(x, 1e4)) * 64) / 64,
}

LOG2 = r"most likely logarithms, log2\(1 \+ x\): 2\*\*x - 1 {}.*Use expression='log1p'.* \(the base does not matter"
LOG2 += r".*: adata\.X = adata\.X \* np\.log\(2\)$"
OWN = "counts that were divided by a different number for each cell, such as its total, its volume or a size factor.*"
WRONG = {
    "log2 of counts per million": (
        lambda x: np.log2(1 + normalised(x, 1e6)),
        LOG2.format("adds up to 1,000,000 in 60"),
    ),
    "log2 of counts per million, variable genes": (
        lambda x: np.log2(1 + normalised(x, 1e6))[:, variable(x)],
        LOG2.format("gives whole multiples of one number in 60"),
    ),
    "log2 of TPM": (lambda x: np.log2(1 + tpm(x)), LOG2.format("adds up to 1,000,000 in 60")),
    "log2 of counts per million, in 16 bits": (
        lambda x: np.log2(1 + normalised(x, 1e6)).astype(np.float16).astype(np.float32),
        LOG2.format(r"adds up to 999,\d+ in 59 of 60"),
    ),
    "log2 of TPM, variable genes": (
        lambda x: np.log2(1 + tpm(x))[:, variable(x)],
        r"fractional values too large for natural.*base 2, use expression='log1p'.* = adata\.X \* np\.log\(2\)$",
    ),
    "log1p of 10,000,000": (
        lambda x: np.log1p(normalised(x, 1e7)),
        r"most likely logarithms, log\(1 \+ x\): exp\(x\) - 1 adds up to 10,000,000 .*"
        r"Use expression='log1p' for all cells$",
    ),
    "log1p of proportions": (
        lambda x: np.log1p(normalised(x, 1)),
        r"log\(1 \+ x\) of values that add up to 1 per cell .* adata\.X = np\.log1p\(np\.expm1\(adata\.X\) \* 10000\)$",
    ),
    "the logarithm twice": (
        lambda x: np.log1p(np.log1p(normalised(x, 1e4))),
        r"logarithm of adata\.X was most likely taken twice: .*adds up to 10,000 .*: adata\.X = np\.expm1\(adata\.X\)$",
    ),
    "square roots": (
        lambda x: np.sqrt(normalised(x, 1e4)),
        r"square roots: x\*\*2 .* 10,000 .*adata\.X = np\.log1p\(adata\.X\.power\(2\)\)$",
    ),
    "square roots of counts": (
        np.sqrt,
        r"square roots: x\*\*2 gives whole multiples .*adata\.X = np\.rint\(adata\.X\.power\(2\)\)$",
    ),
    "cells of unit length": (
        lambda x: np.log1p(x) / np.linalg.norm(np.log1p(x), axis=1, keepdims=True),
        r"or cells scaled to the same length: x\*\*2 adds up to 1 in",
    ),
    "inverse hyperbolic sines": (
        lambda x: np.arcsinh(x / 5),
        r"inverse hyperbolic sines: sinh\(x\) gives whole.*adata\.X = np\.rint\(np\.sinh\(adata\.X\) / 0\.2\)$",
    ),
    "counts per million": (
        lambda x: normalised(x, 1e6),
        r"fractional values that add up to 1,000,000 in every cell: they are normalised, but not log-transformed, and "
        r"were treated as counts\. Embed counts or log1p values: adata\.X = np\.log1p\(adata\.X\)$",
    ),
    "TPM": (tpm, "fractional values that add up to 1,000,000 in every cell"),
    "proportions": (
        lambda x: normalised(x, 1),
        r"add up to 1 in 60 of 60 sampled cells.*not log-transformed\. "
        r"They were treated as log1p.*np\.log1p\(adata\.X \* 10000\)$",
    ),
    "counts per million, variable genes": (lambda x: normalised(x, 1e6)[:, variable(x)], OWN + "treated as raw counts"),
    "counts divided by volume": (
        lambda x: per_cell(x, 200, 2000),
        OWN + r"0\.000\d+ to 0\.00\d+, and add up to [\d.]+ \(median\)\. They were treated as log1p values",
    ),
    "counts divided by size factors": (lambda x: per_cell(x, 0.5, 2), OWN),
    "counts times a constant": (
        lambda x: x * 0.001,
        r"most likely counts times 0\.001: .*treated as log1p values\. .*adata\.X = np\.rint\(adata\.X / 0\.001\)$",
    ),
    "counts times a large constant": (lambda x: x * 100.5, r"counts times 100\.5: .*treated as raw counts"),
    "counts times 0.37": (lambda x: x * 0.37, r"counts times 0\.37: .*adata\.X = np\.rint\(adata\.X / 0\.37\)$"),
    "counts times a whole number": (
        lambda x: x * 7,
        r"counts times 7: all are whole multiples of it in 60 of 60 .*treated as raw counts\. Embed the counts: "
        r"adata\.X = np\.rint\(adata\.X / 7\)$",
    ),
    "counts times 1,000,000,000": (
        lambda x: x * 1e9,
        r"counts times 1,000,000,000: .*adata\.X = np\.rint\(adata\.X / 1000000000\)$",
    ),
    "counts from 7 on, times a constant": (
        lambda x: np.floor(x * 7.3) * 2.5,
        r"counts times 2\.5: .*adata\.X = np\.rint\(adata\.X / 2\.5\)$",
    ),
    "one value that no count reaches": (
        lambda x: np.where(np.arange(x.size).reshape(x.shape) == np.argmax(x), 4e9, x),
        r"^the largest value of adata\.X is 4,000,000,000, but no gene is counted more than 1,000,000,000 times in a "
        r"cell\. Embed counts or log1p values$",
    ),
    "fractional values that no count reaches": (
        lambda x: ambient(x) * 1e9,
        r"largest value of adata\.X is [\d,]+, but",
    ),
    "zeros and ones": (lambda x: (x > 0) * 1.0, "all values of the 60 cells of adata.X are 0 or 1"),
    "ranks": (lambda x: ranks(x, "ordinal"), "most likely ranks: .*treated as raw counts"),
    "ranks, ties averaged": (lambda x: ranks(x, "average"), "most likely ranks"),
    "ranks, ties lowest": (lambda x: ranks(x, "min"), "most likely ranks"),
    "ranks over all genes": (lambda x: rankdata(x[:, variable(x)], axis=1), "most likely ranks"),
    "unit variance": (
        lambda x: unit_variance(np.log1p(normalised(x, 1e4))),
        r"the genes of adata\.X were most likely scaled separately: .*a standard deviation of 1 over the 60 cells",
    ),
    "unit variance, cut off": (
        lambda x: np.minimum(unit_variance(np.log1p(normalised(x, 1e4))), 5),
        "scaled separately: .*a standard deviation of 1",
    ),
    "genes from 0 to 1": (
        lambda x: largest_one(np.log1p(normalised(x, 1e4))),
        "scaled separately: .*a largest value of 1",
    ),
    "imputed": (
        lambda x: smoothed(np.log1p(normalised(x, 1e4))),
        r"express \d+ % of all expressed genes \(median\).*imputed",
    ),
    "corrected counts": (
        ambient,
        "fractional values too large for logarithms.*corrected for ambient RNA, or counts estimated",
    ),
    "z-scores": (
        lambda x: unit_variance(np.log1p(x)) - unit_variance(np.log1p(x)).mean(0),
        "negative values in 60 of 60 cells",
    ),
    "Pearson residuals": (
        lambda x: sc.experimental.pp.normalize_pearson_residuals(
            anndata.AnnData(x[:, variable(x)] + 0.0), inplace=False
        )["X"],
        "negative values in 60 of 60 cells",
    ),
}


def data(counts, make):
    """Put values into an AnnData with the right genes."""
    x = counts.X.toarray().astype(np.float64)
    values = make(x)
    genes = slice(None) if values.shape[1] == x.shape[1] else variable(x, values.shape[1])
    return anndata.AnnData(sp.csr_matrix(values.astype(np.float32)), var=counts.var.iloc[genes])


def said(adata, **options):
    """Give what is said of the values when cells are tokenised."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        se600m.tokenize(adata, min_coverage=0, **options)
    messages = [str(w.message) for w in seen if issubclass(w.category, errors.DataWarning)]
    return [m for m in messages if "are known to the model and account for" not in m]


@pytest.mark.parametrize("kind", RIGHT)
def test_nothing_is_said_of_what_is_right(counts, kind):
    assert said(data(counts, RIGHT[kind])) == []


def test_nothing_is_said_of_counts_that_all_have_one_total(counts):
    """As after scanpy's downsample_counts: only normalised values were not meant to."""
    adata = counts.copy()
    sc.pp.downsample_counts(adata, counts_per_cell=900)
    assert len(np.unique(np.asarray(adata.X.sum(1)))) == 1
    assert said(adata, expression="counts") == []


def test_nothing_is_said_of_a_shallow_panel_at_its_median_depth(counts):
    x = thinned(counts.X.toarray(), 0.02)
    few = x[:, np.sort(np.argsort(-x.sum(0), kind="stable")[:300])]
    adata = data(counts, lambda _: few)
    adata = adata[adata.X.sum(1).A1 > 5].copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    assert np.median(np.expm1(adata.X.toarray()).sum(1)) < 50
    assert said(adata) == []


def test_nothing_is_said_of_scanpys_cells():
    assert said(sc.datasets.pbmc68k_reduced(), use_raw=True) == []


def evidence(x):
    sample = _scales.Sample(len(x))
    sample.take(0, sp.csr_matrix(x))
    return sample.evidence()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_a_few_cells_of_log1p_values_are_no_logarithms_of_logarithms(counts, n):
    """Several draws: whole, of a panel, rounded as in scanpy's file, and in 16 bits. Twice-logged ones are found."""
    x = counts.X.toarray()
    panel = np.sort(np.argsort(-x.sum(0), kind="stable")[:300])
    scanpys = sc.datasets.pbmc68k_reduced().raw.X.toarray()
    for draw in range(12):
        chosen = np.arange(n) if draw == 0 else np.random.default_rng(draw).choice(N_CELLS, n, replace=False)
        once = np.log1p(normalised(x[chosen], 1e4))
        assert evidence(once).transform is _scales.LOG1P
        assert evidence(np.log1p(once)).transform is _scales.LOG1P_TWICE
        for values in (once[:, panel], scanpys[chosen], once.round(1 + draw % 3), once.astype(np.float16)):
            assert evidence(values.astype(np.float64)).transform is not _scales.LOG1P_TWICE
    assert evidence(np.log1p(np.log1p(x[:20]))).transform is _scales.LOG1P_TWICE


def test_equal_values_are_one_sign(counts):
    """Many of the smallest value, or of one other, may be multiples of it by chance."""
    assert evidence(np.tile([0.5, 0.5, 1.0, 1.0], (4, 20))).transform is None
    assert evidence(np.full((4, 40), 0.3)).transform is None


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_named_with_the_way_out(counts, kind):
    make, message = WRONG[kind]
    (found,) = said(data(counts, make))
    assert re.search(message, found), found


@pytest.mark.parametrize("kind", [kind for kind, (_, message) in WRONG.items() if "= " in message])
def test_the_line_that_a_message_names_puts_it_right(counts, kind):
    make, _ = WRONG[kind]
    adata = data(counts, make)
    (found,) = said(adata)
    line = re.search(r"adata\.X = .*", found)[0]
    exec(line, {"adata": adata, "np": np})
    assert said(adata) == []


def test_the_line_for_a_dense_matrix(counts):
    adata = data(counts, np.sqrt)
    adata.X = adata.X.toarray()
    (found,) = said(adata)
    assert found.endswith("adata.X = np.rint(adata.X**2)")


def test_the_line_for_raw_and_for_a_layer(counts):
    adata = data(counts, lambda x: np.log2(1 + normalised(x, 1e6)))
    adata.layers["log2"] = adata.X
    (found,) = said(adata, layer="log2")
    assert found.endswith("adata.layers['log2'] = adata.layers['log2'] * np.log(2)")
    adata.raw = adata
    (found,) = said(adata, use_raw=True)
    assert found.endswith("adata = adata.raw.to_adata(), then adata.X = adata.X * np.log(2)")


@pytest.mark.parametrize("depth", [1e4, 1e6])
@pytest.mark.parametrize("base", [2, 10])
def test_the_base_of_a_logarithm_makes_no_difference(counts, base, depth):
    """What is said of log2 values holds: with expression="log1p" they are embedded as log1p values are."""
    natural = data(counts, lambda x: np.log1p(normalised(x, depth)))
    other = data(counts, lambda x: np.log1p(normalised(x, depth)) / np.log(base))
    assert said(other, expression="log1p") == []
    (found,) = said(other, expression="counts")
    assert re.search(rf"expression='counts', but 60 of 60 .*log{base}\(1 \+ x\).*Use expression='log1p'", found)
    one, two = (se600m.load_model().compute(a[:6], expression="log1p").embedding for a in (natural, other))
    np.testing.assert_allclose(one, two, atol=2e-5)


def test_another_matrix_is_named_if_it_looks_right(counts):
    adata = data(counts, lambda x: per_cell(x, 200, 2000))
    adata.layers["counts"] = counts.X
    (found,) = said(adata)
    assert found.endswith("Embed the counts: try layer='counts'")


def test_whole_numbers_are_no_logarithms(counts):
    shallow = data(counts, lambda x: np.minimum(x, 4))
    (found,) = said(shallow, expression="log1p")
    assert "60 of 60 cells of adata.X have only whole numbers, as counts do: use expression='counts'" in found
    assert said(shallow, expression="counts") == []


def test_cells_of_two_kinds_are_judged_one_by_one(counts):
    """Half the cells are counts, half are log1p values: no one transform explains that."""
    mixed = data(counts, lambda x: np.vstack([x[:30], np.log1p(normalised(x[30:], 1e4))]))
    (found,) = said(mixed)
    assert found.startswith("30 of 60 cells of adata.X were treated as raw counts and 30 as log1p values")


def test_a_few_counts_among_logarithms_are_counts(counts):
    mixed = data(counts, lambda x: np.vstack([np.minimum(x[:2], 100), np.log1p(normalised(x[2:], 1e4))]))
    (found,) = said(mixed)
    assert found.startswith("2 of 60 cells of adata.X were treated as raw counts and 58 as log1p values")


def test_how_many_cells_show_it(counts):
    odd = data(counts, lambda x: np.vstack([ambient(x)[:2], np.log2(1 + normalised(x[2:], 1e6))]))
    (found,) = said(odd)
    assert "2**x - 1 adds up to 1,000,000 in 58 of 60 sampled cells" in found


def test_a_single_cell(counts):
    x = counts.X[0].toarray()
    for values, message in (
        (x, None),
        (np.log1p(normalised(x, 1e4)), None),
        (
            np.log2(1 + normalised(x, 1e6)),
            r"log2\(1 \+ x\): 2\*\*x - 1 gives whole multiples of one number in the sampled cell",
        ),
        (x * 0.001, "counts times 0.001"),
    ):
        found = said(anndata.AnnData(sp.csr_matrix(values.astype(np.float32)), var=counts.var))
        assert (found == []) if message is None else re.search(message, found[0])


def test_cells_that_are_all_alike_prove_nothing(counts):
    sample = _scales.Sample(30)
    sample.take(0, np.repeat(np.log1p(ambient(counts.X.toarray().astype(float)))[:1], 30, axis=0))
    assert sample.evidence().transform is None


def test_chunks_change_no_sample(counts):
    values = data(counts, np.log1p).X
    whole, parts = _scales.Sample(1000), _scales.Sample(1000)
    rows = sp.vstack([values] * 17).tocsr()[:1000]
    whole.take(0, rows)
    for first in range(0, 1000, 7):
        parts.take(first, rows[first : first + 7].toarray())
    assert len(whole._cells) == 64
    assert all(np.array_equal(np.sort(a), np.sort(b)) for a, b in zip(whole._cells, parts._cells, strict=True))
    assert whole.evidence() == parts.evidence()


def test_values_stored_twice_are_added(counts):
    x = counts.X[:, :].astype(np.float32)
    twice = sp.csr_matrix((np.repeat(x.data / 2, 2), np.repeat(x.indices, 2), x.indptr * 2), shape=x.shape)
    adata = anndata.AnnData(x, var=counts.var)
    adata.layers["twice"] = twice
    assert said(adata, layer="twice") == []


@pytest.mark.parametrize(
    "values, step",
    [
        ([1, 2, 5], 1), ([2, 4, 10], 2), ([7, 14, 22], 1), ([6, 9, 15], 3), ([0.37, 0.74, 3.7], 0.37),
        ([4, 8], None), ([5], None), ([1.0, 1.7, 2.3], None), ([0.69, 1.1, 1.39], None), (np.log1p([1, 2, 3, 4]), None),
    ],
)  # fmt: skip
def test_the_step_of_values(values, step):
    assert _scales._step(np.array(values, float)) == (None if step is None else pytest.approx(step))


def test_one_cell_is_spoken_of_as_one(counts):
    x = counts.X.toarray().astype(np.float64)
    empty, logs = x.copy(), x.copy()
    empty[5] = 0
    logs[5] = np.log1p(normalised(x[5:6], 1e4))
    (found,) = said(data(counts, lambda _: empty))
    assert found == (
        "1 of 60 cells of adata.X expresses no gene that the model knows: its embedding has no meaning, so drop it"
    )
    (found,) = said(data(counts, lambda _: logs), expression="counts")
    assert found.startswith("expression='counts', but 1 of 60 cells of adata.X has small fractional values")
    logs[:] = x
    logs[5, 3] = -1
    (found,) = said(data(counts, lambda _: logs))
    assert found.startswith("1 negative value in 1 of 60 cells of adata.X was set to zero")
    alone = anndata.AnnData(sp.csr_matrix(ambient(x)[:1].astype(np.float32)), var=counts.var)
    assert said(alone)[0].startswith("1 of 1 cell of adata.X has fractional values")


@pytest.mark.parametrize(
    "value, text",
    [(1e6, "1,000,000"), (0.001, "0.001"), (999_930.7, "999,931"), (3, "3"), (0.1 + 0.2, "0.3"), (1e-7, "1e-07")],
)
def test_numbers_are_written_as_people_do(value, text):
    assert _scales.number(value) == text
