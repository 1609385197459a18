/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_UNXZ_H
#define RINGLET_UNXZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XZ_MAGIC	"\xfd" "7zXZ"
#define XZ_MAGIC_SIZE	6	/* with its closing zero */
#define XZ_HEADER	12
#define XZ_SLACK	64	/* a symbol takes at most a byte for each of its bits */

bool unxz(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len);

#endif
