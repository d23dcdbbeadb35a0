"""What doctor finds, and what it says about it."""

import importlib.metadata
import json

import pytest
from typer.testing import CliRunner

from dyn2trt.cli.main import app
from dyn2trt.pipeline import doctor


def test_this_machine_can_run_the_cpu_pipeline() -> None:
    findings = {finding.what: finding for finding in doctor.examine()}
    assert all(finding.state == "ok" for finding in findings.values() if finding.required)
    assert all(finding.mend for finding in findings.values() if finding.state != "ok")


def test_both_runtimes_at_once_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda n: "1.0" if n.startswith("onnxruntime") else version(n))
    findings = {finding.what: finding for finding in doctor.examine()}
    assert findings["onnxruntime"].state == "broken"
    assert "overwrite each other" in findings["onnxruntime"].detail
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in findings["onnxruntime"].mend


def test_a_missing_requirement_is_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = doctor.Finding("torch", "missing", "not installed", "pip install torch", required=True)
    monkeypatch.setattr(doctor, "examine", lambda: [missing])
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 3
    assert json.loads(result.stdout)[0]["mend"] == "pip install torch"


def test_brackets_in_a_mend_survive_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = doctor.Finding("tensorrt", "missing", "not installed", "pip install 'dyn2trt[gpu]'")
    monkeypatch.setattr(doctor, "examine", lambda: [finding])
    result = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"})
    assert "dyn2trt[gpu]" in result.stdout
