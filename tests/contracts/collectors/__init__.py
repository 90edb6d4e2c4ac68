"""One suite for every kind of metrics collector: the same reports, however told, are the same."""

import pytest

pytest.register_assert_rewrite("tests.contracts.collectors.collector_contract")
