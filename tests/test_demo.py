"""The picture says what is in the data."""

import numpy as np

import demo


def test_a_cluster_has_the_colour_of_its_commonest_type_and_smaller_ones_are_paler():
    types = np.array([0, 0, 0, 0, 1, 1, 1, 0, 0])
    clusters = np.array([0, 0, 2, 2, 1, 1, 1, 1, 2])
    red, blue = [1, 0, 0], [0, 0, 1]
    colors = demo.cluster_colors(clusters, types, np.array([red, blue], float))
    assert np.allclose(colors, [[1, 0.3, 0.3], blue, red])
