/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Waits and doorbells by the program's own functions. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

static struct fixture fixture;
static struct shmr_segment ring;
static struct shmr_producer producer;
static struct shmr_consumer consumer;

static void make(void)
{
	fixture_make(&fixture);
	memset(&producer, 0, sizeof(producer));
	memset(&consumer, 0, sizeof(consumer));
	ring = fixture_segment(&fixture, "ring", SHMR_KIND_RING,
			       shmr_ring_len(256));
	OK(shmr_producer_open(&producer, &ring, fixture.one));
	OK(shmr_consumer_open(&consumer, &ring, fixture.two, SHMR_KEEP));
}

/* The program's own wait: its counters, and at which counts something happens. */
struct patience {
	unsigned int pauses;
	unsigned int sleeps;
	unsigned int give_up_at;
	unsigned int push_at;
	int result;
	const uint32_t *slept_on;
};

static int pause_and_count(struct shmr_wait *wait)
{
	struct patience *patience = wait->context;

	patience->pauses++;
	if (patience->pauses == patience->push_at)
		OK(shmr_producer_push(&producer, "a", 1));
	if (patience->pauses == patience->give_up_at)
		return SHMR_GIVE_UP;
	return patience->result;
}

static void sleep_and_count(struct shmr_wait *wait, const uint32_t *ring_count,
			    uint32_t seen)
{
	struct patience *patience = wait->context;

	(void)seen;
	patience->sleeps++;
	patience->slept_on = ring_count;
}

static struct shmr_wait wait_with(struct patience *patience)
{
	struct shmr_wait wait = {
		.pause = pause_and_count,
		.sleep = sleep_and_count,
		.context = patience,
	};

	return wait;
}

TEST(a_wait_pauses_between_checks_until_the_program_gives_up)
{
	struct patience patience = { .give_up_at = 5, .result = SHMR_AGAIN };
	struct shmr_wait wait = wait_with(&patience);

	make();
	RETURNS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
	SAME(patience.pauses, 5);
	SAME(patience.sleeps, 0);
}

TEST(a_wait_ends_at_the_check_after_the_record_came)
{
	struct patience patience = { .push_at = 3, .result = SHMR_AGAIN };
	struct shmr_wait wait = wait_with(&patience);

	make();
	OK(shmr_consumer_wait(&consumer, &wait));
	SAME(patience.pauses, 3);
}

TEST(a_record_that_came_during_the_last_pause_is_found)
{
	struct patience patience = { .push_at = 3, .give_up_at = 3 };
	struct shmr_wait wait = wait_with(&patience);

	make();
	OK(shmr_consumer_wait(&consumer, &wait));
}

TEST(a_wait_sleeps_after_one_more_check_if_the_program_returns_sleep)
{
	struct patience patience = { .give_up_at = 4, .result = SHMR_SLEEP };
	struct shmr_wait wait = wait_with(&patience);

	make();
	RETURNS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
	SAME(patience.pauses, 4);
	CHECK(patience.sleeps >= 1 && patience.sleeps <= 3);
	CHECK((const char *)patience.slept_on > (const char *)ring.base);
	CHECK((const char *)patience.slept_on <
	      (const char *)ring.base + 512);
}

TEST(a_record_that_comes_before_the_sleep_prevents_it)
{
	struct patience patience = { .push_at = 1, .result = SHMR_SLEEP };
	struct shmr_wait wait = wait_with(&patience);

	make();
	OK(shmr_consumer_wait(&consumer, &wait));
	SAME(patience.sleeps, 0);
}

TEST(an_unknown_result_of_pause_gives_up)
{
	struct patience patience = { .result = 77 };
	struct shmr_wait wait = wait_with(&patience);

	make();
	RETURNS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
	SAME(patience.pauses, 1);
}

TEST(a_null_wait_makes_one_check)
{
	struct shmr_wait none = { .pause = NULL };

	make();
	RETURNS(shmr_consumer_wait(&consumer, NULL), SHMR_TIMED_OUT);
	RETURNS(shmr_consumer_wait(&consumer, &none), SHMR_TIMED_OUT);
	OK(shmr_producer_push(&producer, "a", 1));
	OK(shmr_consumer_wait(&consumer, NULL));
	OK(shmr_producer_wait_for_space(&producer, 8, NULL));
}

TEST(a_mutex_waits_by_the_programs_wait)
{
	struct patience patience = { .give_up_at = 6, .result = SHMR_AGAIN };
	struct shmr_wait wait = wait_with(&patience);
	struct shmr_segment segment;
	struct shmr_mutex one, two;

	make();
	segment = fixture_segment(&fixture, "mutex", SHMR_KIND_MUTEX,
				  shmr_mutex_len(0));
	OK(shmr_mutex_open(&one, &segment, fixture.one, NULL));
	OK(shmr_mutex_open(&two, &segment, fixture.two, NULL));
	OK(shmr_mutex_try_lock(&one, NULL));
	RETURNS(shmr_mutex_lock(&two, &wait, NULL), SHMR_TIMED_OUT);
	SAME(patience.pauses, 6);
}

/* The program's own doorbell: how often it was called, and with which word. */
struct calls {
	unsigned int one;
	unsigned int all;
	const uint32_t *ring_count;
};

static void count_ring(void *context, const uint32_t *ring_count, int all)
{
	struct calls *calls = context;

	if (all)
		calls->all++;
	else
		calls->one++;
	calls->ring_count = ring_count;
}

static void ring_from_sleep(struct shmr_wait *wait, const uint32_t *ring_count,
			    uint32_t seen)
{
	struct calls *calls = wait->context;
	const struct shmr_doorbell bell = { count_ring, calls };

	OK(shmr_producer_push(&producer, "a", 1));
	OK(shmr_producer_notify(&producer, &bell));
	SAME(calls->one, 1);
	CHECK(calls->ring_count == ring_count);
	CHECK(*ring_count != seen);
}

static int always_sleep(struct shmr_wait *wait)
{
	(void)wait;
	return SHMR_SLEEP;
}

TEST(a_doorbell_is_rung_only_while_the_peer_sleeps)
{
	struct calls calls = { 0 };
	const struct shmr_doorbell bell = { count_ring, &calls };
	struct shmr_wait wait = { always_sleep, ring_from_sleep, &calls, { 0 } };

	make();
	OK(shmr_producer_push(&producer, "a", 1));
	OK(shmr_producer_notify(&producer, &bell));
	SAME(calls.one + calls.all, 0);
	OK(shmr_consumer_pop(&consumer, (char[8]){ 0 }, 8, &(size_t){ 0 }));
	OK(shmr_consumer_wait(&consumer, &wait));
	SAME(calls.one, 1);
}

static void unlock_from_sleep(struct shmr_wait *wait, const uint32_t *ring_count,
			      uint32_t seen)
{
	(void)ring_count;
	(void)seen;
	OK(shmr_mutex_unlock(wait->context));
}

TEST(a_mutex_rings_its_doorbell_when_a_partition_waits_for_it)
{
	struct calls calls = { 0 };
	const struct shmr_doorbell bell = { count_ring, &calls };
	struct shmr_wait wait = { always_sleep, unlock_from_sleep, NULL, { 0 } };
	struct shmr_segment segment;
	struct shmr_mutex one, two;

	make();
	segment = fixture_segment(&fixture, "mutex", SHMR_KIND_MUTEX,
				  shmr_mutex_len(0));
	OK(shmr_mutex_open(&one, &segment, fixture.one, &bell));
	OK(shmr_mutex_open(&two, &segment, fixture.two, &bell));
	OK(shmr_mutex_try_lock(&one, NULL));
	wait.context = &one;
	OK(shmr_mutex_lock(&two, &wait, NULL));
	SAME(calls.one, 1);
	CHECK((const void *)calls.ring_count == segment.base);
	OK(shmr_mutex_unlock(&two));
}

TEST(a_futex_wakes_a_consumer_in_another_process)
{
	const struct shmr_doorbell bell = shmr_doorbell_futex();
	struct shmr_wait wait;
	char record[8];
	size_t len;
	int status;
	pid_t child;

	make();
	OK(shmr_consumer_close(&consumer));
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		static struct fixture own;
		static struct shmr_consumer again;
		struct shmr_segment found;

		fixture_join(&own, &fixture);
		OK(shmr_registry_lookup(&own.registry, ring.id, &found));
		OK(shmr_consumer_open(&again, &found, fixture.two, SHMR_KEEP));
		RETURNS(shmr_consumer_wait(&again, NULL), SHMR_TIMED_OUT);
		OK(shmr_wait_futex(&wait, 20000));
		OK(shmr_consumer_wait(&again, &wait));
		OK(shmr_consumer_pop(&again, record, 8, &len));
		CHECK(len == 5 && memcmp(record, "hello", 5) == 0);
		_exit(0);
	}
	/* Wait until it sleeps: then its doorbell is armed. */
	while (word_at(ring.base, 256) == 0)
		usleep(1000);
	OK(shmr_producer_push(&producer, "hello", 5));
	OK(shmr_producer_notify(&producer, &bell));
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(every_wait_of_the_library_ends_at_its_deadline)
{
	struct shmr_wait wait;

	make();
	OK(shmr_wait_spin_checks(&wait, 100));
	RETURNS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
	OK(shmr_wait_futex(&wait, 10));
	RETURNS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
	OK(shmr_wait_spin_yield(&wait, 10));
	RETURNS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
	OK(shmr_wait_poll(&wait, 10, 2));
	RETURNS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
}
