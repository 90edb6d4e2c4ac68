"""Tests that every source of metrics works on each runner."""

import pytest

pytest.register_assert_rewrite("tests.behaviour.collectors.collector_contract")
