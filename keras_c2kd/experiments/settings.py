"""Settings that say what they are, on the command line too."""

import argparse
import dataclasses


def setting(default, description, choices=None):
    """Return the field of a dataclass of settings, with its description.

    Args:
        default: Value, whose type is that of the setting.
        description: Short text, for `--help`.
        choices: Values to choose from, or None (default) for any.

    Returns:
        Field, as `dataclasses.field` makes it.

    Example:
    ```python
    @dataclasses.dataclass(frozen=True)
    class Settings(Training):
        image_size: int = setting(224, "height and width of a frame")
    ```
    """
    metadata = {"help": description}
    if choices is not None:
        metadata["choices"] = tuple(choices)
    return dataclasses.field(default=default, metadata=metadata)


def metadata_of(settings, name):
    """Return description and choices of a setting.

    A subclass that only changes the default keeps those of its base.

    Args:
        settings: Dataclass of settings.
        name: Name of one of them.

    Returns:
        Dict, perhaps with `help` and `choices`.
    """
    found = {}
    for kind in reversed(type(settings).__mro__):
        field = vars(kind).get("__dataclass_fields__", {}).get(name)
        if field is not None:
            found |= field.metadata
    return found


# What runs did before these settings came, and records do not tell.
_FORMER = {"learning_rate_per": "step"}


def recorded(settings):
    """Return settings as records hold them.

    They are part of what a record is found by: a setting that came later is
    left out where it is what all runs did before.

    Args:
        settings: Dataclass of settings.

    Returns:
        Dict of plain values.
    """
    return {
        name: value
        for name, value in dataclasses.asdict(settings).items()
        if name not in _FORMER or value != _FORMER[name]
    }


def with_former(settings):
    """Return the settings of a record with those that it leaves out.

    Args:
        settings: Dict, the `settings` of a record.
    """
    return {**_FORMER, **settings}


class HelpFormatter(
    argparse.ArgumentDefaultsHelpFormatter,
    argparse.RawDescriptionHelpFormatter,
):
    """Keeps the lines of a description, and tells defaults that there are."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)
