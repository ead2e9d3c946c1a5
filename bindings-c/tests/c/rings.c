/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Every call that moves records, and snapshots. */
#include <string.h>

#include "fixture.h"

static struct fixture fixture;
static struct shmr_segment ring;
static struct shmr_producer producer;
static struct shmr_consumer consumer;

static void make(uint32_t on_restart)
{
	fixture_make(&fixture);
	memset(&producer, 0, sizeof(producer));
	memset(&consumer, 0, sizeof(consumer));
	ring = fixture_segment(&fixture, "ring", SHMR_KIND_RING,
			       shmr_ring_len(1024));
	OK(shmr_producer_open(&producer, &ring, fixture.one));
	OK(shmr_consumer_open(&consumer, &ring, fixture.two, on_restart));
}

TEST(records_of_all_lengths_with_all_byte_values_arrive_in_order)
{
	unsigned char record[496], copy[496];
	size_t max, len, found;

	make(SHMR_KEEP);
	max = shmr_producer_max_record(&producer);
	SAME(max, sizeof(record));
	for (len = 0; len <= max; len++) {
		size_t at;

		for (at = 0; at < len; at++)
			record[at] = (unsigned char)(at + len);
		OK(shmr_producer_push(&producer, record, len));
		OK(shmr_consumer_pop(&consumer, copy, sizeof(copy), &found));
		SAME(found, len);
		CHECK(memcmp(copy, record, len) == 0);
	}
	RETURNS(shmr_consumer_pop(&consumer, copy, sizeof(copy), &found),
		SHMR_EMPTY);
}

static void expect(const char *text)
{
	char copy[64];
	size_t len;

	OK(shmr_consumer_pop(&consumer, copy, sizeof(copy), &len));
	SAME(len, strlen(text));
	CHECK(memcmp(copy, text, len) == 0);
}

TEST(a_batch_reports_how_many_records_were_pushed)
{
	static const char long_one[350];
	const struct shmr_slice batch[] = {
		{ "one", 3 }, { NULL, 0 }, { "three", 5 },
		{ long_one, 350 }, { long_one, 350 }, { long_one, 350 },
	};
	char copy[350];
	size_t pushed, len;

	make(SHMR_KEEP);
	RETURNS(shmr_producer_push_all(&producer, batch, 6, &pushed), SHMR_FULL);
	SAME(pushed, 5);
	expect("one");
	expect("");
	expect("three");
	OK(shmr_consumer_pop(&consumer, copy, sizeof(copy), &len));
	OK(shmr_producer_push_all(&producer, batch, 3, NULL));
	OK(shmr_producer_push_all(&producer, NULL, 0, &pushed));
	SAME(pushed, 0);
}

TEST(a_record_written_in_place_is_received_after_it_is_committed)
{
	void *at;
	size_t len;
	char copy[8];

	make(SHMR_KEEP);
	OK(shmr_producer_reserve(&producer, 16, &at));
	SAME((uintptr_t)at % 8, 0);
	memcpy(at, "in place", 8);
	RETURNS(shmr_consumer_pop(&consumer, copy, 8, &len), SHMR_EMPTY);
	RETURNS(shmr_producer_commit(&producer, 17), SHMR_EINVAL);
	OK(shmr_producer_commit(&producer, 8));
	RETURNS(shmr_producer_commit(&producer, 8), SHMR_EINVAL);
	expect("in place");
}

TEST(a_second_reservation_cancels_the_first)
{
	void *first, *second;

	make(SHMR_KEEP);
	OK(shmr_producer_reserve(&producer, 8, &first));
	OK(shmr_producer_reserve(&producer, 3, &second));
	CHECK(first == second);
	memcpy(second, "two", 3);
	OK(shmr_producer_commit(&producer, 3));
	expect("two");
}

TEST(a_peeked_record_stays_until_it_is_released)
{
	const void *at, *again;
	size_t len;

	make(SHMR_KEEP);
	OK(shmr_producer_push(&producer, "one", 3));
	OK(shmr_producer_push(&producer, "two", 3));
	OK(shmr_consumer_peek(&consumer, &at, &len));
	OK(shmr_consumer_peek(&consumer, &again, &len));
	CHECK(at == again && len == 3 && memcmp(at, "one", 3) == 0);
	OK(shmr_consumer_release(&consumer));
	OK(shmr_consumer_release(&consumer));
	expect("two");
	RETURNS(shmr_consumer_peek(&consumer, &at, &len), SHMR_EMPTY);
	CHECK(at == NULL && len == 0);
}

/* Accepts records until one that begins with an `x`. */
static int take(void *context, const void *at, size_t len)
{
	char *end = context;

	if (len > 0 && *(const char *)at == 'x')
		return 0;
	strncat(end, at, len);
	return 1;
}

TEST(a_drain_releases_the_records_that_its_function_accepts)
{
	char all[64] = "";
	size_t count;

	make(SHMR_KEEP);
	OK(shmr_producer_push(&producer, "a", 1));
	OK(shmr_producer_push(&producer, "b", 1));
	OK(shmr_producer_push(&producer, "c", 1));
	OK(shmr_producer_push(&producer, "x", 1));
	OK(shmr_consumer_drain(&consumer, 2, take, all, &count));
	SAME(count, 2);
	OK(shmr_consumer_drain(&consumer, 10, take, all, &count));
	SAME(count, 1);
	SAME(strcmp(all, "abc"), 0);
	OK(shmr_consumer_drain(&consumer, 10, take, all, NULL));
	expect("x");
	OK(shmr_consumer_drain(&consumer, 10, take, all, &count));
	SAME(count, 0);
}

TEST(commands_for_an_earlier_incarnation_are_discarded_and_counted)
{
	char copy[8];
	size_t len;

	make(SHMR_DISCARD);
	OK(shmr_producer_push(&producer, "rm", 2));
	OK(shmr_producer_push(&producer, "rm", 2));
	OK(shmr_consumer_close(&consumer));
	OK(shmr_consumer_open(&consumer, &ring, NEXT(fixture.two),
			      SHMR_DISCARD));
	RETURNS(shmr_consumer_pop(&consumer, copy, 8, &len), SHMR_EMPTY);
	SAME(shmr_consumer_discarded(&consumer), 2);
	RETURNS(shmr_producer_push(&producer, "ls", 2), SHMR_RESTARTED);
	OK(shmr_producer_push(&producer, "ls", 2));
	expect("ls");
}

TEST(results_for_an_earlier_incarnation_are_kept)
{
	make(SHMR_KEEP);
	OK(shmr_producer_push(&producer, "result", 6));
	OK(shmr_consumer_close(&consumer));
	OK(shmr_consumer_open(&consumer, &ring, NEXT(fixture.two), SHMR_KEEP));
	expect("result");
	SAME(shmr_consumer_discarded(&consumer), 0);
}

TEST(an_inspection_counts_records_and_stores_nothing)
{
	static unsigned char before[FIXTURE_LEN];
	struct shmr_ring_view view;
	void *base;

	make(SHMR_KEEP);
	OK(shmr_producer_push(&producer, "one", 3));
	OK(shmr_producer_push(&producer, "two", 3));
	base = shmr_mapping_base(&fixture.mapping);
	memcpy(before, base, FIXTURE_LEN);
	OK(shmr_ring_inspect(&ring, 100, &view));
	CHECK(memcmp(before, base, FIXTURE_LEN) == 0);
	SAME(view.error.status, SHMR_OK);
	SAME(view.capacity, 1024);
	SAME(view.records, 2);
	SAME(view.bytes, 32);
	SAME(view.producer, fixture.one);
	SAME(view.consumer, fixture.two);
	CHECK(view.producing && view.consuming);
	OK(shmr_producer_close(&producer));
	set_word(ring.base, 512, 2);
	OK(shmr_ring_inspect(&ring, 100, &view));
	CHECK(!view.producing);
	SAME(view.error.status, SHMR_CORRUPT);
	SAME(view.error.value, 2);
	SAME(strcmp(view.error.word, "record header"), 0);
}

TEST(a_snapshot_returns_the_whole_latest_value)
{
	struct shmr_snapshot_reader reader;
	struct shmr_snapshot_writer writer;
	struct shmr_segment segment;
	char value[16];
	size_t len;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "snapshot", SHMR_KIND_SNAPSHOT,
				  shmr_snapshot_len(200));
	OK(shmr_snapshot_writer_open(&writer, &segment));
	OK(shmr_snapshot_reader_open(&reader, &segment));
	SAME(shmr_snapshot_sequence(&reader), 0);
	OK(shmr_snapshot_write(&writer, "first", 5));
	OK(shmr_snapshot_write(&writer, "the second", 10));
	SAME(shmr_snapshot_sequence(&reader), 2);
	OK(shmr_snapshot_read(&reader, value, sizeof(value), &len));
	CHECK(len == 10 && memcmp(value, "the second", 10) == 0);
	FAILS(reader, shmr_snapshot_read(&reader, value, 9, &len),
	      SHMR_TOO_LONG, 10, "");
	RETURNS(shmr_snapshot_write(&writer, value, 4096), SHMR_TOO_LONG);
}

TEST(a_ring_works_without_a_registry)
{
	static uint64_t memory[256] __attribute__((aligned(128)));
	struct shmr_segment segment;

	memset(&producer, 0, sizeof(producer));
	memset(&consumer, 0, sizeof(consumer));
	SAME(shmr_ring_len(1024), 512 + 1024);
	OK(shmr_segment_from_memory(&segment, memory, shmr_ring_len(1024)));
	SAME(segment.id, 0);
	CHECK(segment.base == memory);
	OK(shmr_producer_open(&producer, &segment, 0x101));
	OK(shmr_consumer_open(&consumer, &segment, 0x102, SHMR_KEEP));
	OK(shmr_producer_push(&producer, "alone", 5));
	expect("alone");
}
