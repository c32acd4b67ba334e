"""The tests that speak neither of mode process nor of POSIX, run by a Python for Windows under wine.

What is skipped there says why in its own file: it is of files that only POSIX has. Some more are
left out here, each with its reason. Nothing may fail.
"""

from __future__ import annotations

import re

import pytest

from support.wine import LONG, MARKS, ROOT, under_wine

RUN = ROOT / "tests" / "windows" / "run_pytest.py"
# What is run, and how many of its tests passed there when this was written.
PARTS = {
    "tests/test_events.py": 162,
    "tests/config": 431,
    "tests/streams": 94,
    "tests/aleo": 495,
}
SHORT = "tests/test_events.py"
# Their texts and paths are those of POSIX: "/etc/x", a line end of one byte.
PATHS = (
    "config/test_config.py::test_defaults",
    "config/test_config.py::test_a_mapping_may_hold_paths_and_is_not_kept",
    "config/test_config.py::test_what_the_plugin_gets",
    "config/test_config.py::test_own_values_come_through_unchanged",
    "config/test_config_docs.py::test_the_errors_shown_are_the_real_ones",
    "config/test_config_host.py::test_any_key_of_the_host_may_stand_there",
    "config/test_config_hostile.py::test_the_whole_text_of_an_error",
    "config/test_config_schema.py::test_what_is_wrong_is_told_at_its_place",
    "config/test_config_secrets.py::test_the_plugin_gets_them_in_clear",
    "streams/test_streams.py::test_a_missing_block_file_is_an_empty_block_and_one_warning",
    "streams/test_streams.py::test_block_file_beside_the_file_or_above_it[..]",
    "streams/test_streams.py::test_standard_input_takes_both_forms",
)
# Their configs have mode process.
PROCESS = (
    "config/test_config.py::test_every_key_reaches_its_field",
    "config/test_config_docs.py::test_the_first_block_is_a_config",
)
# They limit memory, or look at a pipe, as only POSIX does.
POSIX = (
    "streams/test_runs.py::test_what_comes_through_a_pipe_does_not_wait",
    "streams/test_streams.py::test_memory_does_not_grow_with_the_file",
)
LEFT_OUT = [f"--deselect=tests/{name}" for name in (*PATHS, *PROCESS, *POSIX)]

pytestmark = MARKS


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("part", PARTS if LONG else [SHORT])
def test_it_passes_there(part) -> None:
    quiet = ("-q", "-p", "no:cacheprovider")
    done = under_wine(RUN, *quiet, *LEFT_OUT, part, timeout=2900)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) >= PARTS[part], done.stdout
