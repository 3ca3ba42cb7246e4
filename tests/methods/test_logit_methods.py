"""DKD, DIST, NKD, DML as methods, and C2KD with their losses."""

import numpy as np
import pytest

from keras_c2kd import losses
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import DIST
from keras_c2kd.methods import DKD
from keras_c2kd.methods import DML
from keras_c2kd.methods import NKD
from keras_c2kd.methods import KnowledgeDistillation
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import SelectAll
from tests.helpers import references
from tests.helpers.references import random_labels
from tests.losses.test_label_losses import rows_of_nckd
from tests.losses.test_label_losses import rows_of_nkd
from tests.losses.test_label_losses import rows_of_tckd
from tests.losses.test_relational_losses import dist
from tests.methods.by_hand import random_heads
from tests.methods.by_hand import terms_of

SHAPE = (24, 6)


@pytest.fixture
def heads():
    return random_heads(*SHAPE)


@pytest.fixture
def labels():
    return random_labels(SHAPE[0], num_classes=SHAPE[1])


def reference(method, target, learner, labels):
    """The method's divergence from its definition, mean over the rows."""
    if isinstance(method, DIST):
        return dist(target, learner)
    if isinstance(method, NKD):
        return rows_of_nkd(target, learner, labels, 1.5, 1.0).mean()
    arguments = (target, learner, labels, 4.0)
    rows = rows_of_tckd(*arguments) + 8 * rows_of_nckd(*arguments)
    return 16 * rows.mean()


@pytest.mark.parametrize("create", [DKD, DIST, NKD])
def test_terms_with_and_without_selection(create, heads, labels):
    pair = {name: heads[name] for name in ("student", "teacher")}
    method = create(supervised_weight=0.5, distillation_weight=3.0)
    terms, _ = terms_of(method, pair, labels)
    np.testing.assert_allclose(
        terms["student_supervised"],
        0.5 * references.cross_entropy(pair["student"], labels).mean(),
        rtol=1e-5,
    )
    expected = reference(method, pair["teacher"], pair["student"], labels)
    np.testing.assert_allclose(terms["distillation"], 3 * expected, rtol=1e-4)

    method = create(
        distillation_weight=3.0, selection=KendallSelection(on="main")
    )
    terms, diagnostics = terms_of(method, pair, labels)
    kept = references.kendall(pair["teacher"], pair["student"]) > 0
    assert 0 < kept.sum() < len(kept)
    assert diagnostics["selected_fraction"] == pytest.approx(kept.mean())
    # Samples that are dropped count as zeros.
    expected = kept.mean() * reference(
        method, pair["teacher"][kept], pair["student"][kept], labels[kept]
    )
    np.testing.assert_allclose(terms["distillation"], 3 * expected, rtol=1e-4)


def test_the_warm_up_counts_training_steps(heads, labels):
    pair = {name: heads[name] for name in ("student", "teacher")}
    full, _ = terms_of(DKD(), pair, labels)
    method = DKD(warmup_steps=4)
    for step in range(6):
        method.step.assign(step)
        terms, _ = terms_of(method, pair, labels)
        np.testing.assert_allclose(
            terms["distillation"],
            min(step / 4, 1.0) * full["distillation"],
            rtol=1e-5,
        )
    with pytest.raises(ValueError, match="warmup_steps=-1"):
        NKD(warmup_steps=-1)


def test_mutual_learning(heads, labels):
    pair = {name: heads[name] for name in ("student", "teacher")}
    terms, _ = terms_of(DML(mutual_weight=2.0), pair, labels)
    student, teacher = pair["student"], pair["teacher"]
    for name, expected in (
        ("student_supervised", references.cross_entropy(student, labels)),
        ("teacher_supervised", references.cross_entropy(teacher, labels)),
        ("student_mutual", 2 * references.kl(teacher, student)),
        ("teacher_mutual", 2 * references.kl(student, teacher)),
    ):
        np.testing.assert_allclose(terms[name], expected.mean(), rtol=1e-4)
    with pytest.raises(ValueError, match='teacher_update="none"'):
        DML(teacher_update="none")


def rest_of_nkd(target, learner):
    """NKD on logits that lack the label's class."""
    return -1.5 * np.mean(
        np.sum(references.softmax(target) * references.log_softmax(learner), -1)
    )


@pytest.mark.parametrize("name", ["dist", "nkd"])
def test_c2kd_with_another_divergence(name, heads, labels):
    whole = {
        "dist": lambda target, learner: dist(target, learner),
        "nkd": lambda target, learner: rows_of_nkd(
            target, learner, labels, 1.5, 1.0
        ).mean(),
    }[name]
    rest = {"dist": dist, "nkd": rest_of_nkd}[name]
    divergence = {"dist": losses.DISTLoss, "nkd": losses.NKDLoss}[name]()
    terms, _ = terms_of(C2KD(divergence=divergence), heads, labels)
    student, teacher = heads["student"], heads["teacher"]
    student_proxy, teacher_proxy = (
        heads["student_proxy"],
        heads["teacher_proxy"],
    )
    kept = references.kendall(teacher_proxy, student_proxy) > 0
    one, other = (
        references.without_target(g, labels)[kept]
        for g in (student_proxy, teacher_proxy)
    )
    for term, expected in (
        (
            "student_proxy",
            whole(student_proxy, student) + whole(student, student_proxy),
        ),
        (
            "teacher_proxy",
            whole(teacher_proxy, teacher) + whole(teacher, teacher_proxy),
        ),
        ("cross_modal", kept.mean() * (rest(other, one) + rest(one, other))),
    ):
        np.testing.assert_allclose(terms[term], expected, rtol=1e-4)


def test_the_rows_of_figure_5(heads, labels):
    """+bidirectional, +OFSD and +proxies, one by one, on DIST and NKD."""
    pair = {name: heads[name] for name in ("student", "teacher")}
    for divergence in (losses.DISTLoss(), losses.NKDLoss()):
        plain = C2KD(
            divergence=divergence,
            selection=SelectAll(),
            non_target=False,
            proxies=False,
            bidirectional=False,
        )
        alone = {losses.DISTLoss: DIST, losses.NKDLoss: NKD}[type(divergence)]
        expected, _ = terms_of(alone(distillation_weight=1.0), pair, labels)
        terms, _ = terms_of(plain, pair, labels)
        assert terms["cross_modal"] == pytest.approx(
            expected["distillation"], rel=1e-5
        )
        for method in (
            C2KD(
                divergence=divergence,
                selection=SelectAll(),
                non_target=False,
                proxies=False,
            ),
            C2KD(divergence=divergence, proxies=False),
        ):
            terms, _ = terms_of(method, pair, labels)
            assert np.isfinite(list(terms.values())).all()


@pytest.mark.slow
def test_refused_combinations():
    with pytest.raises(ValueError, match="is a loss of keras_c2kd.losses"):
        C2KD(divergence=DIST())
    with pytest.raises(ValueError, match="zero_target_logit=True"):
        C2KD(divergence=losses.NKDLoss(), zero_target_logit=True)
    with pytest.raises(ValueError, match="teacher_update='some'"):
        KnowledgeDistillation(teacher_update="some")
