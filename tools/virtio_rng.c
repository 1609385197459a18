// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-rng: the host's random numbers.
 *
 * Owns:    struct virtio_dev alone.
 * Touches: getrandom().
 * Locks:   none: the device's thread.
 * Manuals: Virtual I/O Device (VIRTIO) Version 1.2, "Entropy Device".
 */
#include <sys/random.h>

#include "virtio.h"

#define CLASS_OTHER	0x00ff0000u
#define REQUEST_MAX	256		/* what getrandom() fills without being interrupted */

static int fill(struct virtio_queue *q, struct chain *chain)
{
	uint8_t random[REQUEST_MAX];
	ssize_t n = getrandom(random, sizeof(random), 0);

	if (!chain->nin || n < 0)
		return -1;
	vring_push(q, &chain->c, iov_write(chain->in, chain->nin, 0, random, n));
	return 0;
}

static int rng_serve(struct virtio_dev *dev, struct virtio_queue *q)
{
	return vring_serve(q, fill);
}

static const struct virtio_model rng_model = {
	.name = "virtio-rng",
	.id = VIRTIO_ID_RNG,
	.class_revision = CLASS_OTHER,
	.serve = rng_serve,
};

void virtio_rng_start(struct vm *vm)
{
	if (vm->config->rng)
		virtio_init(vm, vm_alloc(vm, sizeof(struct virtio_dev)), &rng_model, 0, 1, 0);
}
