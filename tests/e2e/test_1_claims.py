# SPDX-License-Identifier: Apache-2.0
"""The demo's claims, in the order in which the demo makes them: each builds on the one before."""
import pytest

from lab import claims
from lab.claims import Claim


def holds(claim: Claim) -> None:
    assert claim.ok, f"claim {claim.id}: {claim.says}: {claim.figures}"


@pytest.fixture(scope="module")
def requests(run):
    return claims.sixty_requests(run)


@pytest.fixture(scope="module")
def downloads(run):
    return claims.downloads_with_rekeys(run)


def test_negotiates_once_and_shadows_everywhere(run, cluster):
    holds(claims.negotiated(cluster))


def test_sixty_requests_are_spread_over_one_sa(requests):
    holds(claims.distributed(requests))


def test_owner_does_no_bulk_cryptography(requests, cluster):
    holds(claims.offloaded(requests, cluster))


def test_replies_do_not_pass_through_the_owner(requests, cluster):
    holds(claims.direct_replies(requests.packets, cluster))


def test_sequence_numbers_are_unique_and_fresh(run, downloads):
    holds(claims.fresh_sequence_numbers(run.captured(), downloads))


def test_rekeys_lose_nothing(run, downloads):
    holds(claims.seamless_rekeys(run.captured(), downloads))


def test_plain_tcp_is_distributed_and_clear_traffic_is_refused(connected):
    holds(claims.plain_distribution(connected))


def test_replays_are_refused_while_the_connections_live_and_after(run, connected):
    slow = claims.SlowDownloads.start(connected)
    frames, during = claims.replay_now(run)
    slow.finish()
    holds(claims.replays_refused(during, claims.replay(connected, frames)))


def test_server_stops_and_starts(connected):
    holds(claims.server_stops_and_starts(connected))


def test_first_packet_survives_every_negotiation(connected):
    """The race between IKE_AUTH and the installation at the targets, many times: a lost SYN takes a second."""
    for _ in range(10):
        connected.client_charon.swanctl("--terminate", "--ike", "dvipa")
        holds(claims.negotiated(connected))
