"""How many samples the two networks rank differently, epoch by epoch."""

import keras

from keras_c2kd.modalities import modality_input
from keras_c2kd.ops import kendall_rank_correlation


class RankDistortion(keras.callbacks.Callback):
    """Log the share of samples with a Kendall correlation below a threshold.

    `rank_distorted_share = mean(kendall(f_T, f_S) < threshold)` over all
    given pairs at the end of each epoch, of the two networks' own logits in
    inference mode. Times the batch size it is the dotted line of the paper's
    Fig. 3. Because it looks at the networks and not at the method, the figure
    means the same for every method that has a teacher.

    Args:
        inputs: Dict of both modalities, arrays of shape `(pairs, ...)`; one
            forward pass of both networks takes them all.
        threshold: Float, the paper's omega. Defaults to 0.

    Reference: Huo et al., CVPR 2024, Fig. 3, with the correlation of Eq. 3
    and the logits of Eq. 4. The authors' code correlates the proxies' logits
    when it selects; methods without proxies have none.
    """

    def __init__(self, inputs, threshold=0.0):
        super().__init__()
        self.inputs = inputs
        self.threshold = threshold

    def on_epoch_end(self, epoch, logs=None):
        """Add `rank_distorted_share` to the epoch's logs."""
        distiller = self.model
        student, teacher = (
            network(modality_input(self.inputs, modality), training=False)
            for network, modality in (
                (distiller.student, distiller.student_modality),
                (distiller.teacher, distiller.teacher_modality),
            )
        )
        correlation = keras.ops.convert_to_numpy(
            kendall_rank_correlation(teacher, student)
        )
        share = (correlation < self.threshold).mean()
        if logs is not None:
            logs["rank_distorted_share"] = float(share)
