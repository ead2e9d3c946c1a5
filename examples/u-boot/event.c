// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Records from an instance
 */

#include <common.h>
#include "kmon.h"

/* One buffer for all: a record is handled before the next is read. */
static u64 record[(KMON_HEADER_LEN + KMON_EVENT_BODY) / 8];

/* Reads a record; returns false if the protocol does not define it. */
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
		/* Another version may be shorter. */
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

/* Stores the daemon's state; returns false if its version is another. */
static bool update_instance(struct km_instance *k, struct km_event *event)
{
	switch (event->kind) {
	case KM_EVENT_RESTARTED:
		k->incarnation = 0;
		break;
	case KMON_EVENT_HELLO:
		if (event->how != KMON_VERSION) {
			snprintf(k->trouble, sizeof(k->trouble),
				 "guestd uses version %u of the protocol, KMON %u",
				 event->how, KMON_VERSION);
			return false;
		}
		event->fresh = k->last_incarnation && k->last_incarnation != event->value;
		if (k->last_incarnation != event->value)
			k->dropped = 0;
		k->incarnation = event->value;
		k->last_incarnation = event->value;
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

/* Reads the next event; -EBADMSG, the record is not one of the protocol. */
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
		km_set_trouble(k, KMON_SEGMENT_RESULT, &k->events.error);
		return -EPROTO;
	}
	if (len > sizeof(record))
		return -EBADMSG;
	km_copy_record(record, at, len);
	if (!decode((struct km_bytes){ (u8 *)record, len, false }, event))
		return -EBADMSG;

	return 0;
}

/* Skips the part of a record that an earlier console has shown. */
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
 * km_receive() - pass the events of an instance to a function
 * @k:       the instance
 * @handle:  gets each event; the record is released after it returns
 * @context: passed to it
 *
 * Reads a bounded number of records.
 *
 * Return: how many; -EPROTO, the instance broke its region, or another KMON
 *         has replaced this one: @k->trouble has the reason
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
		if (!ret && !update_instance(k, &event))
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
 * km_save_output() - save output for the next console, as none is open
 * @k:      the instance
 * @output: what it printed; the newest bytes are saved
 */
void km_save_output(struct km_instance *k, struct km_text output)
{
	size_t skip = 0, excess;

	if (k->seen) {
		k->seen = false;
		k->saved_len = 0;
	}
	if (output.len > KM_SAVED_LEN)
		skip = output.len - KM_SAVED_LEN;
	k->unsaved += skip;
	excess = k->saved_len + output.len - skip;
	if (excess > KM_SAVED_LEN) {
		excess -= KM_SAVED_LEN;
		k->unsaved += excess;
		k->saved_len -= excess;
		memmove(k->saved, k->saved + excess, k->saved_len);
	}
	memcpy(k->saved + k->saved_len, output.at + skip, output.len - skip);
	k->saved_len += output.len - skip;
}
