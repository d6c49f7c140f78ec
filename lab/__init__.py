# SPDX-License-Identifier: Apache-2.0
"""Clusters in network namespaces on one machine: what the demo and the end-to-end tests stand on.

    from lab.quickstart import Quickstart
    with Quickstart.up() as cluster:
        print(cluster.client.run("curl", "-sS", "http://192.0.2.100/name").stdout)

`topology` says what there is, `network` builds it, `process` runs things in it, `state` remembers what was made so
that it can be removed by any later process. docs/lab.md shows the rest.
"""
