/* SPDX-License-Identifier: GPL-2.0-or-later
 * charon's addresses, traffic selectors and datagrams as messages have them, and back.
 *
 * What a message is filled with is lent: it lives as long as the host or selector that it was taken from.
 */
#ifndef BRIDGE_MESSAGES_H_
#define BRIDGE_MESSAGES_H_

#include <library.h>
#include <networking/host.h>
#include <networking/packet.h>
#include <selectors/traffic_selector.h>

#include "bridge.pb-c.h"

/**
 * Address and port. FALSE: of neither family.
 */
bool bridge_host(Testudo__Bridge__Host *out, host_t *host);

/**
 * FALSE: a selector of neither family.
 */
bool bridge_selector(Testudo__Bridge__Selector *out, traffic_selector_t *ts);

/**
 * NULL: malformed.
 */
host_t *bridge_host_of(const Testudo__Bridge__Host *host);
packet_t *bridge_packet_of(const Testudo__Bridge__IkeDatagram *datagram);
traffic_selector_t *bridge_selector_of(const Testudo__Bridge__Selector *selector);

#endif
