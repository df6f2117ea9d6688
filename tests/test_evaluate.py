"""The evaluation's own arithmetic: a wrong score would praise, or damn, a model wrongly."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import evaluate
import scores


def blobs(n_blobs, apart, n_each=40, seed=0):
    """Groups of cells, far from or on top of one another."""
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_blobs), n_each)
    centres = apart * draw.standard_normal((n_blobs, 8))
    return (centres[labels] + draw.standard_normal((len(labels), 8))).astype(np.float32), labels


@pytest.mark.parametrize("n_clusters", [4, 7, 12])
def test_leiden_gives_the_number_of_clusters_asked_for(n_clusters):
    values, labels = blobs(4, apart=3)
    cells = scores.cell_graph(values, "euclidean")
    clusters = scores.matched_leiden(cells, n_clusters)
    assert len(np.unique(clusters)) == n_clusters
    assert np.array_equal(clusters, scores.matched_leiden(cells, n_clusters)), "same seed, same clusters"
    if n_clusters == 4:
        assert adjusted_rand_score(labels, clusters) == 1


def test_where_no_resolution_gives_the_number_the_nearest_is_given_and_said():
    values, labels = blobs(6, apart=30)  # six parts that no edge joins: never fewer clusters
    few = labels % 3
    *_, n_clusters = scores.clustering(values, few, "euclidean")
    assert n_clusters == [6]
    row = evaluate.Scores("some", 0.5, 0.5, 0.25, 0.5, 0.5, n_clusters)
    assert "| **0.250** (6 clusters) |" in evaluate.table([row], n_labels=3)


def test_the_best_of_each_column_is_bold_whoever_has_it():
    rows = [
        evaluate.Scores("State", 0.7, 0.6, 0.5, 0.4, 0.3, [10]),
        "scVI: not installed",
        evaluate.Scores("PCA", 0.8, 0.6, 0.4, 0.5, -0.1, [10]),
    ]
    assert evaluate.table(rows, n_labels=10).split("\n")[2:] == [
        "| State | 0.700 | **0.600** | **0.500** | 0.400 | **0.300** |",
        "| scVI: not installed | | | | | |",
        "| PCA | **0.800** | **0.600** | 0.400 | **0.500** | -0.100 |",
    ]


def test_the_number_nearest_to_the_one_asked_for_is_kept():
    """Numbers jump from 3 to 9 at resolution 1."""
    by_resolution = lambda resolution: np.arange(3 if resolution < 1 else 9)  # noqa: E731
    assert len(scores.nearest_count(by_resolution, 5)) == 3
    assert len(scores.nearest_count(by_resolution, 7)) == 9
    assert len(scores.nearest_count(by_resolution, 9)) == 9


def test_clusters_are_compared_with_labels():
    values, labels = blobs(4, apart=3)
    ari, nmi, n_clusters = scores.clustering(values, labels, "euclidean")
    assert (ari, nmi, n_clusters) == (pytest.approx(1), pytest.approx(1), [4])
    shuffled = np.random.default_rng(0).permutation(labels)
    ari, nmi, _ = scores.clustering(values, shuffled, "euclidean")
    assert abs(ari) < 0.05
    assert nmi < 0.1


def test_neighbours_of_other_folds_vote():
    values, labels = blobs(4, apart=3)
    assert scores.classification(values, labels, "euclidean") == (1, 1)
    nothing_to_learn = np.random.default_rng(0).permutation(labels)
    accuracy, f1 = scores.classification(values, nothing_to_learn, "euclidean")
    assert 0.1 < accuracy < 0.4
    assert 0.1 < f1 < 0.4


def test_the_metric_counts():
    """Cells of two directions, at random distances from the origin: the angle tells them apart."""
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    values = np.eye(2)[labels] + 0.4 * draw.random((120, 2))
    values *= 10 ** draw.uniform(-3, 3, (120, 1))
    assert scores.classification(values, labels, "cosine")[0] == 1
    assert scores.classification(values, labels, "euclidean")[0] < 0.95


def test_correlations_are_by_gene_and_by_rank():
    measured = np.array([[0, 1, 5, 1], [1, 3, 5.5, 2], [2, 2, 6, 3.0]], np.float32)
    predicted = np.array([[0, 3, 7, 1], [10, 1, 7, 3], [11, 2, 7, 2.0]], np.float32)
    assert scores.correlations(predicted, measured) == pytest.approx([1, -1, 0, 0.5])


def test_markers_are_those_measured_and_known():
    everything = list(evaluate.MARKERS)
    assert evaluate.markers(everything, everything) == everything[:20]
    assert evaluate.markers(everything[3:], everything[:-2]) == everything[3:23]
    assert evaluate.markers(["CD3D", "ACTB"], everything) == ["CD3D"]


def test_counts_are_recovered():
    adata = evaluate.cells()
    counts = evaluate.counts(adata)
    depth = adata.obs["n_counts"].to_numpy()[:, None]
    log1p = np.log1p(counts * 1e4 / depth)
    assert np.abs(log1p - adata.X.toarray()).max() < 2e-3, "they were rounded to three decimals"
    assert (counts[counts > 0].min(), adata.shape) == (1, (700, 765))


def test_bars_compare_with_pca():
    def row(accuracy, ari):
        return evaluate.Scores("", accuracy, 0, ari, 0, 0, [10])

    def passed(*arguments):
        return [ok for _, ok in evaluate.bars(*arguments)]

    half = {"CD3D": 0.4, "LYZ": 0.5, "NKG7": 0.9}
    assert passed(row(0.76, 0.46), row(0.8, 0.5), half) == [True, True, True, True]
    assert passed(row(0.74, 0.46), row(0.78, 0.5), half) == [False, True, True, True]
    assert passed(row(0.76, 0.44), row(0.82, 0.5), half | {"GNLY": 0.1}) == [True, False, False, False]
    assert passed(row(0.76, 0.46), row(0.8, 0.5), None) == [True, True, True, False]


def test_text_is_put_between_its_marks():
    text = "a <!-- t -->old\n<!-- /t --> b"
    put = evaluate.put_between(text, "t", r"new \1")
    assert put == "a <!-- t -->\nnew \\1\n<!-- /t --> b"
    assert evaluate.put_between(put, "t", r"new \1") == put
    with pytest.raises(ValueError, match="there must be one <!-- u -->"):
        evaluate.put_between(text, "u", "new")


def test_the_readme_has_the_table():
    readme = evaluate.README.read_text()
    without = evaluate.put_between(readme, "evaluate", "")
    assert f"| {evaluate.PCA} |" in readme
    assert f"| {evaluate.PCA} |" not in without


def test_decoded_markers_beside_each_other():
    decoded = {"A": 0.1, "B": 0.9, "C": 0.5, "D": -0.001, "E": 0.3}
    lines = evaluate.decoded_table(decoded, columns=2).split("\n")
    assert "of 5 marker genes" in lines[0]
    assert "**0.30**" in lines[0]
    assert lines[-3:] == ["| B | 0.90 | A | 0.10 |", "| C | 0.50 | D | 0.00 |", "| E | 0.30 | | |"]
