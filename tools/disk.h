/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_DISK_H
#define RINGLET_DISK_H

#include "vm.h"

void disk_open(struct disk_config *config);

#endif
