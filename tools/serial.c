// SPDX-License-Identifier: GPL-2.0
/*
 * 16550A serial port: the guest's console on standard output and input.
 *
 * Output is written a line at a time, or when a timer finds a part of a line
 * that has waited. Input is taken from the user only while the guest listens
 * (its receive interrupt is enabled): what a script pipes in before the shell is
 * there waits in the pipe, where it would be lost in the port's FIFO.
 *
 * Owns:    struct serial and standard output.
 * Touches: interrupt 4.
 * Locks:   its own, taken by the bus. A vCPU holds it while it waits for a slow
 *          reader of standard output, so the main thread, which has signals to
 *          attend to, only ever tries to take it.
 * Manuals: PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs.
 */
#include <errno.h>
#include <linux/serial_reg.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "console.h"
#include "serial.h"
#include "vm.h"

#define PORT		0x3f8
#define FIFO_SIZE	16
#define OUTPUT_SIZE	512
#define FLUSH_DELAY_NS	(5 * 1000 * 1000)

#define IIR_FIFO_ENABLED	0xc0
#define MSR_LINES		(UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)

struct serial {
	struct vm *vm;
	pthread_mutex_t lock;

	uint8_t ier, lcr, mcr, lsr_errors, scr, dll, dlm;
	bool fifo_enabled;
	bool thre_pending;		/* transmitter became empty, not yet seen in IIR */
	bool irq;			/* level of the interrupt line */

	uint8_t fifo[FIFO_SIZE];	/* received, a ring from head */
	unsigned int head, count;
	bool starved;			/* the main thread waits for room */
	int room_fd;			/* eventfd that tells it */

	uint8_t out[OUTPUT_SIZE];
	unsigned int out_len;
	bool timer_armed;
	int timer_fd;			/* flushes what has waited */
	int out_fd;			/* does not block where that can be had */
};

static bool receiving(const struct serial *s)
{
	return s->ier & UART_IER_RDI;
}

static uint8_t pending(const struct serial *s)
{
	if ((s->ier & UART_IER_RLSI) && s->lsr_errors)
		return UART_IIR_RLSI;
	if ((s->ier & UART_IER_RDI) && s->count)
		return UART_IIR_RDI;
	if ((s->ier & UART_IER_THRI) && s->thre_pending)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

static void update_irq(struct serial *s)
{
	bool level = pending(s) != UART_IIR_NO_INT;

	if (level == s->irq)
		return;
	s->irq = level;
	vm_irq_line(s->vm, IRQ_SERIAL, level);
}

static void tell_room(struct serial *s)
{
	if (!s->starved || !receiving(s) || s->count == FIFO_SIZE)
		return;
	s->starved = false;
	eventfd_write(s->room_fd, 1);
}

static void start_timer(struct serial *s)
{
	const struct itimerspec delay = { .it_value.tv_nsec = FLUSH_DELAY_NS };

	s->timer_armed = !timerfd_settime(s->timer_fd, 0, &delay, NULL);
}

/* Write out what the reader takes now. Returns whether that was all. */
static bool try_flush(struct serial *s)
{
	ssize_t n;

	while (s->out_len) {
		n = write(s->out_fd, s->out, s->out_len);
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			vm_stop(s->vm, VM_SIGNAL);	/* nobody is there to read */
			n = s->out_len;
		}
		s->out_len -= n;
		memmove(s->out, s->out + n, s->out_len);
	}
	return true;
}

/* Write out everything, unless the VM is stopped from outside while that waits. */
static void flush(struct serial *s)
{
	while (!try_flush(s)) {
		struct pollfd out = { .fd = s->out_fd, .events = POLLOUT };

		if (vm_given_up(s->vm))
			s->out_len = 0;
		else
			poll(&out, 1, 100);
	}
}

static void receive(struct serial *s, uint8_t byte)
{
	if (s->count == FIFO_SIZE) {
		s->lsr_errors |= UART_LSR_OE;
		return;
	}
	s->fifo[(s->head + s->count++) % FIFO_SIZE] = byte;
}

static void transmit(struct serial *s, uint8_t byte)
{
	s->thre_pending = true;		/* the byte is gone at once */
	if (s->mcr & UART_MCR_LOOP) {
		receive(s, byte);
		return;
	}
	s->out[s->out_len++] = byte;
	if (byte == '\n' || s->out_len == OUTPUT_SIZE)
		flush(s);
	else if (!s->timer_armed)
		start_timer(s);
}

static uint8_t read_rx(struct serial *s)
{
	uint8_t byte = 0;

	if (s->count) {
		byte = s->fifo[s->head];
		s->head = (s->head + 1) % FIFO_SIZE;
		s->count--;
	}
	return byte;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t id = pending(s);

	if (id == UART_IIR_THRI)
		s->thre_pending = false;
	return id | (s->fifo_enabled ? IIR_FIFO_ENABLED : 0);
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t lsr = UART_LSR_THRE | UART_LSR_TEMT | s->lsr_errors | (s->count ? UART_LSR_DR : 0);

	s->lsr_errors = 0;
	return lsr;
}

static uint8_t read_msr(struct serial *s)
{
	if (!(s->mcr & UART_MCR_LOOP))
		return MSR_LINES;
	return (s->mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
	       (s->mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
	       (s->mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
	       (s->mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
}

static uint64_t serial_read(void *dev, uint64_t offset, unsigned int size)
{
	struct serial *s = dev;
	bool dlab = s->lcr & UART_LCR_DLAB;
	uint8_t value = 0;

	if (size != 1)
		return ~0ULL;
	switch (offset) {
	case UART_RX:
		value = dlab ? s->dll : read_rx(s);
		break;
	case UART_IER:
		value = dlab ? s->dlm : s->ier;
		break;
	case UART_IIR:
		value = read_iir(s);
		break;
	case UART_LCR:
		value = s->lcr;
		break;
	case UART_MCR:
		value = s->mcr;
		break;
	case UART_LSR:
		value = read_lsr(s);
		break;
	case UART_MSR:
		value = read_msr(s);
		break;
	case UART_SCR:
		value = s->scr;
		break;
	}
	update_irq(s);
	tell_room(s);
	return value;
}

static void write_ier(struct serial *s, uint8_t value)
{
	value &= UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI;
	/* Enabling it tells of a transmitter that is empty already. */
	if (value & ~s->ier & UART_IER_THRI)
		s->thre_pending = true;
	s->ier = value;
}

/*
 * A real one also forgets what it received when its FIFOs are switched on. Linux
 * does that after it has begun to listen: nobody types so fast, but a pipe does.
 */
static void write_fcr(struct serial *s, uint8_t value)
{
	s->fifo_enabled = value & UART_FCR_ENABLE_FIFO;
	if (value & UART_FCR_CLEAR_RCVR)
		s->count = 0;
}

static void serial_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct serial *s = dev;
	bool dlab = s->lcr & UART_LCR_DLAB;

	if (size != 1)
		return;
	switch (offset) {
	case UART_TX:
		if (dlab)
			s->dll = value;
		else
			transmit(s, value);
		break;
	case UART_IER:
		if (dlab)
			s->dlm = value;
		else
			write_ier(s, value);
		break;
	case UART_FCR:
		write_fcr(s, value);
		break;
	case UART_LCR:
		s->lcr = value;
		break;
	case UART_MCR:
		s->mcr = value & (UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT1 | UART_MCR_OUT2 |
				  UART_MCR_LOOP);
		break;
	case UART_SCR:
		s->scr = value;
		break;
	}
	update_irq(s);
	tell_room(s);
}

static const struct io_ops serial_ops = { serial_read, serial_write };

static void timer_event(void *dev)
{
	struct serial *s = dev;
	uint64_t expirations;

	if (read(s->timer_fd, &expirations, sizeof(expirations)) < 0)
		return;
	if (pthread_mutex_trylock(&s->lock)) {
		start_timer(s);
		return;
	}
	s->timer_armed = false;
	if (!try_flush(s))
		start_timer(s);
	pthread_mutex_unlock(&s->lock);
}

static void room_event(void *dev)
{
	struct serial *s = dev;
	eventfd_t value;

	eventfd_read(s->room_fd, &value);	/* the main loop looks again by itself */
}

/**
 * serial_feed() - Give the guest what the user typed
 *
 * Return: number of bytes taken (when it is not all, an event follows once there
 * is room again), -1 when the port is busy.
 */
int serial_feed(struct serial *s, const uint8_t *data, int len)
{
	int taken = 0;

	if (pthread_mutex_trylock(&s->lock))
		return -1;
	while (receiving(s) && s->count < FIFO_SIZE && taken < len)
		receive(s, data[taken++]);
	s->starved = taken < len;
	update_irq(s);
	pthread_mutex_unlock(&s->lock);
	return taken;
}

/** serial_break() - A zero byte with its mark in the line status; false when busy */
bool serial_break(struct serial *s)
{
	if (pthread_mutex_trylock(&s->lock))
		return false;
	receive(s, 0);
	s->lsr_errors |= UART_LSR_BI;
	update_irq(s);
	pthread_mutex_unlock(&s->lock);
	return true;
}

/** serial_flush() - Write what is left of the last line */
void serial_flush(struct serial *s)
{
	pthread_mutex_lock(&s->lock);
	flush(s);
	pthread_mutex_unlock(&s->lock);
}

void serial_start(struct vm *vm)
{
	struct serial *s = vm_alloc(vm, sizeof(*s));

	s->vm = vm;
	pthread_mutex_init(&s->lock, NULL);
	s->room_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	vm_add_event(vm, s->room_fd, room_event, s);
	vm_add_event(vm, s->timer_fd, timer_event, s);
	s->out_fd = console_open_output();
	vm_add_fd(vm, s->out_fd);
	bus_add(&vm->pio, PORT, 8, &serial_ops, &s->lock, s);
	vm->serial = s;
}
