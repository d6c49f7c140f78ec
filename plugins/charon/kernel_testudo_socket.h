/* SPDX-License-Identifier: GPL-2.0-or-later
 * charon's socket_t: the node owns UDP 500 and 4500 of every DVIPA, IKE datagrams pass through the bridge.
 */
#ifndef KERNEL_TESTUDO_SOCKET_H_
#define KERNEL_TESTUDO_SOCKET_H_

#include <network/socket.h>

#include "bridge.h"

/**
 * The bridge stays the caller's and must live longer.
 */
socket_t *kernel_testudo_socket_create(bridge_t *bridge);

#endif
