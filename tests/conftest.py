"""Fixtures for every test."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from tensorrt_on_cpu import harness


@pytest.fixture
def tensorrt_on_cpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``import tensorrt`` works during the test and builds plans on the CPU; mark such tests ``tensorrt``."""
    if reason := harness.why_not():
        pytest.skip(reason)
    module = harness.load()
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module
