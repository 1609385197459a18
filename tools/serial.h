/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_SERIAL_H
#define RINGLET_SERIAL_H

#include <stdbool.h>
#include <stdint.h>

struct serial;

int serial_feed(struct serial *serial, const uint8_t *data, int len);
bool serial_break(struct serial *serial);
void serial_flush(struct serial *serial);

#endif
