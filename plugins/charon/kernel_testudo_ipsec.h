/* SPDX-License-Identifier: GPL-2.0-or-later
 * charon's kernel_ipsec_t, with the node in the place of a kernel. ESP in tunnel mode over IPv4.
 */
#ifndef KERNEL_TESTUDO_IPSEC_H_
#define KERNEL_TESTUDO_IPSEC_H_

#include <kernel/kernel_ipsec.h>

#include "bridge.h"

/**
 * The bridge stays the caller's and must live longer.
 */
kernel_ipsec_t *kernel_testudo_ipsec_create(bridge_t *bridge);

#endif
