# SPDX-License-Identifier: Apache-2.0
"""What the cluster of the end-to-end tests is set up with and its tests know."""

REKEY_BYTES = 110_000_000  # a third of what the downloads of test_1_claims.py take
