// SPDX-License-Identifier: GPL-2.0
/*
 * The keyboard controller without a keyboard: enough for a guest that probes it
 * to find it in working order, and the old way to reset a PC.
 *
 * Owns:    struct i8042.
 * Touches: vm_stop().
 * Locks:   its own, taken by the bus.
 * Manuals: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
 *          Auxiliary Device Controller".
 */
#include "vm.h"

#define DATA_PORT		0x60
#define COMMAND_PORT		0x64

#define STATUS_OUTPUT_FULL	BIT(0)
#define STATUS_SYSTEM		BIT(2)	/* passed its self test */
#define STATUS_UNLOCKED		BIT(4)

#define CMD_READ_CONFIG		0x20
#define CMD_WRITE_CONFIG	0x60
#define CMD_TEST_AUX		0xa9
#define CMD_SELF_TEST		0xaa
#define CMD_TEST_KEYBOARD	0xab
#define CMD_READ_OUTPUT		0xd0
#define CMD_WRITE_OUTPUT	0xd1
#define CMD_PULSE_OUTPUT	0xf0		/* low 4 bits: lines that stay as they are */

#define SELF_TEST_PASSED	0x55
#define TEST_NO_DEVICE		0x03		/* the data line is stuck low */
#define OUTPUT_NO_RESET		BIT(0)
#define OUTPUT_A20		BIT(1)

struct i8042 {
	struct vm *vm;
	pthread_mutex_t lock;
	uint8_t config, reply, command;
	bool full;
};

static void answer(struct i8042 *kbd, uint8_t value)
{
	kbd->reply = value;
	kbd->full = true;
}

static void command_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct i8042 *kbd = dev;

	kbd->command = value;
	switch (value) {
	case CMD_READ_CONFIG:
		answer(kbd, kbd->config);
		break;
	case CMD_SELF_TEST:
		answer(kbd, SELF_TEST_PASSED);
		break;
	case CMD_TEST_AUX:
	case CMD_TEST_KEYBOARD:
		answer(kbd, TEST_NO_DEVICE);
		break;
	case CMD_READ_OUTPUT:
		answer(kbd, OUTPUT_NO_RESET | OUTPUT_A20);
		break;
	case CMD_PULSE_OUTPUT ... 0xff:
		if (!(value & OUTPUT_NO_RESET))
			vm_stop(kbd->vm, VM_RESET);
		break;
	}
}

static void data_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct i8042 *kbd = dev;

	if (kbd->command == CMD_WRITE_CONFIG)
		kbd->config = value;
	else if (kbd->command == CMD_WRITE_OUTPUT && !(value & OUTPUT_NO_RESET))
		vm_stop(kbd->vm, VM_RESET);
	kbd->command = 0;
}

static uint64_t data_read(void *dev, uint64_t offset, unsigned int size)
{
	struct i8042 *kbd = dev;

	kbd->full = false;
	return kbd->reply;
}

static uint64_t status_read(void *dev, uint64_t offset, unsigned int size)
{
	struct i8042 *kbd = dev;

	return STATUS_SYSTEM | STATUS_UNLOCKED | (kbd->full ? STATUS_OUTPUT_FULL : 0);
}

static const struct io_ops data_ops = { data_read, data_write };
static const struct io_ops command_ops = { status_read, command_write };

void i8042_start(struct vm *vm)
{
	struct i8042 *kbd = vm_alloc(vm, sizeof(*kbd));

	kbd->vm = vm;
	pthread_mutex_init(&kbd->lock, NULL);
	bus_add(&vm->pio, DATA_PORT, 1, &data_ops, &kbd->lock, kbd);
	bus_add(&vm->pio, COMMAND_PORT, 1, &command_ops, &kbd->lock, kbd);
}
