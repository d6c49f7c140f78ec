# SPDX-License-Identifier: Apache-2.0
"""One cluster and one guest for all tests with a real kernel."""
import os
import shutil

import pytest

from kernel_cluster import KernelCluster
from lab import quickstart

NAME = "kernel"
# Debian's packages that bring them; tools/setup.sh installs all.
NEEDED = {"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "cpio": "cpio", "tshark": "tshark"}


@pytest.fixture(scope="session")
def kernel_cluster():
    if os.geteuid() != 0:
        pytest.fail("the tests with a real kernel need root: they make network namespaces")
    if missing := [package for program, package in NEEDED.items() if not shutil.which(program)]:
        pytest.fail(f"missing Debian packages: {' '.join(missing)}; run tools/setup.sh")
    quickstart.down(NAME)
    with KernelCluster.up(NAME) as running:
        yield running


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of every log."""
    report = (yield).get_result()
    if report.failed and call.excinfo is not None:
        hosts = quickstart.LabState(NAME).path / "hosts"
        for log in sorted([*hosts.glob("*/node.log"), *hosts.glob("*/strongswan/charon.log"), *hosts.glob("*/*.console")]):
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            report.sections.append((f"{log.name} of {log.relative_to(hosts).parts[0]}", "\n".join(tail)))
