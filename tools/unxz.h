/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_UNXZ_H
#define RINGLET_UNXZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool unxz(const uint8_t *in, size_t len, uint8_t *out, size_t size);

#endif
