"""Names for the feature maps of networks that others have built."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_c2kd")
class FoldFrames(keras.layers.Layer):
    """`(batch, frames, ...)` to `(batch * frames, ...)`."""

    def call(self, inputs):
        """Return the frames as samples of their own."""
        return ops.reshape(inputs, (-1, *inputs.shape[2:]))

    def compute_output_shape(self, input_shape):
        """Return the shape without the axis of frames."""
        return (None, *input_shape[2:])


@keras.saving.register_keras_serializable("keras_c2kd")
class UnfoldFrames(keras.layers.Layer):
    """`(batch * frames, ...)` back to `(batch, frames, ...)`.

    Args:
        frames: Integer, number of frames of a sample.
        **kwargs: As for every Keras layer.
    """

    def __init__(self, frames, **kwargs):
        super().__init__(**kwargs)
        self.frames = frames

    def call(self, inputs):
        """Return the frames of a sample together."""
        return ops.reshape(inputs, (-1, self.frames, *inputs.shape[1:]))

    def compute_output_shape(self, input_shape):
        """Return the shape with the axis of frames."""
        return (None, self.frames, *input_shape[1:])

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "frames": self.frames}


def named_stages(network, stages, frames=None):
    """Return the network with a layer of a given name behind some layers.

    The layers and their variables stay the same. The new ones change
    nothing; they are what `student_features={"level_1": "stage_1"}` finds.

    Args:
        network: Functional `keras.Model`.
        stages: Dict from the new names to the names of the network's layers.
        frames: Integer if the network runs on folded frames: the named maps
            are then `(batch, frames, height, width, channels)`. `None` for
            images.

    Returns:
        Functional `keras.Model` of the same inputs and outputs.

    Raises:
        ValueError: If the network lacks one of the layers.
    """
    names = {layer: name for name, layer in stages.items()}
    missing = set(names) - {layer.name for layer in network.layers}
    if missing:
        raise ValueError(
            f"{network.name!r} has no layers {sorted(missing)} to call "
            f"{sorted(names[layer] for layer in missing)}."
        )

    def call(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        name = names.get(layer.name)
        if name is None:
            return outputs
        if frames is None:
            return keras.layers.Identity(name=name)(outputs)
        outputs = UnfoldFrames(frames, name=name)(outputs)
        return FoldFrames(name=f"{name}_folded")(outputs)

    return keras.models.clone_model(
        network, clone_function=lambda layer: layer, call_function=call
    )
