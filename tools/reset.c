// SPDX-License-Identifier: GPL-2.0
/*
 * The A20 and reset port, and the reset control register. Other ports that a PC
 * would answer on (POST code, PCI configuration) need no model: the bus reads
 * all ones, and probing finds nothing.
 *
 * Owns:    nothing.
 * Touches: vm_stop().
 * Locks:   its own, taken by the bus.
 */
#include "acpi.h"
#include "vm.h"

#define FAST_A20_PORT	0x92
#define FAST_A20_RESET	BIT(0)
#define FAST_A20_ON	BIT(1)
#define RESET_CPU	BIT(2)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t a20_read(void *dev, uint64_t offset, unsigned int size)
{
	return FAST_A20_ON;
}

static void a20_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	if (value & FAST_A20_RESET)
		vm_stop(dev, VM_RESET);
}

static uint64_t reset_read(void *dev, uint64_t offset, unsigned int size)
{
	return 0;
}

static void reset_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	if (value & RESET_CPU)
		vm_stop(dev, VM_RESET);
}

static const struct io_ops a20_ops = { a20_read, a20_write };
static const struct io_ops reset_ops = { reset_read, reset_write };

void reset_start(struct vm *vm)
{
	bus_add(&vm->pio, FAST_A20_PORT, 1, &a20_ops, &lock, vm);
	bus_add(&vm->pio, RESET_PORT, 1, &reset_ops, &lock, vm);
}
