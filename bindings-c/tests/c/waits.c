/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Waiting through the program's own functions, and being woken through them. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"

static struct place place;
static struct shmr_segment ring;
static struct shmr_producer producer;
static struct shmr_consumer consumer;

static void make(void)
{
	place_make(&place);
	memset(&producer, 0, sizeof(producer));
	memset(&consumer, 0, sizeof(consumer));
	ring = place_segment(&place, "ring", SHMR_KIND_RING,
			     shmr_ring_len(256));
	OK(shmr_producer_open(&producer, &ring, place.one));
	OK(shmr_consumer_open(&consumer, &ring, place.two, SHMR_KEEP));
}

/* A wait of the program's: what it counts, and what happens at a count. */
struct patience {
	unsigned int pauses;
	unsigned int sleeps;
	unsigned int give_up_at;
	unsigned int push_at;
	int says;
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
	return patience->says;
}

static void sleep_and_count(struct shmr_wait *wait, const uint32_t *rings,
			    uint32_t seen)
{
	struct patience *patience = wait->context;

	(void)seen;
	patience->sleeps++;
	patience->slept_on = rings;
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
	struct patience patience = { .give_up_at = 5, .says = SHMR_AGAIN };
	struct shmr_wait wait = wait_with(&patience);

	make();
	SAYS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
	SAME(patience.pauses, 5);
	SAME(patience.sleeps, 0);
}

TEST(a_wait_ends_at_the_check_after_the_record_came)
{
	struct patience patience = { .push_at = 3, .says = SHMR_AGAIN };
	struct shmr_wait wait = wait_with(&patience);

	make();
	OK(shmr_consumer_wait(&consumer, &wait));
	SAME(patience.pauses, 3);
}

TEST(what_came_with_the_last_pause_is_still_found)
{
	struct patience patience = { .push_at = 3, .give_up_at = 3 };
	struct shmr_wait wait = wait_with(&patience);

	make();
	OK(shmr_consumer_wait(&consumer, &wait));
}

TEST(a_wait_sleeps_after_one_more_check_when_the_program_says_so)
{
	struct patience patience = { .give_up_at = 4, .says = SHMR_SLEEP };
	struct shmr_wait wait = wait_with(&patience);

	make();
	SAYS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
	SAME(patience.pauses, 4);
	CHECK(patience.sleeps >= 1 && patience.sleeps <= 3);
	CHECK((const char *)patience.slept_on > (const char *)ring.base);
	CHECK((const char *)patience.slept_on <
	      (const char *)ring.base + 512);
}

TEST(a_record_that_comes_before_the_sleep_prevents_it)
{
	struct patience patience = { .push_at = 1, .says = SHMR_SLEEP };
	struct shmr_wait wait = wait_with(&patience);

	make();
	OK(shmr_consumer_wait(&consumer, &wait));
	SAME(patience.sleeps, 0);
}

TEST(an_answer_that_is_none_gives_up)
{
	struct patience patience = { .says = 77 };
	struct shmr_wait wait = wait_with(&patience);

	make();
	SAYS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
	SAME(patience.pauses, 1);
}

TEST(no_wait_is_one_check)
{
	struct shmr_wait none = { .pause = NULL };

	make();
	SAYS(shmr_consumer_wait(&consumer, NULL), SHMR_TIMED_OUT);
	SAYS(shmr_consumer_wait(&consumer, &none), SHMR_TIMED_OUT);
	OK(shmr_producer_push(&producer, "a", 1));
	OK(shmr_consumer_wait(&consumer, NULL));
	OK(shmr_producer_wait_for_space(&producer, 8, NULL));
}

/* A lock waits as a ring does. */
TEST(a_mutex_waits_through_the_programs_wait)
{
	struct patience patience = { .give_up_at = 6, .says = SHMR_AGAIN };
	struct shmr_wait wait = wait_with(&patience);
	struct shmr_segment segment;
	struct shmr_mutex one, two;

	make();
	segment = place_segment(&place, "mutex", SHMR_KIND_MUTEX,
				shmr_mutex_len(0));
	OK(shmr_mutex_open(&one, &segment, place.one, NULL));
	OK(shmr_mutex_open(&two, &segment, place.two, NULL));
	OK(shmr_mutex_try_lock(&one, NULL));
	SAYS(shmr_mutex_lock(&two, &wait, NULL), SHMR_TIMED_OUT);
	SAME(patience.pauses, 6);
}

/* A doorbell of the program's: how often it was called, and about which word. */
struct calls {
	unsigned int one;
	unsigned int all;
	const uint32_t *rings;
};

static void count_ring(void *context, const uint32_t *rings, int all)
{
	struct calls *calls = context;

	if (all)
		calls->all++;
	else
		calls->one++;
	calls->rings = rings;
}

static void ring_from_sleep(struct shmr_wait *wait, const uint32_t *rings,
			    uint32_t seen)
{
	struct calls *calls = wait->context;
	const struct shmr_doorbell bell = { count_ring, calls };

	OK(shmr_producer_push(&producer, "a", 1));
	OK(shmr_producer_notify(&producer, &bell));
	SAME(calls->one, 1);
	CHECK(calls->rings == rings);
	CHECK(*rings != seen);
}

static int always_sleep(struct shmr_wait *wait)
{
	(void)wait;
	return SHMR_SLEEP;
}

TEST(a_doorbell_is_rung_only_for_one_who_sleeps)
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

static void unlock_from_sleep(struct shmr_wait *wait, const uint32_t *rings,
			      uint32_t seen)
{
	(void)rings;
	(void)seen;
	OK(shmr_mutex_unlock(wait->context));
}

TEST(a_mutex_that_is_waited_for_rings_the_doorbell_it_was_opened_with)
{
	struct calls calls = { 0 };
	const struct shmr_doorbell bell = { count_ring, &calls };
	struct shmr_wait wait = { always_sleep, unlock_from_sleep, NULL, { 0 } };
	struct shmr_segment segment;
	struct shmr_mutex one, two;

	make();
	segment = place_segment(&place, "mutex", SHMR_KIND_MUTEX,
				shmr_mutex_len(0));
	OK(shmr_mutex_open(&one, &segment, place.one, &bell));
	OK(shmr_mutex_open(&two, &segment, place.two, &bell));
	OK(shmr_mutex_try_lock(&one, NULL));
	wait.context = &one;
	OK(shmr_mutex_lock(&two, &wait, NULL));
	SAME(calls.one, 1);
	CHECK((const void *)calls.rings == segment.base);
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
		static struct place own;
		static struct shmr_consumer again;
		struct shmr_segment found;

		place_join(&own, &place);
		OK(shmr_registry_lookup(&own.registry, ring.id, &found));
		OK(shmr_consumer_open(&again, &found, place.two, SHMR_KEEP));
		SAYS(shmr_consumer_wait(&again, NULL), SHMR_TIMED_OUT);
		OK(shmr_wait_futex(&wait, 20000));
		OK(shmr_consumer_wait(&again, &wait));
		OK(shmr_consumer_pop(&again, record, 8, &len));
		CHECK(len == 5 && memcmp(record, "hello", 5) == 0);
		_exit(0);
	}
	/* Until it sleeps: its bell is armed. */
	while (word_at(ring.base, 256) == 0)
		usleep(1000);
	OK(shmr_producer_push(&producer, "hello", 5));
	OK(shmr_producer_notify(&producer, &bell));
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(every_wait_of_the_library_gives_up_at_its_deadline)
{
	struct shmr_wait wait;

	make();
	OK(shmr_wait_checks(&wait, 100));
	SAYS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
	OK(shmr_wait_futex(&wait, 10));
	SAYS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
	OK(shmr_wait_spin(&wait, 10));
	SAYS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
	OK(shmr_wait_poll(&wait, 10, 2));
	SAYS(shmr_consumer_wait(&consumer, &wait), SHMR_TIMED_OUT);
}
