// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * kmconsole, kmexitconsole: typing into an instance
 *
 * - S1 Nothing of the instance's makes the console wait: what is typed and has
 *   no room in the command ring waits here, and is refused with a bell beyond
 *   that. The escape key always works, also in the middle of a record.
 * - S2 What was typed at a shell that is gone is not typed at the next one, nor
 *   is the rest of a paste that a restart cut in two.
 * - S3 The terminal is out of all modes of the instance's when the session
 *   ends.
 */

#include <common.h>
#include <command.h>
#include <console.h>
#include <time.h>
#include <asm/unaligned.h>
#include <linux/delay.h>
#include "kmon.h"

/* Bytes of a record that are shown between two looks at the keyboard. */
#define PIECE		64
/* Keys taken in one turn. */
#define KEYS		64
/* What comes without a longer pause than this is one paste. */
#define PASTE_MS	50
#define ROWS		24
#define COLUMNS		80
#define ETX		0x03

/* The instance that what is typed goes to; -1: it is KMON's own to obey. */
int cmd_redirection = -1;

/**
 * struct session - a console that is open
 * @k:          the instance
 * @filter:     the ways out of what is typed
 * @modes:      where in a sequence the output is
 * @looking:    it is only shown what an instance that is gone printed last
 * @left:       a way out was typed
 * @typed_at:   when the last byte was
 * @escaped_at: when the escape key was
 * @resize:     the size of the terminal is to be told
 * @refuse:     the rest of a paste is not for whoever would get it
 * @cr:         a carriage return is to be shown, unless a line feed follows
 * @begun:      the output has begun a line since the last byte was typed
 * @told_stale: that the heartbeat stands still was said
 * @queued:     bytes in @queue
 * @queue:      typed, and not sent yet
 */
struct session {
	struct km_instance *k;
	struct km_filter filter;
	struct km_modes modes;
	bool looking;
	bool left;
	ulong typed_at;
	ulong escaped_at;
	bool resize;
	bool refuse;
	bool cr;
	bool begun;
	bool told_stale;
	size_t queued;
	u8 queue[1024];
};

static struct session session;

static bool alternate(const struct session *s)
{
	return s->k->modes & KM_ALTERNATE;
}

/* Shows a byte of output. U-Boot itself puts a CR in front of an LF. */
static void show_byte(struct session *s, u8 byte)
{
	if (s->cr && byte != '\n')
		putc('\r');
	s->cr = byte == '\r';
	if (!s->cr)
		putc(byte);
	km_follow_modes(&s->modes, &s->k->modes, byte);
}

/* Notes a byte that was shown as the last one of its line. */
static void note_line(struct session *s, u8 byte)
{
	struct km_instance *k = s->k;

	k->seen = true;
	if (byte == '\n') {
		s->begun = true;
		k->kept_len = 0;
	} else if (k->kept_len < KM_KEPT) {
		k->kept[k->kept_len++] = byte;
	}
}

/* Ends the line that the output is in, and says something about it. */
static void begin_note(struct session *s)
{
	puts(s->k->kept_len ? "\n[kmon: " : "[kmon: ");
	s->k->kept_len = 0;
	s->cr = false;
}

/* Shows what is kept: it was not seen, or it is the line that was left. */
static void show_kept(struct session *s)
{
	static char kept[KM_KEPT];
	struct km_instance *k = s->k;
	size_t len = k->kept_len, i;

	memcpy(kept, k->kept, len);
	k->kept_len = 0;
	if (k->unkept) {
		begin_note(s);
		printf("%llu bytes of output before this were not kept]\n",
		       k->unkept);
		k->unkept = 0;
	}
	/* A full-screen program draws itself again. */
	if (k->seen && alternate(s))
		return;
	for (i = 0; i < len; i++) {
		show_byte(s, kept[i]);
		note_line(s, kept[i]);
	}
}

static void refuse(struct session *s)
{
	putc('\a');
}

static void queue(struct session *s, const u8 *bytes, size_t len)
{
	if (s->refuse || s->queued + len > sizeof(s->queue)) {
		refuse(s);
		return;
	}
	memcpy(s->queue + s->queued, bytes, len);
	s->queued += len;
}

/* Does what the filter says. */
static void act(struct session *s, const struct km_typed *typed)
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

	if (s->looking) {
		if (key == ETX || key == KM_ESCAPE)
			s->left = true;
		return;
	}
	if (get_timer(s->typed_at) > PASTE_MS)
		s->refuse = false;
	s->typed_at = get_timer(0);
	if (s->begun)
		km_filter_new_line(&s->filter);
	s->begun = false;
	km_filter_byte(&s->filter, key, alternate(s), &typed);
	if (s->filter.escaping)
		s->escaped_at = get_timer(0);
	act(s, &typed);
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

/* Takes what was typed; true if there was something. */
static bool take_keys(struct session *s)
{
	struct km_typed typed;
	int i;

	km_breathe();
	for (i = 0; i < KEYS && !s->left && tstc(); i++)
		take_key(s, getchar());
	if (s->filter.escaping && get_timer(s->escaped_at) > KM_ESCAPE_MS) {
		km_filter_pause(&s->filter, &typed);
		act(s, &typed);
	}
	if (!s->looking)
		send_queue(s);

	return i;
}

/* Shows output; false if a way out was typed before its end. */
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
		note_line(s, output.at[i]);
	}
	s->k->shown += i;

	return i == output.len;
}

/* The daemon is another, and so is the shell (S2). */
static void begin_incarnation(struct session *s, u32 incarnation)
{
	km_put_modes(s->k->modes, true);
	s->k->modes = 0;
	memset(&s->modes, 0, sizeof(s->modes));
	begin_note(s);
	printf("guestd was restarted (incarnation %u): a new shell", incarnation);
	if (s->queued)
		printf("; %zu bytes typed before were not sent", s->queued);
	puts("]\n");
	s->queued = 0;
	s->refuse = true;
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
		s->refuse = true;
		break;
	case KMON_EVENT_HELLO:
		if (event->fresh)
			begin_incarnation(s, event->value);
		s->resize = true;
		break;
	case KMON_EVENT_DROPPED:
		begin_note(s);
		printf("%llu bytes of output were not taken in time and are lost]\n",
		       event->value);
		break;
	case KMON_EVENT_DISCARDED:
		begin_note(s);
		printf("commands from before a restart that were not run: %llu]\n",
		       event->value);
		break;
	}

	return true;
}

/* Says how the instance is if that is news; false if the session is over. */
static bool follow_state(struct session *s, enum km_state state)
{
	switch (state) {
	case KM_RUNNING:
		if (s->told_stale) {
			begin_note(s);
			printf("instance %u runs again]\n", s->k->number);
		}
		s->told_stale = false;
		return true;
	case KM_STALE:
		if (!s->told_stale) {
			begin_note(s);
			printf("instance %u does not answer: its heartbeat stands still; ^] leaves]\n",
			       s->k->number);
		}
		s->told_stale = true;
		return true;
	case KM_WAITING:
	case KM_GONE:
		begin_note(s);
		printf("instance %u has ended]\n", s->k->number);
		return false;
	default:
		begin_note(s);
		printf("instance %u is lost: %s]\n", s->k->number,
		       s->k->trouble);
		return false;
	}
}

/* Both directions until the way out; false if the instance ended it. */
static bool redirect(struct session *s)
{
	enum km_state state;
	bool typed;
	int count;

	do {
		typed = take_keys(s);
		if (s->left)
			return true;
		state = km_look(s->k, NULL);
		count = km_receive(s->k, handle, s);
		if (count < 0)
			return follow_state(s, km_look(s->k, NULL));
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
	show_kept(s);
}

static void leave(struct session *s)
{
	bool escapes = s->k->modes;

	km_put_modes(s->k->modes, true);
	if (escapes)
		puts("\x1b[0m");
	if (s->k->kept_len || escapes)
		putc('\n');
	cmd_redirection = -1;
}

/* Shows what an instance that is gone printed last. */
static void look_back(struct session *s, struct km_instance *k)
{
	memset(s, 0, sizeof(*s));
	s->k = k;
	s->looking = true;
	show_kept(s);
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
	if (!km_answers(k)) {
		look_back(&session, k);
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
	   "    - until kmexitconsole and Enter on a line of its own, or ^]; twice\n"
	   "      it is one ^] for the instance. Ctrl-C is the instance's"
);

U_BOOT_CMD(kmexitconsole, 1, 0, do_kmexitconsole,
	   "come back from the console of an instance",
	   "\n"
	   "    - typed there, on a line of its own"
);
