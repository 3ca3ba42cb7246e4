"""What a network gives, told by running it on symbolic tensors."""

import inspect

import keras


def symbolic_output(model, inputs=None, connected=False):
    """Run a model without a graph of its own on symbolic tensors.

    Args:
        model: Built `keras.Model` with a `call` of its own.
        inputs: Structure of tensors or arrays, of which shapes and types are
            read. Defaults to what the model was built with.
        connected: Whether the outputs are to know the layer they come from.

    Returns:
        The structure of `KerasTensor`s that `call` returns; None if the input
        is not known or `call` cannot be run on symbols.
    """
    run = model.call if connected else model.compute_output_spec
    options = {}
    if "training" in inspect.signature(model.call).parameters:
        options["training"] = False
    for tensors in _symbolic_inputs(model, inputs):
        try:
            return run(tensors, **options)
        except Exception:  # Whatever the user's `call` raises.
            continue
    return None


def _symbolic_inputs(model, inputs):
    """Yield structures of tensors that a model might take."""
    if inputs is not None:
        try:
            yield keras.tree.map_structure(
                lambda leaf: keras.KerasTensor(
                    leaf.shape, keras.backend.standardize_dtype(leaf.dtype)
                ),
                inputs,
            )
        except (ValueError, AttributeError):
            return  # Texts, for example.
        return
    try:
        shapes = model.get_build_config()["input_shape"]
    except (KeyError, TypeError, NotImplementedError):
        return
    # The types are not kept: numbers, or the indices of tokens.
    for dtype in (model.compute_dtype, "int32"):
        yield keras.tree.map_shape_structure(
            lambda shape: keras.KerasTensor(tuple(shape), dtype), shapes
        )


def reads_list(model, inputs):
    """Whether a model reads its inputs as a list, in their order.

    Args:
        model: `keras.Model`.
        inputs: The symbolic inputs of its graph, None if it has none.
    """
    if inputs is None:
        config = getattr(model, "get_build_config", dict)() or {}
        shapes = config.get("input_shape")
        return isinstance(shapes, (list, tuple)) and not all(
            size is None or isinstance(size, int) for size in shapes
        )
    return isinstance(inputs, (list, tuple))
