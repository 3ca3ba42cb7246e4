import keras
import numpy as np
import pytest

from keras_c2kd import KnowledgeDistillation
from keras_c2kd.analysis import RankDistortion
from keras_c2kd.data import PairedArrays
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller


def by_hand(first, second):
    """Kendall's tau-a of two rows, by its definition."""
    total = 0
    for i in range(len(first)):
        for j in range(i):
            total += np.sign((first[i] - first[j]) * (second[i] - second[j]))
    return 2 * total / (len(first) * (len(first) - 1))


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.0, 0.4])
def test_the_share_of_samples_that_are_ranked_differently(threshold):
    distiller = toy_distiller(KnowledgeDistillation(4.0, 1.0, 1.0))
    inputs, labels = toy_data(21)
    # The last batch is smaller: the share is of samples, not of batches.
    dataset = PairedArrays(inputs, labels, batch_size=8)
    callback = RankDistortion(dataset, threshold)
    history = distiller.fit(
        dataset, epochs=1, callbacks=[callback], verbose=0
    ).history
    student = distiller.student.predict(inputs["visual"], verbose=0)
    teacher = distiller.teacher.predict(inputs["audio"], verbose=0)
    expected = np.mean(
        [by_hand(a, b) < threshold for a, b in zip(student, teacher)]
    )
    assert history["rank_distorted_share"] == [pytest.approx(expected)]
    assert 0 < expected < 1
    assert isinstance(history["rank_distorted_share"][0], float)
    assert keras.ops.shape(student) == (21, 4)
