// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-balloon: memory that the guest does without goes back to the host: so much
 * as --balloon says, and what the guest reports to be free.
 *
 * Owns:    struct balloon.
 * Touches: guest memory, by taking pages away.
 * Locks:   none: the device's thread.
 * Manuals: Virtual I/O Device (VIRTIO) Version 1.2, "Traditional Memory Balloon
 *          Device".
 */
#include <linux/virtio_balloon.h>
#include <string.h>

#include "virtio.h"

#define CLASS_OTHER	0x00ff0000u
#define BALLOON_PAGE	4096ULL		/* its unit, whatever the guest's pages are */
#define PFNS		256		/* looked at in one piece */

enum { INFLATE, DEFLATE, REPORTING, QUEUES };

static void take(struct vm *vm, uint64_t gpa, uint64_t len)
{
	void *p = guest_ptr(vm, gpa, len);

	if (p)
		memory_discard(vm, p, len);
}

/* How many of the pages, from the first on, lie side by side; @first: the lowest. */
static size_t run_length(const uint32_t *pfn, size_t count, uint32_t *first)
{
	size_t up = 1, down = 1;

	while (up < count && pfn[up] == pfn[0] + up)
		up++;
	while (down < count && pfn[down] == pfn[0] - down)
		down++;
	*first = up >= down ? pfn[0] : pfn[down - 1];
	return up >= down ? up : down;
}

static void inflate(struct vm *vm, const struct chain *chain)
{
	uint32_t pfn[PFNS], first;
	size_t bytes, skip = 0;

	while ((bytes = iov_read(chain->out, chain->nout, skip, pfn, sizeof(pfn)))) {
		size_t count = bytes / sizeof(pfn[0]), run;

		for (size_t i = 0; i < count; i += run) {
			run = run_length(pfn + i, count - i, &first);
			take(vm, first * BALLOON_PAGE, run * BALLOON_PAGE);
		}
		skip += bytes;
	}
}

/* Free pages: the guest tells of them as of buffers, and waits for the answer. */
static void reported(struct vm *vm, const struct chain *chain)
{
	for (unsigned int i = 0; i < chain->nin; i++) {
		const struct iovec *v = &chain->in[i];

		if (!((uintptr_t)v->iov_base % PAGE_SIZE) && !(v->iov_len % PAGE_SIZE))
			memory_discard(vm, v->iov_base, v->iov_len);
	}
}

static int answer(struct virtio_queue *q, struct chain *chain)
{
	if (q->index == INFLATE)
		inflate(q->dev->pci.vm, chain);
	else if (q->index == REPORTING)
		reported(q->dev->pci.vm, chain);
	vring_push(q, &chain->c, 0);
	return 0;
}

static int balloon_serve(struct virtio_dev *dev, struct virtio_queue *q)
{
	return vring_serve(q, answer);
}

static const struct virtio_model balloon_model = {
	.name = "virtio-balloon",
	.id = VIRTIO_ID_BALLOON,
	.class_revision = CLASS_OTHER,
	.serve = balloon_serve,
};

void virtio_balloon_start(struct vm *vm)
{
	struct virtio_balloon_config config = {
		.num_pages = vm->config->balloon_size / BALLOON_PAGE,
	};
	struct virtio_dev *dev;

	if (!vm->config->balloon)
		return;
	dev = vm_alloc(vm, sizeof(*dev));
	memcpy(dev->config, &config, sizeof(config));
	memset(dev->writable + offsetof(struct virtio_balloon_config, actual), 0xff,
	       sizeof(config.actual));
	virtio_init(vm, dev, &balloon_model, BIT_ULL(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) |
		    BIT_ULL(VIRTIO_BALLOON_F_REPORTING), QUEUES,
		    offsetof(struct virtio_balloon_config, free_page_hint_cmd_id));
}
