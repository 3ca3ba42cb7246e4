"""Who is trained by what, in words."""

import math

from keras_c2kd.networks.modalities import modality_keys


def training_summary(distiller):
    """Return a line for student, teacher and heads: how much of it trains.

    Args:
        distiller: `CrossModalDistiller`.
    """
    method = distiller.method
    trained = {id(variable) for variable in distiller.trainable_variables}
    rows = [("student", distiller.student_modality, distiller.student, "")]
    if distiller.teacher is not None:
        note = f'teacher_update="{method.teacher_update}"'
        rows.append(
            ("teacher", distiller.teacher_modality, distiller.teacher, note)
        )
    rows.append(("heads", "", method, type(method).__name__))
    lines = ["Who is trained:"]
    for role, modality, layer, note in rows:
        modality = "+".join(modality_keys(modality))
        sizes = {id(v): math.prod(v.shape) for v in layer.weights}
        total = sum(sizes.values())
        some = sum(sizes[key] for key in sizes if key in trained)
        lines.append(
            f"  {role:<8} {modality:<12} {some:>12,} of {total:>12,}"
            f" parameters trained  {note}".rstrip()
        )
    return "\n".join(lines)
