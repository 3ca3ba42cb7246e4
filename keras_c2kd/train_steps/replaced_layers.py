"""Layers that run otherwise for the length of a forward pass."""

import contextlib
import types


@contextlib.contextmanager
def replaced_layers(distiller, replacements):
    """Within this context, layers of some types run other functions.

    Only layers of exactly these types are concerned, and afterwards they are
    what they were.

    Args:
        distiller: Its networks' and its method's layers.
        replacements: Dict from a type of layers to the name of a method and
            the function `(layer, *arguments)` in its place.
    """
    changed = []
    try:
        for layer in distiller._flatten_layers(include_self=False):
            if type(layer) in replacements:
                name, function = replacements[type(layer)]
                # Past Keras' `__setattr__`, which takes time to track.
                layer.__dict__[name] = types.MethodType(function, layer)
                changed.append((layer, name))
        yield
    finally:
        for layer, name in changed:
            layer.__dict__.pop(name, None)
