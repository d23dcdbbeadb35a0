"""Resuming: what is skipped, what runs again."""

from pathlib import Path

import pytest

from dyn2trt.pipeline.stages import Stage, is_up_to_date, perform


@pytest.fixture
def copy_stage(tmp_path: Path) -> Stage:
    source, target = tmp_path / "source.txt", tmp_path / "target.txt"
    source.write_text("1")
    return Stage("copy", lambda: target.write_text(source.read_text()) and None, (target,), (source,), {"flag": 1})


def test_a_stage_is_up_to_date_after_it_ran(copy_stage: Stage, tmp_path: Path) -> None:
    assert not is_up_to_date(copy_stage, tmp_path)
    perform(copy_stage, tmp_path)
    assert is_up_to_date(copy_stage, tmp_path)


@pytest.mark.parametrize("which", ["inputs", "outputs"])
def test_a_changed_file_makes_it_stale(copy_stage: Stage, tmp_path: Path, which: str) -> None:
    perform(copy_stage, tmp_path)
    getattr(copy_stage, which)[0].write_text("2")
    assert not is_up_to_date(copy_stage, tmp_path)


def test_a_missing_output_makes_it_stale(copy_stage: Stage, tmp_path: Path) -> None:
    perform(copy_stage, tmp_path)
    copy_stage.outputs[0].unlink()
    assert not is_up_to_date(copy_stage, tmp_path)


def test_other_settings_make_it_stale(copy_stage: Stage, tmp_path: Path) -> None:
    perform(copy_stage, tmp_path)
    changed = Stage("copy", copy_stage.action, copy_stage.outputs, copy_stage.inputs, {"flag": 2})
    assert not is_up_to_date(changed, tmp_path)


def test_a_file_added_to_an_input_folder_makes_it_stale(tmp_path: Path) -> None:
    folder, target = tmp_path / "images", tmp_path / "out.txt"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    stage = Stage("list", lambda: target.write_text("done") and None, (target,), (folder,))
    perform(stage, tmp_path)
    assert is_up_to_date(stage, tmp_path)
    (folder / "b.png").write_bytes(b"b")
    assert not is_up_to_date(stage, tmp_path)


def test_an_interrupted_stage_runs_again(copy_stage: Stage, tmp_path: Path) -> None:
    perform(copy_stage, tmp_path)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        perform(Stage("copy", interrupt, copy_stage.outputs, copy_stage.inputs, copy_stage.settings), tmp_path)
    assert not is_up_to_date(copy_stage, tmp_path)
