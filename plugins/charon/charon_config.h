/* SPDX-License-Identifier: GPL-2.0-or-later
 * Included before everything else, in the place of strongSwan's config.h: how Debian's charon was configured, as far as
 * its headers depend on it.
 */
#ifndef CHARON_CONFIG_H_
#define CHARON_CONFIG_H_

/* Debian builds with mediation. Without this the members of ike_sa_t, peer_cfg_t and daemon_t shift, silently. */
#define ME 1
#define CONFIG_H_INCLUDED 1
#define USE_IKEV1 1
#define USE_IKEV2 1

/* What glibc has; keeps the headers from declaring replacements. */
#define HAVE_SIGWAITINFO 1
#define HAVE_CLOSEFROM 1
#define HAVE_EXPLICIT_BZERO 1

#endif
