/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Locks whose holders die: really, as processes, and by a heartbeat that stands still. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "place.h"

static struct place place;
static struct shmr_processes processes;
static struct shmr_liveness alive;

/* A liveness of the program's own: whether a signal could be sent. */
static int by_signal(void *context, uint32_t incarnation)
{
	struct shmr_partition partition;

	OK(shmr_partition_look(context, (uint8_t)incarnation, &partition));
	if (partition.incarnation == incarnation && partition.attached &&
	    kill((pid_t)partition.process.number, 0) == 0)
		return SHMR_ALIVE;
	return SHMR_GONE;
}

static void make(void)
{
	static struct shmr_registry looked_at;

	place_make(&place);
	OK(shmr_processes_watch(&processes, &place.registry));
	alive = shmr_processes_liveness(&processes);
	/* Valgrind does not know pidfd_open(). */
	if (getenv("SHMR_TEST_OWN_LIVENESS")) {
		OK(shmr_registry_attach(&looked_at, &place.region));
		alive.state = by_signal;
		alive.context = &looked_at;
	}
}

/* Ends that which would otherwise be lost memory under a checker. */
static void end(void)
{
	OK(shmr_processes_close(&processes));
	place_end(&place);
}

static void die_in_mutex(struct place *where, uint32_t incarnation,
			 const struct shmr_segment *segment)
{
	struct shmr_mutex mutex;

	(void)where;
	OK(shmr_mutex_open(&mutex, segment, incarnation, NULL));
	OK(shmr_mutex_try_lock(&mutex, NULL));
	strcpy(shmr_mutex_data(segment), "half");
}

static struct shmr_mutex mutex;

static uint32_t mutex_after_a_death(struct shmr_segment *segment)
{
	uint32_t dead;

	make();
	*segment = place_segment(&place, "mutex", SHMR_KIND_MUTEX,
				 shmr_mutex_len(16));
	dead = place_death(&place, 3, die_in_mutex, segment);
	OK(shmr_mutex_open(&mutex, segment, place.one, NULL));
	SAME(shmr_mutex_owner(&mutex), dead);
	return dead;
}

TEST(a_mutex_of_a_killed_process_is_had_repaired_and_whole_again)
{
	struct shmr_lock_view view;
	struct shmr_segment segment;
	struct shmr_wait wait;

	mutex_after_a_death(&segment);
	OK(shmr_wait_futex(&wait, 10000));
	SAYS(shmr_mutex_lock(&mutex, &wait, &alive), SHMR_OWNER_DIED);
	SAME(shmr_mutex_owner(&mutex), place.one);
	OK(shmr_lock_inspect(&segment, &view));
	SAME(view.health, SHMR_SUSPECT);
	SAME(view.owner, place.one);
	SAME(strcmp(shmr_mutex_data(&segment), "half"), 0);
	strcpy(shmr_mutex_data(&segment), "whole");
	OK(shmr_mutex_make_consistent(&mutex));
	OK(shmr_mutex_unlock(&mutex));
	OK(shmr_lock_inspect(&segment, &view));
	SAME(view.health, SHMR_WHOLE);
	OK(shmr_mutex_try_lock(&mutex, &alive));
	OK(shmr_mutex_unlock(&mutex));
	end();
}

static int is_silent(void *context, uint32_t incarnation)
{
	return incarnation == *(uint32_t *)context ? SHMR_SILENT : SHMR_ALIVE;
}

TEST(a_wait_that_a_silent_owner_outlasts_names_it)
{
	struct shmr_segment segment;
	struct shmr_mutex other;
	struct shmr_wait wait;
	struct shmr_liveness silent = { is_silent, &place.one };

	make();
	segment = place_segment(&place, "mutex", SHMR_KIND_MUTEX,
				shmr_mutex_len(16));
	OK(shmr_mutex_open(&mutex, &segment, place.one, NULL));
	OK(shmr_mutex_open(&other, &segment, place.two, NULL));
	OK(shmr_mutex_try_lock(&mutex, NULL));
	SAYS(shmr_mutex_try_lock(&other, &silent), SHMR_BUSY);
	OK(shmr_wait_checks(&wait, 3));
	FAILS(other, shmr_mutex_lock(&other, &wait, &silent), SHMR_TIMED_OUT,
	      place.one, "");
	OK(shmr_wait_checks(&wait, 3));
	FAILS(other, shmr_mutex_lock(&other, &wait, NULL), SHMR_TIMED_OUT, 0,
	      "");
	OK(shmr_mutex_unlock(&mutex));
	end();
}

TEST(a_mutex_that_nobody_repaired_is_poisoned_for_all)
{
	struct shmr_lock_view view;
	struct shmr_segment segment;
	struct shmr_mutex other;
	struct shmr_wait wait;

	mutex_after_a_death(&segment);
	SAYS(shmr_mutex_try_lock(&mutex, &alive), SHMR_OWNER_DIED);
	OK(shmr_mutex_unlock(&mutex));
	OK(shmr_lock_inspect(&segment, &view));
	SAME(view.health, SHMR_SPOILT);
	SAME(view.error.status, SHMR_OK);
	OK(shmr_mutex_open(&other, &segment, place.two, NULL));
	SAYS(shmr_mutex_try_lock(&other, NULL), SHMR_POISONED);
	OK(shmr_wait_checks(&wait, 3));
	SAYS(shmr_mutex_lock(&other, &wait, &alive), SHMR_POISONED);
	end();
}

TEST(a_mutex_of_a_living_process_is_not_taken)
{
	struct shmr_segment segment;
	struct shmr_mutex other;

	make();
	segment = place_segment(&place, "mutex", SHMR_KIND_MUTEX,
				shmr_mutex_len(0));
	OK(shmr_mutex_open(&mutex, &segment, place.one, NULL));
	OK(shmr_mutex_open(&other, &segment, place.two, NULL));
	OK(shmr_mutex_try_lock(&mutex, &alive));
	SAYS(shmr_mutex_try_lock(&other, &alive), SHMR_BUSY);
	end();
}

TEST(without_liveness_nobody_dies)
{
	struct shmr_segment segment;

	mutex_after_a_death(&segment);
	SAYS(shmr_mutex_try_lock(&mutex, NULL), SHMR_BUSY);
	end();
}

static void die_in_bakery(struct place *where, uint32_t incarnation,
			  const struct shmr_segment *segment)
{
	struct shmr_bakery bakery;

	(void)where;
	OK(shmr_bakery_open(&bakery, segment, incarnation, PLACE_PARTITIONS));
	OK(shmr_bakery_try_lock(&bakery, NULL));
}

TEST(a_bakery_of_a_killed_process_is_had_and_repaired)
{
	struct shmr_bakery bakery, other;
	struct shmr_segment segment;
	struct shmr_lock_view view;
	struct shmr_wait wait;
	uint32_t dead;

	make();
	segment = place_segment(&place, "bakery", SHMR_KIND_BAKERY,
				shmr_bakery_len(8));
	dead = place_death(&place, 3, die_in_bakery, &segment);
	OK(shmr_bakery_open(&bakery, &segment, place.one, PLACE_PARTITIONS));
	OK(shmr_bakery_open(&other, &segment, place.two, PLACE_PARTITIONS));
	SAME(shmr_bakery_owner(&bakery), dead);
	SAYS(shmr_bakery_try_lock(&bakery, NULL), SHMR_BUSY);
	OK(shmr_wait_spin(&wait, 10000));
	SAYS(shmr_bakery_lock(&bakery, &wait, &alive), SHMR_OWNER_DIED);
	SAYS(shmr_bakery_try_lock(&other, &alive), SHMR_BUSY);
	FAILS(other, shmr_bakery_unlock(&other), SHMR_NOT_HELD, place.one, "");
	OK(shmr_bakery_make_consistent(&bakery));
	OK(shmr_bakery_unlock(&bakery));
	OK(shmr_bakery_try_lock(&other, &alive));
	SAYS(shmr_bakery_make_consistent(&bakery), SHMR_NOT_HELD);
	OK(shmr_bakery_unlock(&other));
	OK(shmr_lock_inspect(&segment, &view));
	SAME(view.health, SHMR_WHOLE);
	end();
}

TEST(a_bakery_that_nobody_repaired_is_poisoned)
{
	struct shmr_segment segment;
	struct shmr_bakery bakery;

	make();
	segment = place_segment(&place, "bakery", SHMR_KIND_BAKERY,
				shmr_bakery_len(8));
	place_death(&place, 3, die_in_bakery, &segment);
	OK(shmr_bakery_open(&bakery, &segment, place.one, PLACE_PARTITIONS));
	SAYS(shmr_bakery_try_lock(&bakery, &alive), SHMR_OWNER_DIED);
	OK(shmr_bakery_unlock(&bakery));
	SAYS(shmr_bakery_try_lock(&bakery, &alive), SHMR_POISONED);
	end();
}

static void die_writing(struct place *where, uint32_t incarnation,
			const struct shmr_segment *segment)
{
	struct shmr_rwlock rwlock;

	(void)where;
	OK(shmr_rwlock_open(&rwlock, segment, incarnation, NULL));
	OK(shmr_rwlock_try_write(&rwlock, NULL));
}

static void die_reading(struct place *where, uint32_t incarnation,
			const struct shmr_segment *segment)
{
	struct shmr_rwlock rwlock;
	uint32_t at;

	(void)where;
	OK(shmr_rwlock_open(&rwlock, segment, incarnation, NULL));
	OK(shmr_rwlock_try_read(&rwlock, &at, NULL));
}

static struct shmr_segment make_rwlock(struct shmr_rwlock *first,
				       struct shmr_rwlock *second)
{
	struct shmr_segment segment;

	make();
	segment = place_segment(&place, "rwlock", SHMR_KIND_RWLOCK,
				shmr_rwlock_len(8));
	OK(shmr_rwlock_open(first, &segment, place.one, NULL));
	OK(shmr_rwlock_open(second, &segment, place.two, NULL));
	return segment;
}

TEST(readers_read_together_and_a_writer_waits_for_them)
{
	struct shmr_rwlock first, second;
	uint32_t at_first, at_second;
	struct shmr_wait wait;

	make_rwlock(&first, &second);
	OK(shmr_rwlock_try_read(&first, &at_first, &alive));
	OK(shmr_wait_checks(&wait, 3));
	OK(shmr_rwlock_read(&second, &at_second, &wait, &alive));
	SAYS(shmr_rwlock_try_write(&second, &alive), SHMR_BUSY);
	OK(shmr_wait_checks(&wait, 3));
	SAYS(shmr_rwlock_write(&second, &wait, &alive), SHMR_TIMED_OUT);
	OK(shmr_rwlock_end_read(&first, at_first));
	SAYS(shmr_rwlock_end_read(&first, at_first), SHMR_NOT_HELD);
	OK(shmr_rwlock_end_read(&second, at_second));
	OK(shmr_rwlock_try_write(&second, &alive));
	SAME(shmr_rwlock_writer(&first), place.two);
	SAYS(shmr_rwlock_try_read(&first, &at_first, &alive), SHMR_BUSY);
	OK(shmr_rwlock_end_write(&second));
	FAILS(second, shmr_rwlock_end_write(&second), SHMR_NOT_HELD, 0, "");
	end();
}

TEST(a_killed_reader_holds_up_no_writer)
{
	struct shmr_rwlock first, second;
	struct shmr_segment segment = make_rwlock(&first, &second);

	place_death(&place, 3, die_reading, &segment);
	SAYS(shmr_rwlock_try_write(&first, NULL), SHMR_BUSY);
	OK(shmr_rwlock_try_write(&first, &alive));
	OK(shmr_rwlock_end_write(&first));
	end();
}

TEST(after_a_killed_writer_readers_know_until_a_writer_repaired)
{
	struct shmr_rwlock first, second;
	struct shmr_segment segment = make_rwlock(&first, &second);
	uint32_t at;

	place_death(&place, 3, die_writing, &segment);
	SAYS(shmr_rwlock_try_read(&first, &at, NULL), SHMR_BUSY);
	SAYS(shmr_rwlock_try_read(&first, &at, &alive), SHMR_OWNER_DIED);
	OK(shmr_rwlock_end_read(&first, at));
	SAYS(shmr_rwlock_try_write(&second, &alive), SHMR_OWNER_DIED);
	OK(shmr_rwlock_make_consistent(&second));
	OK(shmr_rwlock_end_write(&second));
	OK(shmr_rwlock_try_read(&first, &at, &alive));
	OK(shmr_rwlock_end_read(&first, at));
	end();
}

TEST(a_reader_writer_lock_that_nobody_repaired_is_poisoned)
{
	struct shmr_rwlock first, second;
	struct shmr_segment segment = make_rwlock(&first, &second);
	uint32_t at;

	place_death(&place, 3, die_writing, &segment);
	SAYS(shmr_rwlock_try_write(&second, &alive), SHMR_OWNER_DIED);
	OK(shmr_rwlock_end_write(&second));
	SAYS(shmr_rwlock_try_write(&second, &alive), SHMR_POISONED);
	SAYS(shmr_rwlock_try_read(&first, &at, &alive), SHMR_POISONED);
	end();
}

static void die_with_permits(struct place *where, uint32_t incarnation,
			     const struct shmr_segment *segment)
{
	struct shmr_semaphore semaphore;

	(void)where;
	OK(shmr_semaphore_open(&semaphore, segment, incarnation, NULL));
	OK(shmr_semaphore_try_acquire(&semaphore, NULL));
	OK(shmr_semaphore_try_acquire(&semaphore, NULL));
}

TEST(permits_of_a_killed_process_come_back)
{
	struct shmr_semaphore semaphore;
	struct shmr_segment segment;
	struct shmr_wait wait;

	make();
	segment = place_segment(&place, "permits", SHMR_KIND_SEMAPHORE,
				shmr_semaphore_len(4));
	OK(shmr_semaphore_open(&semaphore, &segment, place.one, NULL));
	OK(shmr_semaphore_add(&semaphore, 2));
	place_death(&place, 3, die_with_permits, &segment);
	SAME(shmr_semaphore_available(&semaphore), 0);
	SAYS(shmr_semaphore_try_acquire(&semaphore, NULL), SHMR_BUSY);
	OK(shmr_wait_checks(&wait, 3));
	SAYS(shmr_semaphore_acquire(&semaphore, &wait, NULL), SHMR_TIMED_OUT);
	OK(shmr_semaphore_try_acquire(&semaphore, &alive));
	OK(shmr_wait_poll(&wait, 10000, 10));
	OK(shmr_semaphore_acquire(&semaphore, &wait, &alive));
	SAYS(shmr_semaphore_try_acquire(&semaphore, &alive), SHMR_BUSY);
	OK(shmr_semaphore_release(&semaphore));
	OK(shmr_semaphore_consume(&semaphore));
	SAYS(shmr_semaphore_release(&semaphore), SHMR_NOT_HELD);
	SAME(shmr_semaphore_available(&semaphore), 1);
	end();
}

static void die_after_arriving(struct place *where, uint32_t incarnation,
			       const struct shmr_segment *segment)
{
	struct shmr_barrier barrier;
	struct shmr_arrival arrival;

	(void)where;
	OK(shmr_barrier_open(&barrier, segment, incarnation, 2, NULL));
	/* With partition 1, which came first; it does not come again. */
	OK(shmr_barrier_try_wait(&barrier, NULL, &arrival));
}

TEST(a_barrier_names_the_party_that_died_before_it)
{
	struct shmr_barrier barrier;
	struct shmr_arrival arrival;
	struct shmr_segment segment;
	struct shmr_wait wait;
	uint32_t dead;

	make();
	segment = place_segment(&place, "barrier", SHMR_KIND_BARRIER,
				shmr_barrier_len(PLACE_PARTITIONS));
	OK(shmr_barrier_open(&barrier, &segment, place.one, 2, NULL));
	SAYS(shmr_barrier_try_wait(&barrier, &alive, &arrival), SHMR_BUSY);
	dead = place_death(&place, 3, die_after_arriving, &segment);
	OK(shmr_wait_futex(&wait, 10000));
	OK(shmr_barrier_wait(&barrier, &wait, &alive, &arrival));
	SAME(arrival.phase, 1);
	OK(shmr_wait_futex(&wait, 10000));
	FAILS(barrier, shmr_barrier_wait(&barrier, &wait, &alive, &arrival),
	      SHMR_PARTY_DIED, dead, "");
	end();
}

/* A clock that stands still unless it is set. */
static uint64_t now_us(void *context)
{
	return *(uint64_t *)context;
}

static uint64_t now;
static struct shmr_liveness by_heart;
static struct shmr_heartbeats heartbeats;
static struct shmr_mutex other;

/* A mutex that partition 1 has, and 2 asks for, by heartbeats with a limit of 50 ms. */
static void make_watched(void)
{
	const struct shmr_clock clock = { now_us, &now };
	struct shmr_segment segment;

	now = 1000000;
	place_make(&place);
	segment = place_segment(&place, "mutex", SHMR_KIND_MUTEX,
				shmr_mutex_len(0));
	OK(shmr_mutex_open(&mutex, &segment, place.one, NULL));
	OK(shmr_mutex_open(&other, &segment, place.two, NULL));
	OK(shmr_mutex_try_lock(&mutex, NULL));
	OK(shmr_heartbeats_watch(&heartbeats, &place.registry, 50, &clock));
	by_heart = shmr_heartbeats_liveness(&heartbeats);
	SAME(by_heart.state(by_heart.context, place.one), SHMR_ALIVE);
}

/* What is known of partition 1 after so long, in which it is asked for every 10 ms. */
static int after_ms(unsigned int ms)
{
	int state = SHMR_ALIVE;

	for (; ms > 0; ms -= 10) {
		now += 10000;
		state = by_heart.state(by_heart.context, place.one);
	}
	return state;
}

TEST(a_partition_whose_heartbeat_stands_still_is_silent_and_is_not_taken_over)
{
	make_watched();
	SAME(after_ms(50), SHMR_ALIVE);
	OK(shmr_attachment_beat(&place.first));
	SAME(after_ms(50), SHMR_ALIVE);
	SAME(after_ms(20), SHMR_SILENT);
	SAME(after_ms(10000), SHMR_SILENT);
	SAYS(shmr_mutex_try_lock(&other, &by_heart), SHMR_BUSY);
	OK(shmr_attachment_beat(&place.first));
	SAME(after_ms(10), SHMR_ALIVE);
	OK(shmr_mutex_unlock(&mutex));
	place_end(&place);
}

TEST(a_partition_that_left_or_was_followed_is_gone_whatever_its_heartbeat)
{
	struct shmr_attachment next = { 0 };

	make_watched();
	OK(shmr_attachment_leave(&place.second));
	SAME(by_heart.state(by_heart.context, place.two), SHMR_GONE);
	OK(shmr_partition_attach_after(&next, &place.registry, place.one,
				       NULL));
	SAYS(shmr_mutex_try_lock(&other, &by_heart), SHMR_OWNER_DIED);
	SAYS(shmr_mutex_unlock(&mutex), SHMR_NOT_HELD);
	OK(shmr_attachment_leave(&next));
	OK(shmr_unmap(&place.mapping));
}

TEST(silence_is_the_end_of_a_partition_only_if_the_program_says_so)
{
	make_watched();
	FAILS(heartbeats, shmr_heartbeats_presume_gone_after(&heartbeats, 0),
	      SHMR_EINVAL, 0, "limit");
	OK(shmr_heartbeats_presume_gone_after(&heartbeats, 200));
	SAME(after_ms(200), SHMR_SILENT);
	SAYS(shmr_mutex_try_lock(&other, &by_heart), SHMR_BUSY);
	SAME(after_ms(20), SHMR_GONE);
	SAYS(shmr_mutex_try_lock(&other, &by_heart), SHMR_OWNER_DIED);
	OK(shmr_mutex_make_consistent(&other));
	OK(shmr_mutex_unlock(&other));
	FAILS(mutex, shmr_mutex_unlock(&mutex), SHMR_NOT_HELD, 0, "");
	place_end(&place);
}

TEST(a_watcher_that_was_away_gives_everybody_the_whole_limit_anew)
{
	make_watched();
	OK(shmr_heartbeats_presume_gone_after(&heartbeats, 50));
	SAME(after_ms(40), SHMR_ALIVE);
	now += 10000000;
	SAME(by_heart.state(by_heart.context, place.one), SHMR_ALIVE);
	SAYS(shmr_mutex_try_lock(&other, &by_heart), SHMR_BUSY);
	SAME(after_ms(50), SHMR_ALIVE);
	SAME(after_ms(20), SHMR_GONE);
	place_end(&place);
}

TEST(a_clock_that_goes_back_gives_everybody_the_whole_limit_anew)
{
	make_watched();
	SAME(after_ms(40), SHMR_ALIVE);
	now = 0;
	SAME(by_heart.state(by_heart.context, place.one), SHMR_ALIVE);
	SAME(after_ms(50), SHMR_ALIVE);
	SAME(after_ms(20), SHMR_SILENT);
	place_end(&place);
}

static void die_attached(struct place *where, uint32_t incarnation,
			 const struct shmr_segment *segment)
{
	(void)where;
	(void)incarnation;
	(void)segment;
}

TEST(a_partition_attaches_again_when_its_earlier_incarnation_is_gone)
{
	struct shmr_process own = shmr_process_this();
	struct shmr_attachment attachment = { 0 };
	struct shmr_wait wait;
	uint32_t dead;

	make();
	OK(shmr_wait_checks(&wait, 2));
	FAILS(attachment,
	      shmr_partition_attach_or_take_over(&attachment, &place.registry, 2,
					      &own, &wait, &alive),
	      SHMR_ATTACHED, place.two, "");
	dead = place_death(&place, 3, die_attached, NULL);
	OK(shmr_wait_poll(&wait, 10000, 10));
	OK(shmr_partition_attach_or_take_over(&attachment, &place.registry, 3, &own,
					   &wait, &alive));
	SAME(shmr_attachment_incarnation(&attachment), NEXT(dead));
	OK(shmr_attachment_leave(&attachment));
	end();
}

TEST(what_a_killed_process_left_half_made_is_reaped_and_what_it_made_stays)
{
	struct shmr_segment segment, found;
	size_t rows, before;

	make();
	segment = place_segment(&place, "whole", SHMR_KIND_RAW, 1000);
	before = shmr_registry_free_len(&place.registry);
	place_death(&place, 3, die_attached, NULL);
	OK(shmr_registry_reap(&place.registry, &place.first, &alive, &rows));
	SAME(rows, 0);
	OK(shmr_registry_lookup(&place.registry, segment.id, &found));
	SAME(shmr_registry_free_len(&place.registry), before);
	end();
}
