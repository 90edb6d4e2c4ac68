"""What every source of metrics does, on each runner."""

import pytest

pytest.register_assert_rewrite("tests.behaviour.collectors.collector_contract")
