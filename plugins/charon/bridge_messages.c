/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bridge_messages.h"

#define IPV4_LEN 4
#define IPV6_LEN 16

static void lend(ProtobufCBinaryData *out, chunk_t from)
{
	out->data = from.ptr;
	out->len = from.len;
}

static bool same_family(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && (a->len == IPV4_LEN || a->len == IPV6_LEN);
}

bool bridge_host(Testudo__Bridge__Host *out, host_t *host)
{
	testudo__bridge__host__init(out);
	if (!host || (host->get_family(host) != AF_INET && host->get_family(host) != AF_INET6))
	{
		return FALSE;
	}
	lend(&out->address, host->get_address(host));
	out->port = host->get_port(host);
	return TRUE;
}

host_t *bridge_host_of(const Testudo__Bridge__Host *host)
{
	if (!host || host->port > 0xffff || !same_family(&host->address, &host->address))
	{
		return NULL;
	}
	return host_create_from_chunk(host->address.len == IPV4_LEN ? AF_INET : AF_INET6,
						chunk_create(host->address.data, host->address.len), host->port);
}

packet_t *bridge_packet_of(const Testudo__Bridge__IkeDatagram *datagram)
{
	host_t *source = bridge_host_of(datagram->source), *destination = bridge_host_of(datagram->destination);

	if (!source || !destination || !datagram->payload.len)
	{
		DESTROY_IF(source);
		DESTROY_IF(destination);
		return NULL;
	}
	return packet_create_from_data(source, destination,
						chunk_clone(chunk_create(datagram->payload.data, datagram->payload.len)));
}

bool bridge_selector(Testudo__Bridge__Selector *out, traffic_selector_t *ts)
{
	ts_type_t type = ts->get_type(ts);

	testudo__bridge__selector__init(out);
	if (type != TS_IPV4_ADDR_RANGE && type != TS_IPV6_ADDR_RANGE)
	{
		return FALSE;
	}
	lend(&out->first, ts->get_from_address(ts));
	lend(&out->last, ts->get_to_address(ts));
	out->protocol = ts->get_protocol(ts);
	out->first_port = ts->get_from_port(ts);
	out->last_port = ts->get_to_port(ts);
	return TRUE;
}

traffic_selector_t *bridge_selector_of(const Testudo__Bridge__Selector *selector)
{
	if (!selector || selector->protocol > 0xff || selector->first_port > 0xffff || selector->last_port > 0xffff ||
		!same_family(&selector->first, &selector->last))
	{
		return NULL;
	}
	return traffic_selector_create_from_bytes(selector->protocol,
						selector->first.len == IPV4_LEN ? TS_IPV4_ADDR_RANGE : TS_IPV6_ADDR_RANGE,
						chunk_create(selector->first.data, selector->first.len), selector->first_port,
						chunk_create(selector->last.data, selector->last.len), selector->last_port);
}
