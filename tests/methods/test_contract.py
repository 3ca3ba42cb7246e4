import pytest

from tests.helpers import method_contract
from tests.helpers.method_contract import contract_cases
from tests.helpers.method_contract import once_a_form
from tests.helpers.toys import toy_distiller

every_method = pytest.mark.parametrize(
    "create", contract_cases.values(), ids=contract_cases.keys()
)


# Forms of one method do the same work on every backend once the method does:
# tests/cross_backend compares five steps of each case on all three.
every_method_once = once_a_form(contract_cases)


@pytest.mark.slow
@every_method_once
def test_learns(create):
    method_contract.check_learns(create)


@pytest.mark.slow
@every_method_once
def test_first_step_and_resuming(create, tmp_path):
    """One distiller for both: its step is compiled once."""
    distiller = toy_distiller(create())
    method_contract.run_quickly(distiller)
    method_contract.check_first_step(distiller)
    method_contract.check_saves_and_resumes(distiller, tmp_path)


@pytest.mark.slow
@every_method_once
def test_weights_compose(create):
    method_contract.check_weights_compose(create)


@every_method
def test_serializes(create):
    method_contract.check_serializes(create)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@every_method_once
def test_mixed_precision(create, policy):
    method_contract.check_mixed_precision(create, policy)


@pytest.mark.slow
@every_method_once
def test_edge_batches(create):
    method_contract.check_edge_batches(create)
