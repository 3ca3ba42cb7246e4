"""How a record of a run tells its method."""

_LOSSES = {"DKDLoss": "DKD", "DISTLoss": "DIST", "NKDLoss": "NKD"}
# Arguments that came later, where they are what was done before.
_FORMER = {
    "variant": "a",
    "mean_over": "batch",
    "unbiased_bounds": None,
    "pointwise_negative_slope": None,
    "shadow_channels": None,
}
_OF_A_TEACHER = {"teacher_update": "none", "update_frozen_statistics": False}


def recorded_config(method):
    """Return the configuration of a method in the form of all records.

    It is part of what a record is found by. The first versions wrote
    arguments that a method or a selection has no use for, shorter names of
    the losses, and no arguments that came later. So does this, the last where
    they have their defaults: their records are found, and stand in one table
    with new ones.

    Args:
        method: `DistillationMethod`.

    Returns:
        Dict of plain values.
    """
    config = _recorded(method.get_config())
    if not method.needs_teacher and config.get("modulation", "") is None:
        del config["modulation"]
    return {**_OF_A_TEACHER, **config}


def _recorded(config):
    """Return the configuration of a layer or a loss, and of its parts."""
    config = {
        name: _part(value)
        for name, value in config.items()
        if name not in _FORMER or value != _FORMER[name]
    }
    # Of the two, only layers have a dtype in their configuration.
    return {**config, "trainable": True} if "dtype" in config else config


def _part(value):
    """Return a serialized part as records hold it, or another value."""
    name = str(isinstance(value, dict) and value.get("registered_name"))
    if not name.startswith("keras_c2kd"):
        return value
    kind = value["class_name"]
    config = _recorded(value["config"])
    if kind == "SelectAll":
        config["threshold"] = 0.0
    if kind == "RandomSelection":
        like = config["like"]["config"]
        config |= {"threshold": like["threshold"], "on": like["on"]}
    former = _LOSSES.get(kind, kind)
    return {
        **value,
        "class_name": former,
        "registered_name": name.replace(kind, former),
        "config": config,
    }
