/* SPDX-License-Identifier: GPL-2.0-or-later
 * bridge_t: the plugin's one connection to the node. Connects, and connects again whenever the node has been away. Any
 * thread of charon may call it.
 */
#ifndef BRIDGE_H_
#define BRIDGE_H_

#include <library.h>
#include <networking/packet.h>

#include "bridge.pb-c.h"

typedef struct bridge_t bridge_t;

struct bridge_t {
	/**
	 * Sends a request and waits for its answer, at most 3 s. NULL when the node is away or does not answer; the reason
	 * has been logged then. To be freed with testudo__bridge__answer__free_unpacked(answer, NULL).
	 *
	 * @param message	without a request number
	 * @param what		what it is, for the log
	 */
	Testudo__Bridge__Answer *(*request)(bridge_t *this, Testudo__Bridge__ToNode *message, const char *what);

	/**
	 * As request(), for requests without results. FAILED when the node refused (logged) or did not answer.
	 */
	status_t (*order)(bridge_t *this, Testudo__Bridge__ToNode *message, const char *what);

	/**
	 * Hands an IKE datagram to the node, or drops and counts it when that would block.
	 */
	status_t (*send_ike)(bridge_t *this, packet_t *packet);

	/**
	 * The next IKE datagram. Blocks; a cancellation point.
	 */
	packet_t *(*receive_ike)(bridge_t *this);

	/**
	 * An SA is installed, or is no more: what a node that has restarted makes charon give up.
	 */
	void (*remember_sa)(bridge_t *this, uint32_t spi, uint8_t protocol, host_t *destination);
	void (*forget_sa)(bridge_t *this, uint32_t spi, uint8_t protocol, host_t *destination);

	/**
	 * Number of the present connection to the node, another one for each; 0: the node is away.
	 */
	uint32_t (*connection)(bridge_t *this);

	void (*destroy)(bridge_t *this);
};

/**
 * @param path		of the node's Unix socket
 */
bridge_t *bridge_create(const char *path);

#endif
