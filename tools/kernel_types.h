/* SPDX-License-Identifier: GPL-2.0 */
/* What kmod/virtio/ring.[ch], which is built here too, takes for granted. */
#ifndef RINGLET_KERNEL_TYPES_H
#define RINGLET_KERNEL_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;

#endif
