// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Finds the escape key and kmexitconsole in what a user types
 *
 * - F1 Every typed byte is used once: it is sent to the instance, or it is
 *   part of an escape key or kmexitconsole. The order stays.
 * - F2 No byte of kmexitconsole is ever sent. From the start of a line, bytes
 *   that may become it are held, and KMON echoes them in place of the
 *   instance. A kmexitconsole that a correction completes (kmexitconsolx,
 *   backspace, e) was sent, and is deleted in the instance.
 * - F3 An escape key leaves the console, unless another follows within
 *   KM_ESCAPE_MS: two of them send one.
 *
 * A line starts with the session, after CR, LF, ^C, ^U and ^D, where
 * backspaces or ^W have emptied it, and where the instance has begun a new
 * line by itself. A terminal's answer to the instance's query (the cursor's
 * position, for busybox) is not part of a line. While a program shows the
 * alternate screen, keys are not lines and no bytes are held.
 */

#include <common.h>
#include <linux/ctype.h>
#include "kmon.h"

static const char word[] = "kmexitconsole";

#define WORD	((int)sizeof(word) - 1)
#define SENT	-1
#define UNKNOWN	-2

#define ETX	0x03	/* ^C */
#define EOT	0x04	/* ^D */
#define BS	0x08
#define NAK	0x15	/* ^U */
#define ETB	0x17	/* ^W */
#define ESC	0x1b
#define DEL	0x7f

void km_filter_begin(struct km_filter *filter)
{
	memset(filter, 0, sizeof(*filter));
}

/** km_filter_new_line() - the instance has begun a line since the last byte */
void km_filter_new_line(struct km_filter *filter)
{
	if (filter->held < 0)
		filter->held = 0;
	filter->before = 0;
}

static void send(struct km_typed *typed, u8 byte)
{
	typed->bytes[typed->send++] = byte;
}

static bool ends_line(u8 byte)
{
	return byte == '\r' || byte == '\n';
}

/* The line is not kmexitconsole: sends the held bytes, which the instance echoes. */
static void send_held(struct km_filter *filter, struct km_typed *typed)
{
	int i;

	if (filter->held <= 0)
		return;
	typed->erase = filter->held;
	for (i = 0; i < filter->held; i++)
		send(typed, word[i]);
	memcpy(filter->sent, word, filter->held);
	filter->len = filter->held;
	filter->held = SENT;
}

/* Deletes the last word of the line; false if other characters are in it. */
static bool erase_word(struct km_filter *filter)
{
	int i;

	for (i = 0; i < filter->len; i++) {
		if (!isalnum(filter->sent[i]) && filter->sent[i] != ' ')
			return false;
	}
	while (filter->len && filter->sent[filter->len - 1] == ' ')
		filter->len--;
	while (filter->len && filter->sent[filter->len - 1] != ' ')
		filter->len--;

	return true;
}

/*
 * Follows an escape sequence. An answer of the terminal leaves the line as it
 * was.
 */
static bool follow_sequence(struct km_filter *filter, u8 byte)
{
	u8 so_far = filter->sequence;

	filter->sequence = 0;
	if (byte == ESC && !so_far) {
		filter->before = filter->held;
		filter->sequence = 1;
	} else if (so_far == 1 && byte == '[') {
		filter->sequence = 2;
	} else if (so_far == 2 && (isdigit(byte) || byte == ';' || byte == '?')) {
		filter->sequence = 2;
	} else if (so_far == 2 && byte && strchr("Rcnt", byte)) {
		filter->held = filter->before;
		return true;
	} else if (!so_far) {
		return false;
	}
	filter->held = UNKNOWN;

	return true;
}

/* Updates the line after a byte was sent. */
static void follow(struct km_filter *filter, u8 byte)
{
	if (ends_line(byte) || byte == ETX || byte == EOT || byte == NAK) {
		filter->held = 0;
		filter->sequence = 0;
		return;
	}
	if (follow_sequence(filter, byte) || filter->held == UNKNOWN)
		return;
	if (filter->held == 0)
		filter->len = 0;
	filter->held = SENT;
	if (byte >= ' ' && byte <= '~' && filter->len < KM_LINE)
		filter->sent[filter->len++] = byte;
	else if (byte == BS || byte == DEL)
		filter->len -= filter->len > 0;
	else if (byte != ETB || !erase_word(filter))
		filter->held = UNKNOWN;
	if (filter->held == SENT && !filter->len)
		filter->held = 0;
}

/* Holds a byte that may be part of kmexitconsole; false: it is not held. */
static bool hold(struct km_filter *filter, u8 byte, struct km_typed *typed)
{
	if (filter->held == WORD && ends_line(byte)) {
		typed->echo = 1;
		typed->shown[0] = '\n';
		typed->leave = true;
		return true;
	}
	if (filter->held > 0 && (byte == BS || byte == DEL)) {
		typed->erase = 1;
		filter->held--;
		return true;
	}
	if (filter->held < WORD && byte == word[filter->held]) {
		typed->echo = 1;
		typed->shown[0] = byte;
		filter->held++;
		return true;
	}

	return false;
}

static void plain_byte(struct km_filter *filter, u8 byte, bool alternate,
		       struct km_typed *typed)
{
	int i;

	if (alternate) {
		send_held(filter, typed);
		send(typed, byte);
		/* After the alternate screen there is a prompt. */
		filter->held = 0;
		return;
	}
	if (filter->held >= 0 && hold(filter, byte, typed))
		return;
	if (filter->held == SENT && ends_line(byte) && filter->len == WORD &&
	    !memcmp(filter->sent, word, WORD)) {
		for (i = 0; i < WORD; i++)
			send(typed, DEL);
		typed->leave = true;
		return;
	}
	send_held(filter, typed);
	send(typed, byte);
	follow(filter, byte);
}

static void leave(struct km_filter *filter, struct km_typed *typed)
{
	filter->escaping = false;
	send_held(filter, typed);
	typed->leave = true;
}

/**
 * km_filter_byte() - process a typed byte
 * @filter:    the state
 * @byte:      the byte
 * @alternate: the instance's program shows the alternate screen
 * @typed:     gets what to do with it
 *
 * A byte after a single escape key is discarded: it cannot be passed to the
 * prompt.
 */
void km_filter_byte(struct km_filter *filter, u8 byte, bool alternate,
		    struct km_typed *typed)
{
	memset(typed, 0, sizeof(*typed));
	if (filter->escaping) {
		if (byte != KM_ESCAPE) {
			leave(filter, typed);
			return;
		}
		filter->escaping = false;
	} else if (byte == KM_ESCAPE) {
		filter->escaping = true;
		return;
	}
	plain_byte(filter, byte, alternate, typed);
}

/**
 * km_filter_pause() - nothing was typed for KM_ESCAPE_MS
 * @filter: the state
 * @typed:  gets what to do
 */
void km_filter_pause(struct km_filter *filter, struct km_typed *typed)
{
	memset(typed, 0, sizeof(*typed));
	if (filter->escaping)
		leave(filter, typed);
}
