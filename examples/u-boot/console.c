// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * kmconsole, kmexitconsole: typing into an instance
 *
 * - S1 An instance never makes the console wait: typed bytes that have no room
 *   in the command ring wait in a queue. When the queue is full they are
 *   rejected with a bell. The escape key always works, also in the middle of
 *   a record.
 * - S2 Bytes that were typed at a shell that is gone are not sent to the next
 *   shell, nor is the rest of a paste that a restart interrupted.
 * - S3 When the session ends, the terminal is out of all modes that the
 *   instance's programs set.
 */

#include <common.h>
#include <command.h>
#include <console.h>
#include <time.h>
#include <asm/unaligned.h>
#include <linux/delay.h>
#include "kmon.h"

/* Bytes of a record that are shown between two checks of the keyboard. */
#define PIECE		64
/* Keys read at once. */
#define KEYS		64
/* Bytes that arrive without a longer pause than this are one paste. */
#define PASTE_MS	50
#define ROWS		24
#define COLUMNS		80
#define ETX		0x03

/* The instance that typed bytes go to; -1: KMON itself. */
int cmd_redirection = -1;

/**
 * struct session - a console that is open
 * @k:          the instance
 * @filter:     finds the escape key and kmexitconsole in typed bytes
 * @modes:      how far a sequence in the output is read
 * @output_only: shows only the last output of an instance that is gone
 * @left:       the escape key or kmexitconsole was typed
 * @typed_at:   time of the last typed byte
 * @escaped_at: time of the escape key
 * @resize:     the size of the terminal must be sent
 * @reject:     the rest of a paste is for a shell that is gone
 * @cr:         a carriage return is shown unless a line feed follows
 * @begun:      the output has begun a line since the last byte was typed
 * @silent_shown: the user knows that the heartbeat stands still
 * @queued:     bytes in @queue
 * @queue:      typed, and not sent yet
 */
struct session {
	struct km_instance *k;
	struct km_filter filter;
	struct km_modes modes;
	bool output_only;
	bool left;
	ulong typed_at;
	ulong escaped_at;
	bool resize;
	bool reject;
	bool cr;
	bool begun;
	bool silent_shown;
	size_t queued;
	u8 queue[1024];
};

static struct session session;

static bool alternate(const struct session *s)
{
	return s->k->modes & KM_ALTERNATE;
}

/* Shows a byte of output. U-Boot itself puts a CR before an LF. */
static void show_byte(struct session *s, u8 byte)
{
	if (s->cr && byte != '\n')
		putc('\r');
	s->cr = byte == '\r';
	if (!s->cr)
		putc(byte);
	km_follow_modes(&s->modes, &s->k->modes, byte);
}

/* Records a byte that was shown as part of the last line. */
static void record_line(struct session *s, u8 byte)
{
	struct km_instance *k = s->k;

	k->seen = true;
	if (byte == '\n') {
		s->begun = true;
		k->saved_len = 0;
	} else if (k->saved_len < KM_SAVED_LEN) {
		k->saved[k->saved_len++] = byte;
	}
}

/* Ends the line that the output is in, and begins a message of KMON. */
static void begin_message(struct session *s)
{
	puts(s->k->saved_len ? "\n[kmon: " : "[kmon: ");
	s->k->saved_len = 0;
	s->cr = false;
}

/* Shows the saved output: it was not shown yet, or it is the last line. */
static void show_saved(struct session *s)
{
	static char saved[KM_SAVED_LEN];
	struct km_instance *k = s->k;
	size_t len = k->saved_len, i;

	memcpy(saved, k->saved, len);
	k->saved_len = 0;
	if (k->unsaved) {
		begin_message(s);
		printf("%llu bytes of output before this were not saved]\n",
		       k->unsaved);
		k->unsaved = 0;
	}
	/* A full-screen program draws its screen again. */
	if (k->seen && alternate(s))
		return;
	for (i = 0; i < len; i++) {
		show_byte(s, saved[i]);
		record_line(s, saved[i]);
	}
}

static void ring_bell(struct session *s)
{
	putc('\a');
}

static void queue(struct session *s, const u8 *bytes, size_t len)
{
	if (s->reject || s->queued + len > sizeof(s->queue)) {
		ring_bell(s);
		return;
	}
	memcpy(s->queue + s->queued, bytes, len);
	s->queued += len;
}

/* Does what the filter returned for a byte. */
static void apply(struct session *s, const struct km_typed *typed)
{
	int i;

	for (i = 0; i < typed->erase; i++)
		puts("\b \b");
	for (i = 0; i < typed->echo; i++)
		putc(typed->shown[i]);
	if (typed->send)
		queue(s, typed->bytes, typed->send);
	if (typed->leave)
		s->left = true;
}

static void take_key(struct session *s, u8 key)
{
	struct km_typed typed;

	if (s->output_only) {
		if (key == ETX || key == KM_ESCAPE)
			s->left = true;
		return;
	}
	if (get_timer(s->typed_at) > PASTE_MS)
		s->reject = false;
	s->typed_at = get_timer(0);
	if (s->begun)
		km_filter_new_line(&s->filter);
	s->begun = false;
	km_filter_byte(&s->filter, key, alternate(s), &typed);
	if (s->filter.escaping)
		s->escaped_at = get_timer(0);
	apply(s, &typed);
}

/* Sends what was typed to the incarnation of the daemon that it was typed for. */
static void send_queue(struct session *s)
{
	struct km_instance *k = s->k;
	u8 size[4];

	if (!k->incarnation)
		return;
	if (s->resize) {
		put_unaligned_le16(ROWS, size);
		put_unaligned_le16(COLUMNS, size + 2);
		s->resize = km_send(k, k->incarnation, KMON_COMMAND_RESIZE, 0, size,
				    sizeof(size)) == KM_FULL;
	}
	if (s->queued && !s->resize &&
	    km_send(k, k->incarnation, KMON_COMMAND_INPUT, 0, s->queue,
		    s->queued) == KM_SENT)
		s->queued = 0;
}

/* Reads the keyboard; returns true if bytes were typed. */
static bool take_keys(struct session *s)
{
	struct km_typed typed;
	int i;

	km_yield();
	for (i = 0; i < KEYS && !s->left && tstc(); i++)
		take_key(s, getchar());
	if (s->filter.escaping && get_timer(s->escaped_at) > KM_ESCAPE_MS) {
		km_filter_pause(&s->filter, &typed);
		apply(s, &typed);
	}
	if (!s->output_only)
		send_queue(s);

	return i;
}

/* Shows output; returns false if the user left the console before its end. */
static bool show_output(struct session *s, struct km_text output)
{
	size_t i;

	for (i = 0; i < output.len; i++) {
		if (i % PIECE == PIECE - 1) {
			take_keys(s);
			if (s->left)
				break;
		}
		show_byte(s, output.at[i]);
		record_line(s, output.at[i]);
	}
	s->k->shown += i;

	return i == output.len;
}

/* The daemon was restarted, and so was its shell (S2). */
static void begin_incarnation(struct session *s, u32 incarnation)
{
	km_put_modes(s->k->modes, true);
	s->k->modes = 0;
	memset(&s->modes, 0, sizeof(s->modes));
	begin_message(s);
	printf("guestd was restarted (incarnation %u): a new shell", incarnation);
	if (s->queued)
		printf("; %zu bytes typed before were not sent", s->queued);
	puts("]\n");
	s->queued = 0;
	s->reject = true;
	km_filter_begin(&s->filter);
}

static bool handle(struct km_instance *k, const struct km_event *event,
		   void *context)
{
	struct session *s = context;

	switch (event->kind) {
	case KMON_EVENT_OUTPUT:
		return show_output(s, event->bytes);
	case KM_EVENT_RESTARTED:
		s->reject = true;
		break;
	case KMON_EVENT_HELLO:
		if (event->fresh)
			begin_incarnation(s, event->value);
		s->resize = true;
		break;
	case KMON_EVENT_DROPPED:
		begin_message(s);
		printf("%llu bytes of output were not read in time and are lost]\n",
		       event->value);
		break;
	case KMON_EVENT_DISCARDED:
		begin_message(s);
		printf("commands from before a restart that were not run: %llu]\n",
		       event->value);
		break;
	}

	return true;
}

/* Shows a change of state; returns false if the session has ended. */
static bool follow_state(struct session *s, enum km_state state)
{
	switch (state) {
	case KM_RUNNING:
		if (s->silent_shown) {
			begin_message(s);
			printf("instance %u runs again]\n", s->k->number);
		}
		s->silent_shown = false;
		return true;
	case KM_SILENT:
		if (!s->silent_shown) {
			begin_message(s);
			printf("instance %u does not answer: its heartbeat stands still; ^] leaves]\n",
			       s->k->number);
		}
		s->silent_shown = true;
		return true;
	case KM_WAITING:
	case KM_GONE:
		begin_message(s);
		printf("instance %u has ended]\n", s->k->number);
		return false;
	default:
		begin_message(s);
		printf("instance %u is lost: %s]\n", s->k->number,
		       s->k->trouble);
		return false;
	}
}

/* Copies both directions until the user leaves; false if the instance ended it. */
static bool redirect(struct session *s)
{
	enum km_state state;
	bool typed;
	int count;

	do {
		typed = take_keys(s);
		if (s->left)
			return true;
		state = km_get_state(s->k, NULL);
		count = km_receive(s->k, handle, s);
		if (count < 0)
			return follow_state(s, km_get_state(s->k, NULL));
		if (!count && !follow_state(s, state))
			return false;
		if (!count && !typed)
			udelay(500);
	} while (!s->left);

	return true;
}

static void enter(struct session *s, struct km_instance *k)
{
	memset(s, 0, sizeof(*s));
	s->k = k;
	s->resize = true;
	km_filter_begin(&s->filter);
	cmd_redirection = k->number;
	printf("## #kmconsole done, cmd_redirection=%d## #\n", cmd_redirection);
	km_put_modes(k->modes, false);
	show_saved(s);
}

static void leave(struct session *s)
{
	bool escapes = s->k->modes;

	km_put_modes(s->k->modes, true);
	if (escapes)
		puts("\x1b[0m");
	if (s->k->saved_len || escapes)
		putc('\n');
	cmd_redirection = -1;
}

/* Shows the last output of an instance that is gone. */
static void show_last_output(struct session *s, struct km_instance *k)
{
	memset(s, 0, sizeof(*s));
	s->k = k;
	s->output_only = true;
	show_saved(s);
	while (!s->left && km_receive(k, handle, s) > 0)
		take_keys(s);
	leave(s);
}

static int do_kmconsole(struct cmd_tbl *cmdtp, int flag, int argc,
			char *const argv[])
{
	struct km_instance *k;
	bool ended;

	if (argc != 2)
		return CMD_RET_USAGE;
	k = km_argument("kmconsole", argv[1]);
	if (!k)
		return CMD_RET_FAILURE;
	if (!km_wait_running(k)) {
		show_last_output(&session, k);
		km_require_running("kmconsole", k);
		return CMD_RET_FAILURE;
	}
	enter(&session, k);
	ended = !redirect(&session);
	leave(&session);

	return ended ? CMD_RET_FAILURE : CMD_RET_SUCCESS;
}

static int do_kmexitconsole(struct cmd_tbl *cmdtp, int flag, int argc,
			    char *const argv[])
{
	puts("kmexitconsole: this is KMON already; kmconsole N enters instance N\n");

	return CMD_RET_FAILURE;
}

U_BOOT_CMD(kmconsole, 2, 0, do_kmconsole,
	   "type into an instance, and see its output",
	   "N\n"
	   "    - until kmexitconsole and Enter on a line of its own, or ^]. Two ^]\n"
	   "      send one ^] to the instance. Ctrl-C goes to the instance"
);

U_BOOT_CMD(kmexitconsole, 1, 0, do_kmexitconsole,
	   "return from the console of an instance",
	   "\n"
	   "    - type it there, on a line of its own"
);
