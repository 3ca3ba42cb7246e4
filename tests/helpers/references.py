"""The formulas in float64 numpy, written from the papers."""

import numpy as np


def random_logits(*shape, seed=0, scale=2.0):
    """Float64 logits that a float32 number holds exactly."""
    logits = np.random.default_rng(seed).normal(0.0, scale, shape)
    return logits.astype("float32").astype("float64")


def random_labels(*shape, num_classes, seed=0):
    """Integer labels."""
    random = np.random.default_rng(seed)
    return random.integers(0, num_classes, shape).astype("int32")


def log_softmax(logits):
    """Log-probabilities over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits):
    """Probabilities over the last axis."""
    return np.exp(log_softmax(logits))


def one_hot(labels, num_classes):
    """1 at the label's class and 0 elsewhere."""
    return np.eye(num_classes)[labels]


def cross_entropy(logits, labels):
    """`-log p_label` of each row."""
    targets = one_hot(labels, logits.shape[-1])
    return -(targets * log_softmax(logits)).sum(axis=-1)


def kl(target, learner, temperature=1.0):
    """`KL(softmax(target / T) || softmax(learner / T))` of each row."""
    target = log_softmax(target / temperature)
    learner = log_softmax(learner / temperature)
    return (np.exp(target) * (target - learner)).sum(axis=-1)


def without_target(logits, labels):
    """Logits with the label's class deleted from each row."""
    num_classes = logits.shape[-1]
    rows = [
        np.delete(row, label)
        for row, label in zip(
            logits.reshape(-1, num_classes), labels.reshape(-1)
        )
    ]
    return np.reshape(rows, (*logits.shape[:-1], num_classes - 1))


def with_zeroed_target(logits, labels):
    """Logits with the label's class set to 0."""
    return logits * (1.0 - one_hot(labels, logits.shape[-1]))


def kendall(first, second):
    """Tau-a of each row: the mean over all pairs of classes i < j."""
    i, j = np.triu_indices(first.shape[-1], 1)
    concordance = np.sign(first[..., i] - first[..., j])
    concordance *= np.sign(second[..., i] - second[..., j])
    return concordance.mean(axis=-1)


def kendall_b(first, second):
    """Tau-b of each row: over the pairs that are no tie; NaN without any."""
    i, j = np.triu_indices(first.shape[-1], 1)
    signs = [np.sign(x[..., i] - x[..., j]) for x in (first, second)]
    pairs = np.prod([np.abs(sign).sum(axis=-1) for sign in signs], axis=0)
    with np.errstate(invalid="ignore"):
        return (signs[0] * signs[1]).sum(axis=-1) / np.sqrt(pairs)


def cosine(first, second):
    """Cosine of the angle between the rows."""
    norms = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return (first * second).sum(axis=-1) / norms


def pearson(first, second):
    """Pearson's correlation of the rows."""
    return cosine(
        first - first.mean(axis=-1, keepdims=True),
        second - second.mean(axis=-1, keepdims=True),
    )


def gradient_cosine(student, teacher, labels):
    """Cosine of `p_S - onehot` and `p_S - p_T`."""
    probabilities = softmax(student)
    return cosine(
        probabilities - one_hot(labels, student.shape[-1]),
        probabilities - softmax(teacher),
    )


def c2kd_terms(
    learning,
    teaching,
    labels,
    selected,
    weights=1.0,
    rest=without_target,
    proxies=True,
    bidirectional=True,
    teacher_trains=True,
    over_selected=False,
):
    """The terms of C2KD's Eq. 6, by name.

    `learning` and `teaching` both map "student", "teacher", "student_proxy"
    and "teacher_proxy" to logits and hold the same numbers. They are two so
    that finite differences can move the learners and hold the targets.
    """

    def supervised(role):
        return np.mean(weights * cross_entropy(learning[role], labels))

    def learn(learner, target):
        return np.mean(weights * kl(teaching[target], learning[learner]))

    def learn_rest(learner, target):
        divergence = kl(
            rest(teaching[target], labels), rest(learning[learner], labels)
        )
        # The weights of ignored rows are 0, and hold a factor for the rest.
        counted = np.mean(selected * (weights > 0)) if over_selected else 1.0
        if over_selected and np.ndim(weights):
            counted /= np.mean(weights > 0)
        return np.mean(selected * weights * divergence) / max(counted, 1e-30)

    terms = {"student_supervised": supervised("student")}
    if teacher_trains:
        terms["teacher_supervised"] = supervised("teacher")
    bridges = ("student", "teacher")
    if proxies:
        bridges = ("student_proxy", "teacher_proxy")
        terms["teacher_proxy"] = learn("teacher_proxy", "teacher")
        if teacher_trains:
            terms["teacher_proxy"] += learn("teacher", "teacher_proxy")
        terms["student_proxy"] = learn("student", "student_proxy") + learn(
            "student_proxy", "student"
        )
    terms["cross_modal"] = learn_rest(*bridges)
    if bidirectional and (proxies or teacher_trains):
        terms["cross_modal"] += learn_rest(*reversed(bridges))
    return terms


def numerical_gradient(function, array, step=1e-5):
    """Central finite differences of a scalar function of one array."""
    gradient = np.empty_like(array)
    for place in np.ndindex(array.shape):
        higher, lower = array.copy(), array.copy()
        higher[place] += step
        lower[place] -= step
        difference = function(higher) - function(lower)
        gradient[place] = difference / (2.0 * step)
    return gradient
