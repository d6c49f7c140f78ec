# SPDX-License-Identifier: Apache-2.0
"""The summary of `make test` counts what happened, not what was hoped for."""
import subprocess
import sys

import pytest

from lab.certificates import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))
import run_tests  # noqa: E402  pylint: disable=wrong-import-position
from run_tests import Count  # noqa: E402  pylint: disable=wrong-import-position

GTEST = """<testsuites><testsuite>
  <testcase name="A" status="run" result="completed"/>
  <testcase name="B" status="run"><failure message="no"/></testcase>
  <testcase name="C" status="notrun" result="suppressed"/>
  <testcase name="D" status="run"><skipped message="why"/></testcase>
</testsuite></testsuites>"""


def test_cases_of_a_gtest_program(tmp_path):
    path = tmp_path / "x_test.xml"
    path.write_text(GTEST)
    assert run_tests.junit(path) == Count(passed=1, failed=1, skipped=2)


@pytest.mark.parametrize("report, failed, expected", [
    (None, False, Count(passed=1)),                                     # not GoogleTest, went well
    (None, True, Count(failed=1)),                                      # died before it wrote anything, or is missing
    ('<t><testcase name="A" status="run"/></t>', True, Count(1, 1)),    # all well, then died
    ('<t><testcase name="A" status="run"/></t>', False, Count(1, 0)),
    (GTEST, True, Count(1, 1, 2)),                                      # the failure is counted once
])
def test_an_entry_of_ctest(tmp_path, report, failed, expected):
    path = tmp_path / "x_test.xml"
    if report:
        path.write_text(report)
    assert run_tests._entry(path, failed) == expected  # pylint: disable=protected-access


def test_a_build_without_tests_is_a_failure(tmp_path):
    (tmp_path / "build").mkdir()
    assert run_tests.ctest(tmp_path / "build", tmp_path / "results").failed == 1


def test_what_does_not_end_is_interrupted():
    hanging = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(5)"])  # pylint: disable=consider-using-with
    assert run_tests._ends(hanging, 0.1) != 0  # pylint: disable=protected-access
