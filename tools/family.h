/* SPDX-License-Identifier: GPL-2.0 */
/* The module's generic netlink family, for the commands that look at what runs. */
#ifndef RINGLET_FAMILY_H
#define RINGLET_FAMILY_H

#include <linux/ringlet_netlink.h>
#include <netlink/attr.h>
#include <netlink/netlink.h>
#include <stdint.h>

#define FAMILY_MAX_ATTR	31	/* of any of its sets */

struct family_msg {
	int cmd;
	struct nlmsghdr *head;
	struct nlattr *attr[FAMILY_MAX_ATTR + 1];	/* by type; absent ones are NULL */
};

typedef void (*family_fn)(const struct family_msg *msg, void *arg);

struct nl_sock *family_open(void);
void family_dump(struct nl_sock *sock, int cmd, family_fn fn, void *arg);
_Noreturn void family_listen(struct nl_sock *sock, family_fn fn, void *arg);

/* The value, 0 for one that is absent. */
uint32_t family_u32(const struct family_msg *msg, int type);
uint64_t family_u64(const struct family_msg *msg, int type);
const char *family_string(const struct family_msg *msg, int type);	/* or "" */
const char *family_device_type(uint32_t type);

#endif
