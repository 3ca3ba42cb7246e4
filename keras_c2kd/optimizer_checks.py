"""An optimizer belongs to the variables that it was built for."""

from keras_c2kd.train_steps.keras_internals import variables_updated_by


def check_unused(optimizer, variables, all_of_them=True):
    """Refuse an optimizer that has been built for another model.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        variables: Variables that are trained.
        all_of_them: Whether it is to update them all, or only some.

    Raises:
        ValueError: If it was built and does not know them.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not inner.built:
        return
    known = {id(variable) for variable in variables_updated_by(inner)}
    wanted = {id(variable) for variable in variables}
    if wanted <= known or (not all_of_them and wanted & known):
        return
    kind = type(inner).__name__
    raise ValueError(
        "An optimizer keeps a state for each variable that it was built for, "
        f"and cannot train another model. Received: a {kind} that has been "
        f"used before, for {len(known)} variables, of which "
        f"{len(wanted & known)} are among the {len(wanted)} of this model. "
        f"Pass a new one: {kind}.from_config(optimizer.get_config())."
    )
