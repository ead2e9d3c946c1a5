/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One party of a conversation, which is killed at random moments and started again.
 *
 * It produces numbered records of random sizes and consumes its peer's, by every call of the
 * interface. It logs acknowledged records and received records in two files, one entry at a
 * time, and the driver compares the files. tests/driver/conversation has the same party in
 * Rust and describes the logs.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shmr.h"

#define LONGEST 400
#define BATCH 5

enum { SENT = 1, CONSUMER_RESTARTED };
enum { START = 1, POPPED, PEEKED, DRAINED, PRODUCER_RESTARTED, INTENT };

static struct shmr_registry registry;
static struct shmr_attachment attachment;
static struct shmr_processes processes;
static struct shmr_producer producer;
static struct shmr_consumer consumer;
static struct shmr_doorbell bell;
static uint32_t incarnation, next_index;
static int sent_log, got_log;

#define MUST(call) must((call), #call)

static void must(enum shmr_status status, const char *call)
{
	if (status == SHMR_OK)
		return;
	fprintf(stderr, "%s: %s\n", call, shmr_strerror(status));
	exit(1);
}

static void enter(int log, uint32_t a, uint32_t b, uint32_t c)
{
	const uint32_t entry[4] = { incarnation, a, b, c };

	if (write(log, entry, sizeof(entry)) != (ssize_t)sizeof(entry)) {
		perror("log");
		exit(1);
	}
}

static uint32_t sum(const unsigned char *bytes, size_t len)
{
	uint32_t hash = 0x811c9dc5;

	while (len--)
		hash = (hash ^ *bytes++) * 0x01000193;
	return hash;
}

static uint32_t chance(uint32_t below)
{
	return (uint32_t)random() % below;
}

/* Makes the next record: incarnation, number, random bytes and a checksum. */
static size_t make_record(unsigned char *record, uint32_t index)
{
	size_t len = 8 + chance(LONGEST - 12), at;
	uint32_t check;

	memcpy(record, &incarnation, 4);
	memcpy(record + 4, &index, 4);
	for (at = 8; at < len; at++)
		record[at] = (unsigned char)random();
	check = sum(record, len);
	memcpy(record + len, &check, 4);
	return len + 4;
}

static void got(uint32_t how, const unsigned char *record, size_t len)
{
	uint32_t from, index, check;

	if (len < 12 || len > LONGEST) {
		fprintf(stderr, "a record of %zu bytes\n", len);
		exit(1);
	}
	memcpy(&from, record, 4);
	memcpy(&index, record + 4, 4);
	memcpy(&check, record + len - 4, 4);
	if (check != sum(record, len - 4)) {
		fprintf(stderr, "record %u of %#x is damaged\n", index, from);
		exit(1);
	}
	enter(got_log, how, from, index);
}

static enum shmr_status push_one(uint32_t *count)
{
	unsigned char record[LONGEST];
	size_t len = make_record(record, next_index);
	enum shmr_status status = shmr_producer_push(&producer, record, len);

	*count = status == SHMR_OK;
	return status;
}

static enum shmr_status push_some(uint32_t *count)
{
	unsigned char records[BATCH][LONGEST];
	struct shmr_slice slices[BATCH];
	uint32_t at, batch = 1 + chance(BATCH);
	enum shmr_status status;
	size_t pushed = 0;

	for (at = 0; at < batch; at++) {
		slices[at].base = records[at];
		slices[at].len = make_record(records[at], next_index + at);
	}
	status = shmr_producer_push_all(&producer, slices, batch, &pushed);
	*count = (uint32_t)pushed;
	return status;
}

static enum shmr_status write_in_place(uint32_t *count)
{
	enum shmr_status status;
	void *at;

	*count = 0;
	status = shmr_producer_reserve(&producer, LONGEST, &at);
	if (status != SHMR_OK)
		return status;
	status = shmr_producer_commit(&producer, make_record(at, next_index));
	*count = status == SHMR_OK;
	return status;
}

static void produce(void)
{
	static enum shmr_status (*const methods[])(uint32_t *) = {
		push_one, push_some, write_in_place,
	};
	struct shmr_wait wait;
	uint32_t count;
	enum shmr_status status = methods[chance(3)](&count);

	if (count) {
		enter(sent_log, SENT, next_index, count);
		next_index += count;
		MUST(shmr_producer_notify(&producer, &bell));
	}
	if (status == SHMR_FULL) {
		MUST(shmr_wait_futex(&wait, 1));
		status = shmr_producer_wait_for_space(&producer, LONGEST,
						      &wait);
	}
	if (status == SHMR_RESTARTED)
		enter(sent_log, CONSUMER_RESTARTED, 0, 0);
	else if (status != SHMR_TIMED_OUT)
		MUST(status);
}

static enum shmr_status pop(void)
{
	unsigned char record[LONGEST];
	size_t len;
	enum shmr_status status;

	enter(got_log, INTENT, POPPED, 0);
	status = shmr_consumer_pop(&consumer, record, sizeof(record), &len);
	if (status == SHMR_OK)
		got(POPPED, record, len);
	return status;
}

static enum shmr_status peek(void)
{
	enum shmr_status status;
	const void *at;
	size_t len;

	enter(got_log, INTENT, PEEKED, 0);
	status = shmr_consumer_peek(&consumer, &at, &len);
	if (status != SHMR_OK)
		return status;
	got(PEEKED, at, len);
	return shmr_consumer_release(&consumer);
}

static int take(void *context, const void *at, size_t len)
{
	(void)context;
	got(DRAINED, at, len);
	return 1;
}

static enum shmr_status drain(void)
{
	enum shmr_status status;
	size_t count;

	enter(got_log, INTENT, DRAINED, 0);
	status = shmr_consumer_drain(&consumer, 1 + chance(8), take, NULL,
				     &count);
	return status == SHMR_OK && count == 0 ? SHMR_EMPTY : status;
}

/* Returns false if there was no record. */
static bool consume(void)
{
	static enum shmr_status (*const methods[])(void) = { pop, peek, drain };
	enum shmr_status status = methods[chance(3)]();

	if (status == SHMR_EMPTY)
		return false;
	if (status == SHMR_RESTARTED)
		enter(got_log, PRODUCER_RESTARTED, 0, 0);
	else
		MUST(status);
	MUST(shmr_consumer_notify(&consumer, &bell));
	return true;
}

static struct shmr_segment find(const char *name)
{
	struct shmr_segment segment;

	MUST(shmr_registry_lookup(&registry, shmr_id_from_name(name),
				  &segment));
	return segment;
}

static void attach(const char *path, uint8_t number)
{
	static struct shmr_mapping mapping;
	static struct shmr_region region;
	struct shmr_process own = shmr_process_this();
	struct shmr_liveness alive;
	struct shmr_wait wait;

	MUST(shmr_map_file(&mapping, path, 0));
	MUST(shmr_region_attach(&region, shmr_mapping_base(&mapping),
				shmr_mapping_len(&mapping)));
	MUST(shmr_registry_attach(&registry, &region));
	MUST(shmr_processes_watch(&processes, &registry));
	alive = shmr_processes_liveness(&processes);
	MUST(shmr_wait_poll(&wait, 10000, 10));
	MUST(shmr_partition_attach_or_take_over(&attachment, &registry, number,
						&own, &wait, &alive));
	incarnation = shmr_attachment_incarnation(&attachment);
	srandom(incarnation);
}

static int open_log(const char *prefix, const char *name)
{
	char path[4096];
	int log;

	snprintf(path, sizeof(path), "%s.%s", prefix, name);
	log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (log < 0) {
		perror(path);
		exit(1);
	}
	return log;
}

/* Consumes until the peer has closed its end and no record is left. */
static void finish(const struct shmr_segment *in)
{
	struct shmr_ring_view view;
	struct shmr_wait wait;

	MUST(shmr_producer_close(&producer));
	for (;;) {
		MUST(shmr_ring_inspect(in, 1, &view));
		if (consume())
			continue;
		if (!view.producing)
			break;
		MUST(shmr_wait_futex(&wait, 5));
		(void)shmr_consumer_wait(&consumer, &wait);
	}
	MUST(shmr_consumer_close(&consumer));
	MUST(shmr_attachment_leave(&attachment));
	MUST(shmr_processes_close(&processes));
}

/* party REGION LOGS NUMBER: 1 or 2 */
int main(int argc, char **argv)
{
	struct shmr_segment out, in, stop;
	struct shmr_wait wait;

	if (argc != 4)
		return 2;
	attach(argv[1], (uint8_t)atoi(argv[3]));
	bell = shmr_doorbell_futex();
	out = find(argv[3][0] == '1' ? "from-1" : "from-2");
	in = find(argv[3][0] == '1' ? "from-2" : "from-1");
	stop = find("stop");
	sent_log = open_log(argv[2], "sent");
	got_log = open_log(argv[2], "got");
	enter(got_log, START, 0, 0);
	MUST(shmr_producer_open(&producer, &out, incarnation));
	MUST(shmr_consumer_open(&consumer, &in, incarnation, SHMR_KEEP));
	while (!*(volatile uint32_t *)stop.base) {
		produce();
		if (!consume() && chance(8) == 0) {
			MUST(shmr_wait_futex(&wait, 1));
			(void)shmr_consumer_wait(&consumer, &wait);
		}
	}
	finish(&in);
	return 0;
}
