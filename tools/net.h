/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_NET_H
#define RINGLET_NET_H

#include "vm.h"

#define NET_FRAME_MAX	65550		/* with its Ethernet header, offloads included */

static inline bool net_is_user(const struct net_config *config)
{
	return !config->tap[0] && !config->bridge[0];
}

/* net_tap.c */
void net_random_mac(uint8_t mac[6]);
void net_tap_open(struct net_config *config);

/* net_user.c */
void net_user_start(struct net_config *config);

#endif
