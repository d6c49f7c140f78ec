# SPDX-License-Identifier: Apache-2.0
"""DVIPAs that are IPv6 addresses, beside IPv4 ones on the same hosts."""
import pytest

from lab import quickstart
from lab.dual_stack import CLIENT_ADDRESS6, DVIPA6, PLAIN_DVIPA6, DualStack
from lab.http import get_names
from lab.observe import Tally
from lab.quickstart import PLAIN_DVIPA

NAME = "e2e-six"


@pytest.fixture(scope="module")
def six():
    quickstart.down(NAME)
    with DualStack.up(NAME) as running:
        yield running


def neighbours(cluster) -> str:
    return cluster.client.run("ip", "-6", "neigh", "show", "dev", "lan").stdout


@pytest.mark.parametrize("address", [PLAIN_DVIPA, PLAIN_DVIPA6])
def test_connections_in_the_clear_are_distributed(six, address):
    """Spec A7."""
    answers = get_names(six.client, address, 24)
    assert answers.failed == 0, answers.errors
    assert set(answers.served_by) == set(six.targets)


def test_only_the_owner_answers_for_the_address(six):
    get_names(six.client, PLAIN_DVIPA6, 1)
    mac = six.hosts["owner"].run("cat", "/sys/class/net/lan/address").stdout.strip()
    assert f"{PLAIN_DVIPA6} lladdr {mac}" in neighbours(six)


def test_a_large_download_takes_no_packet_that_does_not_fit(six):
    done = six.client.run("curl", "-sS", "--noproxy", "*", "-m", "60", "-o", "/dev/null", "-w", "%{size_download}",
                          f"http://[{PLAIN_DVIPA6}]/slow", timeout=70)
    assert int(done.stdout) == quickstart.SLOW_FILE_BYTES
    assert Tally.take(six.nodes).dropped("too_big") == 0


def test_a_hosts_own_packets_do_not_come_from_a_dvipa(six):
    for member in six.members:
        route = six.hosts[member].run("ip", "-6", "route", "get", CLIENT_ADDRESS6).stdout
        assert f"src 2001:db8::{six.members[member]} " in route


def test_what_must_be_protected_is_not_served_in_the_clear(six):
    before = Tally.take(six.nodes)
    answers = get_names(six.client, DVIPA6, 1, connect_timeout=2.0)
    assert answers.failed == 1
    assert (Tally.take(six.nodes) - before).dropped("clear_but_protected") > 0


def test_connections_through_ipsec_are_distributed(six):
    six.client_charon.initiate("web6")
    before = Tally.take(six.nodes)
    answers = get_names(six.client, DVIPA6, 24)
    assert answers.failed == 0, answers.errors
    assert set(answers.served_by) == set(six.targets)
    during = Tally.take(six.nodes) - before
    assert all(during.of(target, "target.decrypted") > 0 for target in six.targets)
