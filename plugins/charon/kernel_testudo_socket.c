/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel_testudo_socket.h"

#include <daemon.h>

typedef struct private_kernel_testudo_socket_t private_kernel_testudo_socket_t;

struct private_kernel_testudo_socket_t {
	socket_t public;
	bridge_t *bridge;
};

/* Never fails: FAILED would make charon's receiver spin, NOT_SUPPORTED would end it. */
METHOD(socket_t, receive_packet, status_t,
	private_kernel_testudo_socket_t *this, packet_t **packet)
{
	*packet = this->bridge->receive_ike(this->bridge);
	return SUCCESS;
}

METHOD(socket_t, send_packet, status_t,
	private_kernel_testudo_socket_t *this, packet_t *packet)
{
	return this->bridge->send_ike(this->bridge, packet);
}

METHOD(socket_t, get_port, uint16_t,
	private_kernel_testudo_socket_t *this, bool nat_t)
{
	return nat_t ? IKEV2_NATT_PORT : IKEV2_UDP_PORT;
}

METHOD(socket_t, supported_families, socket_family_t,
	private_kernel_testudo_socket_t *this)
{
	return SOCKET_FAMILY_BOTH;
}

METHOD(socket_t, destroy, void,
	private_kernel_testudo_socket_t *this)
{
	free(this);
}

socket_t *kernel_testudo_socket_create(bridge_t *bridge)
{
	private_kernel_testudo_socket_t *this;

	INIT(this,
		.public = {
			.receive = _receive_packet,
			.send = _send_packet,
			.get_port = _get_port,
			.supported_families = _supported_families,
			.destroy = _destroy,
		},
		.bridge = bridge,
	);
	return &this->public;
}
