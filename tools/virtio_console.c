// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-console: one port, whose output joins the serial port's on standard
 * output, and which gets what the user types when --console says so.
 *
 * Owns:    struct vconsole.
 * Touches: standard output.
 * Locks:   none: the device's thread. What was typed comes to it through a pipe.
 * Manuals: Virtual I/O Device (VIRTIO) Version 1.2, "Console Device".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "console.h"
#include "virtio.h"

#define CLASS_SERIAL	0x07800000u

enum { RECEIVE, TRANSMIT, QUEUES };

struct vconsole {
	struct virtio_dev dev;		/* first */
	int pipe[2];			/* typed, not yet taken */
	int out_fd;
};

/* Write all of it, unless the device is stopped while a slow reader lets it wait. */
static void write_all(struct vconsole *c, struct iovec *iov, unsigned int count)
{
	while (count && !atomic_load(&c->dev.stopping)) {
		struct pollfd out = { .fd = c->out_fd, .events = POLLOUT };
		ssize_t n = writev(c->out_fd, iov, count);

		if (n >= 0) {
			iov_skip(&iov, &count, n);
		} else if (errno == EAGAIN) {
			poll(&out, 1, 100);
		} else if (errno != EINTR) {
			vm_stop(c->dev.pci.vm, VM_SIGNAL);	/* nobody is there to read */
			return;
		}
	}
}

static int transmit(struct virtio_queue *q, struct chain *chain)
{
	write_all((struct vconsole *)q->dev, chain->out, chain->nout);
	vring_push(q, &chain->c, 0);
	return 0;
}

/* Without a buffer what was typed stays in the pipe, and the pipe is not looked at. */
static int receive(struct vconsole *c, struct virtio_queue *q)
{
	struct chain chain;
	ssize_t n;
	int got = vring_next(q, &chain);

	c->dev.fds[0].fd = got > 0 ? c->pipe[0] : -1;
	if (got <= 0)
		return got;
	n = readv(c->pipe[0], chain.in, chain.nin);
	if (n <= 0) {
		vring_unpop(q, &chain);
		return 0;
	}
	vring_push(q, &chain.c, n);
	vring_flush(q);
	return 0;
}

static int console_serve(struct virtio_dev *dev, struct virtio_queue *q)
{
	struct vconsole *c = (struct vconsole *)dev;

	return q->index == TRANSMIT ? vring_serve(q, transmit) : receive(c, q);
}

static int console_ready(struct virtio_dev *dev, unsigned int i)
{
	return receive((struct vconsole *)dev, &dev->queue[RECEIVE]);
}

static void console_start(struct virtio_dev *dev)
{
	struct vconsole *c = (struct vconsole *)dev;

	if (!dev->queue[RECEIVE].enabled)
		return;
	dev->fds[0] = (struct pollfd){ .fd = c->pipe[0], .events = POLLIN };
	dev->nfds = 1;
}

static void console_destroy(struct virtio_dev *dev)
{
	struct vconsole *c = (struct vconsole *)dev;

	close(c->pipe[0]);
	close(c->pipe[1]);
	close(c->out_fd);
}

static const struct virtio_model console_model = {
	.name = "virtio-console",
	.id = VIRTIO_ID_CONSOLE,
	.class_revision = CLASS_SERIAL,
	.serve = console_serve,
	.ready = console_ready,
	.start = console_start,
	.destroy = console_destroy,
};

/**
 * virtio_console_feed() - Give the guest what the user typed
 *
 * Return: number of bytes taken, -1 when there is no room now.
 */
int virtio_console_feed(struct virtio_dev *dev, const uint8_t *data, int len)
{
	return write(((struct vconsole *)dev)->pipe[1], data, len);
}

/* Answers whether there is a size to tell. */
static bool take_size(struct virtio_dev *dev)
{
	struct virtio_console_config config = { 0 };
	struct winsize size;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) || !size.ws_col || !size.ws_row)
		return false;
	config.cols = size.ws_col;
	config.rows = size.ws_row;
	memcpy(dev->config, &config, sizeof(config));
	return true;
}

/** virtio_console_resized() - The user's terminal has another size */
void virtio_console_resized(struct virtio_dev *dev)
{
	bool told;

	pthread_mutex_lock(&dev->pci.lock);
	/* The size is kept for a driver that is not there yet. */
	told = take_size(dev) && virtio_has(dev, VIRTIO_CONSOLE_F_SIZE);
	pthread_mutex_unlock(&dev->pci.lock);
	if (told)
		virtio_config_changed(dev);
}

void virtio_console_start(struct vm *vm)
{
	struct vconsole *c;

	if (!vm->config->virtio_console)
		return;
	c = vm_alloc(vm, sizeof(*c));
	if (pipe2(c->pipe, O_CLOEXEC | O_NONBLOCK))
		die("virtio-console: cannot create its pipe: %s", strerror(errno));
	c->out_fd = console_open_output();
	virtio_init(vm, &c->dev, &console_model,
		    take_size(&c->dev) ? BIT_ULL(VIRTIO_CONSOLE_F_SIZE) : 0, QUEUES,
		    sizeof(struct virtio_console_config));
	vm->console = &c->dev;
}
