// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Records that an instance sent
 */

#include <common.h>
#include "kmon.h"

/* One for all: a record is handled before the next is taken. */
static u64 record[(KMON_HEADER_LEN + KMON_EVENT_BODY) / 8];

/* Reads a record; false if it is none of the protocol's. */
static bool decode(struct km_bytes bytes, struct km_event *event)
{
	memset(event, 0, sizeof(*event));
	event->kind = km_take_u16(&bytes);
	km_take_u16(&bytes);
	event->stream = km_take_u32(&bytes);
	switch (event->kind) {
	case KMON_EVENT_HELLO:
		event->how = km_take_u16(&bytes);
		if (bytes.bad)
			return false;
		/* Another version may say less. */
		event->value = km_take_u32(&bytes);
		return true;
	case KMON_EVENT_OUTPUT:
	case KMON_EVENT_STDOUT:
	case KMON_EVENT_STDERR:
		event->bytes = km_take_rest(&bytes);
		break;
	case KMON_EVENT_ENDED:
		event->how = km_take_u32(&bytes);
		event->value = km_take_u32(&bytes);
		event->bytes = km_take_text(&bytes);
		if (event->how > KMON_EVENT_NOT_STARTED)
			return false;
		break;
	case KMON_EVENT_IDLE:
		event->value = km_take_u16(&bytes);
		break;
	case KMON_EVENT_SHELL_RESTARTED:
	case KMON_EVENT_DISCARDED:
		event->value = km_take_u32(&bytes);
		break;
	case KMON_EVENT_DROPPED:
		event->value = km_take_u64(&bytes);
		break;
	case KMON_EVENT_GOODBYE:
		break;
	default:
		return false;
	}

	return !bytes.bad;
}

/* Notes what an event says of the daemon; false if its language is another. */
static bool note(struct km_instance *k, struct km_event *event)
{
	switch (event->kind) {
	case KM_EVENT_RESTARTED:
		k->incarnation = 0;
		break;
	case KMON_EVENT_HELLO:
		if (event->how != KMON_VERSION) {
			snprintf(k->trouble, sizeof(k->trouble),
				 "guestd speaks version %u of the protocol, KMON %u",
				 event->how, KMON_VERSION);
			return false;
		}
		event->fresh = k->known && k->known != event->value;
		if (k->known != event->value)
			k->dropped = 0;
		k->incarnation = event->value;
		k->known = event->value;
		k->goodbye = false;
		break;
	case KMON_EVENT_DROPPED:
		k->dropped = event->value;
		break;
	case KMON_EVENT_DISCARDED:
		k->discarded += event->value;
		break;
	case KMON_EVENT_GOODBYE:
		k->goodbye = true;
		break;
	}

	return true;
}

/* Finds the next event; skips records that are none. */
static int next_event(struct km_instance *k, struct km_event *event)
{
	const void *at;
	size_t len;

	switch (shmr_receiver_peek(&k->events, &at, &len)) {
	case SHMR_OK:
		break;
	case SHMR_EMPTY:
		return -EAGAIN;
	case SHMR_RESTARTED:
		memset(event, 0, sizeof(*event));
		event->kind = KM_EVENT_RESTARTED;
		return 0;
	default:
		km_say_trouble(k, KMON_SEGMENT_RESULT, &k->events.error);
		return -EPROTO;
	}
	if (len > sizeof(record))
		return -EBADMSG;
	km_copy_record(record, at, len);
	if (!decode((struct km_bytes){ (u8 *)record, len, false }, event))
		return -EBADMSG;

	return 0;
}

/* Leaves out what a console that was left in the middle of it has shown. */
static void skip_shown(struct km_instance *k, struct km_event *event)
{
	u32 position = shmr_receiver_position(&k->events);

	if (event->kind != KMON_EVENT_OUTPUT || position != k->shown_at)
		k->shown = 0;
	k->shown_at = position;
	if (k->shown > event->bytes.len)
		k->shown = event->bytes.len;
	event->bytes.at += k->shown;
	event->bytes.len -= k->shown;
}

/**
 * km_receive() - hand what an instance said to a function
 * @k:       the instance
 * @handle:  gets each event; each is released behind that
 * @context: passed to it
 *
 * Takes a bounded number of records.
 *
 * Return: how many there were; -EPROTO, the instance broke its region, or it
 *         is another KMON's: @k->trouble says how
 */
int km_receive(struct km_instance *k, km_handler handle, void *context)
{
	struct km_event event;
	int count, ret;

	for (count = 0; count < KM_BATCH; count++) {
		if (!km_beat(k)) /* L3 */
			return -EPROTO;
		ret = next_event(k, &event);
		if (ret == -EAGAIN)
			break;
		if (!ret && !note(k, &event))
			ret = -EPROTO;
		if (ret == -EPROTO) {
			k->corrupt = true;
			return ret;
		}
		if (!ret) {
			skip_shown(k, &event);
			if (!handle(k, &event, context))
				break;
		}
		shmr_receiver_release(&k->events);
	}

	return count;
}

/**
 * km_keep() - keep output that nobody sees now for the next console
 * @k:      the instance
 * @output: what it printed; the newest of it is kept
 */
void km_keep(struct km_instance *k, struct km_text output)
{
	size_t skip = 0, over;

	if (k->seen) {
		k->seen = false;
		k->kept_len = 0;
	}
	if (output.len > KM_KEPT)
		skip = output.len - KM_KEPT;
	k->unkept += skip;
	over = k->kept_len + output.len - skip;
	if (over > KM_KEPT) {
		over -= KM_KEPT;
		k->unkept += over;
		k->kept_len -= over;
		memmove(k->kept, k->kept + over, k->kept_len);
	}
	memcpy(k->kept + k->kept_len, output.at + skip, output.len - skip);
	k->kept_len += output.len - skip;
}
