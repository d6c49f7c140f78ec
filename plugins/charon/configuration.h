/* SPDX-License-Identifier: GPL-2.0-or-later
 * What charon may propose: the node is told of every child configuration, at first and whenever one has changed, so that
 * it can say at once which proposals it could not carry out, and not only when a peer takes one.
 */
#ifndef CONFIGURATION_H_
#define CONFIGURATION_H_

#include "bridge.h"

/**
 * Looks every second, on a thread of charon's own, from the moment on that charon works. Reads all configuration
 * backends; vici's connections come and go while charon runs, and nobody tells of it.
 *
 * @param bridge	must live until charon's jobs have ended, as a plugin does
 */
void configuration_watch(bridge_t *bridge);

#endif
