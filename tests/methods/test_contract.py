import pytest

from tests import method_contract
from tests.method_contract import contract_cases

every_method = pytest.mark.parametrize(
    "create", contract_cases.values(), ids=contract_cases.keys()
)


@every_method
def test_learns(create):
    method_contract.check_learns(create)


@every_method
def test_logs_its_terms(create):
    method_contract.check_logs_its_terms(create)


@every_method
def test_trains_who_it_says(create):
    method_contract.check_trains_who_it_says(create)


@every_method
def test_weights_compose(create):
    method_contract.check_weights_compose(create)


@every_method
def test_serializes(create):
    method_contract.check_serializes(create)


@every_method
def test_saves_and_resumes(create, tmp_path):
    method_contract.check_saves_and_resumes(create, tmp_path)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@every_method
def test_mixed_precision(create, policy):
    method_contract.check_mixed_precision(create, policy)


@every_method
def test_edge_batches(create):
    method_contract.check_edge_batches(create)
