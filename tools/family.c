// SPDX-License-Identifier: GPL-2.0
/*
 * The module's generic netlink family, uapi/ringlet.yaml, through libnl.
 *
 * Owns:    the socket, its buffers, the family's number.
 * Touches: nothing else.
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <unistd.h>

#include "family.h"
#include "util.h"

static int family;

struct call {
	family_fn fn;
	void *arg;
};

static int message(struct nl_msg *msg, void *arg)
{
	struct family_msg m = { .head = nlmsg_hdr(msg) };
	const struct call *call = arg;

	m.cmd = genlmsg_hdr(m.head)->cmd;
	if (!genlmsg_parse(m.head, 0, m.attr, FAMILY_MAX_ATTR, NULL))
		call->fn(&m, call->arg);
	return NL_OK;
}

static void send_command(struct nl_sock *sock, int cmd, int flags)
{
	struct nl_msg *msg = nlmsg_alloc();
	int r;

	if (!msg || !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags, cmd,
				 RINGLET_FAMILY_VERSION))
		die("out of memory");
	r = nl_send_auto(sock, msg);
	nlmsg_free(msg);
	if (r < 0)
		die("netlink: %s", nl_geterror(r));
}

/** family_open() - Connect; ends the program when the module is not there */
struct nl_sock *family_open(void)
{
	struct nl_sock *sock = nl_socket_alloc();
	int r;

	if (!sock)
		die("out of memory");
	r = genl_connect(sock);
	if (r < 0)
		die("netlink: %s", nl_geterror(r));
	family = genl_ctrl_resolve(sock, RINGLET_FAMILY_NAME);
	if (family < 0)
		die("there is no netlink family '" RINGLET_FAMILY_NAME "': is ringlet.ko loaded?");
	return sock;
}

/** family_dump() - Ask for all of something; @fn gets each message */
void family_dump(struct nl_sock *sock, int cmd, family_fn fn, void *arg)
{
	struct call call = { fn, arg };
	int r;

	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, message, &call);
	send_command(sock, cmd, NLM_F_DUMP);
	r = nl_recvmsgs_default(sock);
	if (r < 0)
		die("netlink: %s", nl_geterror(r));
}

/*
 * The group has everybody's events, and is not for everybody. Others subscribe to
 * those of what they may see.
 */
static void subscribe(struct nl_sock *sock)
{
	int group = genl_ctrl_resolve_grp(sock, RINGLET_FAMILY_NAME, RINGLET_MCGRP_EVENTS), r;

	nl_socket_disable_seq_check(sock);
	if (group >= 0 && nl_socket_add_membership(sock, group) >= 0)
		return;
	send_command(sock, RINGLET_CMD_SUBSCRIBE, 0);
	r = nl_wait_for_ack(sock);
	if (r < 0)
		die("netlink: %s", nl_geterror(r));
}

/** family_listen() - @fn gets each event, until a signal ends the program */
void family_listen(struct nl_sock *sock, family_fn fn, void *arg)
{
	struct call call = { fn, arg };
	int r;

	nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, message, &call);
	subscribe(sock);
	for (;;) {
		r = nl_recvmsgs_default(sock);
		if (r == -NLE_NOMEM)
			warn("more events came than were read; some are lost");
		else if (r < 0)
			die("netlink: %s", nl_geterror(r));
	}
}

uint32_t family_u32(const struct family_msg *msg, int type)
{
	return msg->attr[type] && nla_len(msg->attr[type]) >= 4 ? nla_get_u32(msg->attr[type]) : 0;
}

uint64_t family_u64(const struct family_msg *msg, int type)
{
	return msg->attr[type] && nla_len(msg->attr[type]) >= 8 ? nla_get_u64(msg->attr[type]) : 0;
}

const char *family_string(const struct family_msg *msg, int type)
{
	return msg->attr[type] && nla_len(msg->attr[type]) ? nla_get_string(msg->attr[type]) : "";
}

/** family_device_type() - What a virtio device is, for a person */
const char *family_device_type(uint32_t type)
{
	static const char * const types[] = {
		[VIRTIO_ID_NET] = "network",
		[VIRTIO_ID_BLOCK] = "disk",
	};

	return type < ARRAY_SIZE(types) && types[type] ? types[type] : "?";
}
