// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Follows a console's output and stores which modes it has switched on
 *
 * A program that runs on after the user leaves the console (an editor, a shell
 * with bracketed paste) has set modes of the user's terminal. KMON resets them
 * when it leaves the console and sets them again when it returns.
 */

#include <common.h>
#include "kmon.h"

#define ESC	0x1b

/* Private modes that are followed; bit i of a word is entry i. */
static const u16 followed[] = {
	47, 1047, 1049, /* KM_ALTERNATE */
	1, 25, 1000, 1002, 1003, 1004, 1006, 1015, 2004,
};

/* On in a fresh terminal; the others are off. */
#define CURSOR	25

static u32 mode_bit(u16 number)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(followed); i++) {
		if (followed[i] == number)
			return BIT(i);
	}

	return 0;
}

static void change(u32 bits, u32 *changed, bool on)
{
	u32 cursor = bits & mode_bit(CURSOR);

	bits &= ~cursor;
	if (on)
		*changed = (*changed | bits) & ~cursor;
	else
		*changed = (*changed & ~bits) | cursor;
}

static void follow_parameters(struct km_modes *modes, u32 *changed, u8 byte)
{
	if (byte >= '0' && byte <= '9') {
		if (modes->number < 6000)
			modes->number = modes->number * 10 + byte - '0';
		return;
	}
	modes->bits |= mode_bit(modes->number);
	modes->number = 0;
	if (byte == ';')
		return;
	if (byte == 'h' || byte == 'l')
		change(modes->bits, changed, byte == 'h');
	modes->state = 0;
}

/**
 * km_follow_modes() - follow a byte of output
 * @modes:   how far a sequence is read
 * @changed: modes that differ from those of a fresh terminal
 * @byte:    the byte
 */
void km_follow_modes(struct km_modes *modes, u32 *changed, u8 byte)
{
	if (byte == ESC) {
		modes->state = 1;
		return;
	}
	switch (modes->state) {
	case 1:
		if (byte == 'c')
			*changed = 0;
		modes->state = byte == '[' ? 2 : 0;
		break;
	case 2:
		modes->state = byte == '?' ? 3 : 0;
		modes->number = 0;
		modes->bits = 0;
		break;
	case 3:
		follow_parameters(modes, changed, byte);
		break;
	}
}

/**
 * km_put_modes() - set modes of the terminal, or reset them
 * @changed: the modes
 * @undo:    reset them
 */
void km_put_modes(u32 changed, bool undo)
{
	int i, at;

	for (i = 0; i < ARRAY_SIZE(followed); i++) {
		at = undo ? ARRAY_SIZE(followed) - 1 - i : i;
		if (changed & BIT(at))
			printf("\x1b[?%u%c", followed[at],
			       undo == (followed[at] == CURSOR) ? 'h' : 'l');
	}
}
