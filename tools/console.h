/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_CONSOLE_H
#define RINGLET_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

/* What the user typed, apart from characters for the guest. */
enum console_key { CONSOLE_NONE, CONSOLE_QUIT, CONSOLE_BREAK };

void console_open(void);
void console_restore(void);
void console_resume(void);
bool console_is_raw(void);
int console_input_fd(void);
bool console_input_ended(void);
int console_open_output(void);
int console_read(uint8_t *buf, int room, enum console_key *key);

#endif
