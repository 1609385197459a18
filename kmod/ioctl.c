// SPDX-License-Identifier: GPL-2.0-only
/*
 * The one place where ioctl arguments of a fixed size are copied in and out.
 *
 * Owns:    nothing.
 * Locks:   none; a row's function takes what it needs.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ioctl.h"

/**
 * rl_ioctl() - Find @cmd in @table and carry it out
 * @table: rows
 * @n: number of rows
 * @obj: VM, vCPU or device that the descriptor stands for, NULL for the system
 * @cmd: the ioctl
 * @arg: its argument as given
 * @unknown: what to answer when it is not there (KVM's errno differs by
 *	descriptor kind)
 *
 * Return: what the row says, -EFAULT, -ENOMEM or @unknown.
 */
long rl_ioctl(const struct rl_ioctl *table, int n, void *obj, unsigned int cmd,
	      unsigned long arg, int unknown)
{
	void __user *user = (void __user *)arg;
	size_t size = _IOC_SIZE(cmd);
	u8 small[256] __aligned(8);
	void *data = NULL;
	long r;
	int i;

	for (i = 0; i < n && table[i].cmd != cmd; i++)
		;
	if (i == n)
		return unknown;

	if (table[i].copy) {
		data = size <= sizeof(small) ? small : kmalloc(size, GFP_KERNEL_ACCOUNT);
		if (!data)
			return -ENOMEM;
		/* What is copied out must not carry old kernel memory. */
		if (!(table[i].copy & RL_IOC_IN))
			memset(data, 0, size);
		else if (copy_from_user(data, user, size))
			goto efault;
	}
	r = table[i].fn(obj, data, arg, user);
	if (r >= 0 && (table[i].copy & RL_IOC_OUT) && copy_to_user(user, data, size))
		goto efault;
out:
	if (data != small)
		kfree(data);
	return r;
efault:
	r = -EFAULT;
	goto out;
}
