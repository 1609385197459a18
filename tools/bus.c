// SPDX-License-Identifier: GPL-2.0
/*
 * Port and memory accesses that exit to user space find their device model here.
 *
 * Owns:    struct bus.
 * Touches: nothing else.
 * Locks:   takes the device's lock around its handlers. Tables do not change
 *          once vCPUs run.
 */
#include <string.h>

#include "vm.h"

/**
 * bus_add() - Answer on a range
 * @lock: held around each call of @ops; ranges of one device share it. NULL: @ops
 *        lock for themselves
 * @dev:  passed to @ops
 */
void bus_add(struct bus *bus, uint64_t base, uint64_t len, const struct io_ops *ops,
	     pthread_mutex_t *lock, void *dev)
{
	if (bus->count == ARRAY_SIZE(bus->range))
		die("internal error: too many device ranges");
	bus->range[bus->count++] = (struct io_range){ base, len, ops, lock, dev };
}

static struct io_range *find(struct bus *bus, uint64_t addr, unsigned int size)
{
	for (unsigned int i = 0; i < bus->count; i++) {
		struct io_range *r = &bus->range[i];

		if (addr >= r->base && addr - r->base < r->len &&
		    size <= r->len - (addr - r->base))
			return r;
	}
	return NULL;
}

static void lock(struct io_range *r)
{
	if (r->lock)
		pthread_mutex_lock(r->lock);
}

static void unlock(struct io_range *r)
{
	if (r->lock)
		pthread_mutex_unlock(r->lock);
}

void bus_read(struct bus *bus, uint64_t addr, void *data, unsigned int size)
{
	struct io_range *r = find(bus, addr, size);
	uint64_t value = ~0ULL;

	if (r) {
		lock(r);
		value = r->ops->read(r->dev, addr - r->base, size);
		unlock(r);
	}
	memcpy(data, &value, size);
}

void bus_write(struct bus *bus, uint64_t addr, const void *data, unsigned int size)
{
	struct io_range *r = find(bus, addr, size);
	uint64_t value = 0;

	if (!r)
		return;
	memcpy(&value, data, size);
	lock(r);
	r->ops->write(r->dev, addr - r->base, size, value);
	unlock(r);
}
