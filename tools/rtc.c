// SPDX-License-Identifier: GPL-2.0
/*
 * CMOS clock and memory (MC146818): the host's time in UTC, which the guest may
 * set for itself, with alarm, update and periodic interrupts.
 *
 * Owns:    struct rtc.
 * Touches: interrupt 8.
 * Locks:   its own: taken by the bus, and by the timer's event.
 * Manuals: MC146818 Real-Time Clock Plus RAM.
 */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "vm.h"

#define INDEX_PORT	0x70
#define NMI_DISABLE	0x80		/* in the index register */
#define CMOS_SIZE	128

enum {
	SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM,
	DAY_OF_WEEK, DAY, MONTH, YEAR, REG_A, REG_B, REG_C, REG_D, CENTURY = 0x32,
};

#define A_UPDATE	0x80		/* in progress */
#define A_RATE		0x0f
#define A_32KHZ		0x20
#define B_SET		0x80
#define B_PERIODIC	0x40
#define B_ALARM		0x20
#define B_UPDATE	0x10
#define B_BINARY	0x04
#define B_24H		0x02
#define C_IRQ		0x80
#define D_VALID		0x80
#define HOURS_PM	0x80
#define ALARM_ANY	0xc0

#define NSEC_PER_SEC	1000000000L
#define UPDATE_NS	244000L		/* notice before the time changes */

struct rtc {
	struct vm *vm;
	pthread_mutex_t lock;
	uint8_t index, cmos[CMOS_SIZE];
	time_t offset;			/* guest's time less the host's */
	time_t ticked;			/* the second of the last update interrupt */
	int timer_fd;
};

static struct timespec now(const struct rtc *rtc)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += rtc->offset;
	return ts;
}

static uint8_t encode(const struct rtc *rtc, unsigned int value)
{
	return rtc->cmos[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10;
}

static unsigned int decode(const struct rtc *rtc, uint8_t reg)
{
	return rtc->cmos[REG_B] & B_BINARY ? reg : (reg >> 4) * 10 + (reg & 0xf);
}

static uint8_t encode_hours(const struct rtc *rtc, unsigned int hours)
{
	if (rtc->cmos[REG_B] & B_24H)
		return encode(rtc, hours);
	return encode(rtc, hours % 12 ?: 12) | (hours >= 12 ? HOURS_PM : 0);
}

static unsigned int decode_hours(const struct rtc *rtc, uint8_t reg)
{
	if (rtc->cmos[REG_B] & B_24H)
		return decode(rtc, reg);
	return decode(rtc, reg & ~HOURS_PM) % 12 + (reg & HOURS_PM ? 12 : 0);
}

/* Bring the time registers up to date, unless the guest is writing them. */
static void latch(struct rtc *rtc)
{
	struct timespec ts = now(rtc);
	struct tm tm;

	if (rtc->cmos[REG_B] & B_SET)
		return;
	gmtime_r(&ts.tv_sec, &tm);
	rtc->cmos[SECONDS] = encode(rtc, tm.tm_sec);
	rtc->cmos[MINUTES] = encode(rtc, tm.tm_min);
	rtc->cmos[HOURS] = encode_hours(rtc, tm.tm_hour);
	rtc->cmos[DAY_OF_WEEK] = encode(rtc, tm.tm_wday + 1);
	rtc->cmos[DAY] = encode(rtc, tm.tm_mday);
	rtc->cmos[MONTH] = encode(rtc, tm.tm_mon + 1);
	rtc->cmos[YEAR] = encode(rtc, tm.tm_year % 100);
	rtc->cmos[CENTURY] = encode(rtc, tm.tm_year / 100 + 19);
}

/* The guest has written the time registers: remember by how much it differs. */
static void set_time(struct rtc *rtc)
{
	struct tm tm = {
		.tm_sec = decode(rtc, rtc->cmos[SECONDS]),
		.tm_min = decode(rtc, rtc->cmos[MINUTES]),
		.tm_hour = decode_hours(rtc, rtc->cmos[HOURS]),
		.tm_mday = decode(rtc, rtc->cmos[DAY]),
		.tm_mon = decode(rtc, rtc->cmos[MONTH]) - 1,
		.tm_year = (decode(rtc, rtc->cmos[CENTURY]) - 19) * 100 +
			   decode(rtc, rtc->cmos[YEAR]),
	};

	rtc->offset = timegm(&tm) - time(NULL);
}

static void update_irq(struct rtc *rtc)
{
	uint8_t causes = B_PERIODIC | B_ALARM | B_UPDATE;
	bool level = rtc->cmos[REG_B] & rtc->cmos[REG_C] & causes;

	rtc->cmos[REG_C] = (rtc->cmos[REG_C] & causes) | (level ? C_IRQ : 0);
	vm_irq_line(rtc->vm, IRQ_RTC, level);
}

/* Nanoseconds between periodic interrupts; rates 1 and 2 mean the same as 8 and 9. */
static long period_ns(const struct rtc *rtc)
{
	unsigned int rate = rtc->cmos[REG_A] & A_RATE;

	if (!rate)
		return 0;
	if (rate <= 2)
		rate += 7;
	return (NSEC_PER_SEC << (rate - 1)) / 32768;
}

/* The timer runs only when an interrupt may come of it. */
static void set_timer(struct rtc *rtc)
{
	struct itimerspec when = { 0 };
	uint8_t b = rtc->cmos[REG_B];
	int flags = 0;

	rtc->ticked = now(rtc).tv_sec;
	if ((b & B_PERIODIC) && period_ns(rtc)) {
		when.it_value.tv_nsec = period_ns(rtc);
		when.it_interval = when.it_value;
	} else if ((b & (B_ALARM | B_UPDATE)) && !(b & B_SET)) {
		/* The guest's seconds begin with the host's. */
		when.it_value.tv_sec = rtc->ticked - rtc->offset + 1;
		when.it_interval.tv_sec = 1;
		flags = TFD_TIMER_ABSTIME;
	}
	timerfd_settime(rtc->timer_fd, flags, &when, NULL);
}

static bool alarm_matches(const struct rtc *rtc, unsigned int reg, unsigned int alarm)
{
	return rtc->cmos[alarm] >= ALARM_ANY || rtc->cmos[alarm] == rtc->cmos[reg];
}

static void tick(struct rtc *rtc)
{
	time_t second = now(rtc).tv_sec;

	if (rtc->cmos[REG_B] & B_PERIODIC)
		rtc->cmos[REG_C] |= B_PERIODIC;
	if (second != rtc->ticked && !(rtc->cmos[REG_B] & B_SET)) {
		rtc->ticked = second;
		latch(rtc);
		rtc->cmos[REG_C] |= B_UPDATE;
		if (alarm_matches(rtc, SECONDS, SECONDS_ALARM) &&
		    alarm_matches(rtc, MINUTES, MINUTES_ALARM) &&
		    alarm_matches(rtc, HOURS, HOURS_ALARM))
			rtc->cmos[REG_C] |= B_ALARM;
	}
	update_irq(rtc);
}

static void timer_event(void *dev)
{
	struct rtc *rtc = dev;
	uint64_t expirations;

	if (read(rtc->timer_fd, &expirations, sizeof(expirations)) < 0)
		return;
	pthread_mutex_lock(&rtc->lock);
	tick(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

static uint8_t read_reg(struct rtc *rtc)
{
	uint8_t value;

	switch (rtc->index) {
	case REG_A:
		value = rtc->cmos[REG_A];
		if (now(rtc).tv_nsec >= NSEC_PER_SEC - UPDATE_NS && !(rtc->cmos[REG_B] & B_SET))
			value |= A_UPDATE;
		return value;
	case REG_C:
		value = rtc->cmos[REG_C];
		rtc->cmos[REG_C] = 0;
		update_irq(rtc);
		return value;
	case SECONDS ... YEAR:
	case CENTURY:
		latch(rtc);
		break;
	}
	return rtc->cmos[rtc->index];
}

static void write_reg(struct rtc *rtc, uint8_t value)
{
	uint8_t before;

	switch (rtc->index) {
	case REG_A:
		rtc->cmos[REG_A] = value & ~A_UPDATE;
		set_timer(rtc);
		break;
	case REG_B:
		latch(rtc);
		before = rtc->cmos[REG_B];
		rtc->cmos[REG_B] = value;
		if (before & ~value & B_SET)
			set_time(rtc);
		set_timer(rtc);
		update_irq(rtc);
		break;
	case REG_C:
	case REG_D:
		break;
	default:
		rtc->cmos[rtc->index] = value;
	}
}

static uint64_t rtc_read(void *dev, uint64_t offset, unsigned int size)
{
	struct rtc *rtc = dev;

	if (size != 1 || !offset)
		return ~0ULL;
	return read_reg(rtc);
}

static void rtc_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct rtc *rtc = dev;

	if (!offset)
		rtc->index = value & ~NMI_DISABLE;
	/* A word written to the index port carries the data in its upper half. */
	if (offset || size == 2)
		write_reg(rtc, offset ? value : value >> 8);
}

static const struct io_ops rtc_ops = { rtc_read, rtc_write };

void rtc_start(struct vm *vm)
{
	struct rtc *rtc = vm_alloc(vm, sizeof(*rtc));

	rtc->vm = vm;
	rtc->cmos[REG_A] = A_32KHZ | 6;		/* 1024 Hz */
	rtc->cmos[REG_B] = B_24H;
	rtc->cmos[REG_D] = D_VALID;
	pthread_mutex_init(&rtc->lock, NULL);
	rtc->timer_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	vm_add_event(vm, rtc->timer_fd, timer_event, rtc);
	bus_add(&vm->pio, INDEX_PORT, 2, &rtc_ops, &rtc->lock, rtc);
}
