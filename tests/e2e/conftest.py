# SPDX-License-Identifier: Apache-2.0
"""One cluster for all end-to-end tests, one capture for those that judge what was on the link."""
import os

import pytest

from lab import quickstart
from lab.claims import Run
from lab.quickstart import Quickstart
from limits import REKEY_BYTES

NAME = "e2e"


@pytest.fixture(scope="session")
def cluster():
    if os.geteuid() != 0:
        pytest.fail("end-to-end tests need root: they make network namespaces")
    quickstart.down(NAME)
    with Quickstart.up(NAME, rekey_bytes=REKEY_BYTES, key_log=True) as running:
        yield running


@pytest.fixture(scope="session")
def run(cluster):
    started = Run.begin(cluster)
    yield started
    started.capture.stop()


@pytest.fixture
def connected(cluster):
    """The cluster with an SA between client and DVIPA."""
    if "INSTALLED" not in cluster.client_charon.swanctl("--list-sas"):
        cluster.client_charon.initiate("web")
    return cluster


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of every node's log."""
    report = (yield).get_result()
    if report.failed and call.excinfo is not None:
        for log in sorted((quickstart.LabState(NAME).path / "hosts").glob("*/node.log")):
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
            report.sections.append((f"node log of {log.parent.name}", "\n".join(tail)))
