"""Finding a network's input in a batch keyed by modality."""


def modality_keys(modality):
    """Return the keys of a modality: one, or several for a tuple."""
    return modality if isinstance(modality, tuple) else (modality,)


def has_modality(inputs, modality):
    """Whether a batch holds all that a network of the modality reads."""
    return isinstance(inputs, dict) and set(modality_keys(modality)) <= set(
        inputs
    )


def modality_input(inputs, modality):
    """Return a network's input: one entry of the batch, or a dict of some.

    Args:
        inputs: Dict keyed by modality.
        modality: A key; or a tuple of keys for a network that reads several
            modalities as a dict.
    """
    if isinstance(modality, tuple):
        return {key: inputs[key] for key in modality}
    return inputs[modality]
