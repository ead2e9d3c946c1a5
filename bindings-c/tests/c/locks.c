/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Locks whose holders die: killed processes, and partitions whose heartbeats stand still. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

static struct fixture fixture;
static struct shmr_processes processes;
static struct shmr_liveness alive;

/* The program's own liveness: a process that cannot receive a signal is gone. */
static int by_signal(void *context, uint32_t incarnation)
{
	struct shmr_partition partition;

	OK(shmr_partition_read(context, (uint8_t)incarnation, &partition));
	if (partition.incarnation == incarnation && partition.attached &&
	    kill((pid_t)partition.process.number, 0) == 0)
		return SHMR_ALIVE;
	return SHMR_GONE;
}

static void make(void)
{
	static struct shmr_registry watched;

	fixture_make(&fixture);
	OK(shmr_processes_watch(&processes, &fixture.registry));
	alive = shmr_processes_liveness(&processes);
	/* Valgrind does not know pidfd_open(). */
	if (getenv("SHMR_TEST_OWN_LIVENESS")) {
		OK(shmr_registry_attach(&watched, &fixture.region));
		alive.state = by_signal;
		alive.context = &watched;
	}
}

/* Releases what a memory checker would otherwise report as a leak. */
static void end(void)
{
	OK(shmr_processes_close(&processes));
	fixture_end(&fixture);
}

static void die_in_mutex(struct fixture *where, uint32_t incarnation,
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
	*segment = fixture_segment(&fixture, "mutex", SHMR_KIND_MUTEX,
				   shmr_mutex_len(16));
	dead = fixture_death(&fixture, 3, die_in_mutex, segment);
	OK(shmr_mutex_open(&mutex, segment, fixture.one, NULL));
	SAME(shmr_mutex_owner(&mutex), dead);
	return dead;
}

TEST(a_mutex_of_a_killed_process_can_be_acquired_and_repaired)
{
	struct shmr_lock_view view;
	struct shmr_segment segment;
	struct shmr_wait wait;

	mutex_after_a_death(&segment);
	OK(shmr_wait_futex(&wait, 10000));
	RETURNS(shmr_mutex_lock(&mutex, &wait, &alive), SHMR_OWNER_DIED);
	SAME(shmr_mutex_owner(&mutex), fixture.one);
	OK(shmr_lock_inspect(&segment, &view));
	SAME(view.health, SHMR_HEALTH_SUSPECT);
	SAME(view.owner, fixture.one);
	SAME(strcmp(shmr_mutex_data(&segment), "half"), 0);
	strcpy(shmr_mutex_data(&segment), "whole");
	OK(shmr_mutex_make_consistent(&mutex));
	OK(shmr_mutex_unlock(&mutex));
	OK(shmr_lock_inspect(&segment, &view));
	SAME(view.health, SHMR_HEALTH_WHOLE);
	OK(shmr_mutex_try_lock(&mutex, &alive));
	OK(shmr_mutex_unlock(&mutex));
	end();
}

static int is_silent(void *context, uint32_t incarnation)
{
	return incarnation == *(uint32_t *)context ? SHMR_SILENT : SHMR_ALIVE;
}

TEST(a_wait_for_a_silent_owner_times_out_and_names_the_owner)
{
	struct shmr_segment segment;
	struct shmr_mutex other;
	struct shmr_wait wait;
	struct shmr_liveness silent = { is_silent, &fixture.one };

	make();
	segment = fixture_segment(&fixture, "mutex", SHMR_KIND_MUTEX,
				  shmr_mutex_len(16));
	OK(shmr_mutex_open(&mutex, &segment, fixture.one, NULL));
	OK(shmr_mutex_open(&other, &segment, fixture.two, NULL));
	OK(shmr_mutex_try_lock(&mutex, NULL));
	RETURNS(shmr_mutex_try_lock(&other, &silent), SHMR_BUSY);
	OK(shmr_wait_spin_checks(&wait, 3));
	FAILS(other, shmr_mutex_lock(&other, &wait, &silent), SHMR_TIMED_OUT,
	      fixture.one, "");
	OK(shmr_wait_spin_checks(&wait, 3));
	FAILS(other, shmr_mutex_lock(&other, &wait, NULL), SHMR_TIMED_OUT, 0,
	      "");
	OK(shmr_mutex_unlock(&mutex));
	end();
}

TEST(a_mutex_that_was_not_repaired_is_poisoned_for_every_partition)
{
	struct shmr_lock_view view;
	struct shmr_segment segment;
	struct shmr_mutex other;
	struct shmr_wait wait;

	mutex_after_a_death(&segment);
	RETURNS(shmr_mutex_try_lock(&mutex, &alive), SHMR_OWNER_DIED);
	OK(shmr_mutex_unlock(&mutex));
	OK(shmr_lock_inspect(&segment, &view));
	SAME(view.health, SHMR_HEALTH_POISONED);
	SAME(view.error.status, SHMR_OK);
	OK(shmr_mutex_open(&other, &segment, fixture.two, NULL));
	RETURNS(shmr_mutex_try_lock(&other, NULL), SHMR_POISONED);
	OK(shmr_wait_spin_checks(&wait, 3));
	RETURNS(shmr_mutex_lock(&other, &wait, &alive), SHMR_POISONED);
	end();
}

TEST(a_mutex_of_a_running_process_is_not_taken_over)
{
	struct shmr_segment segment;
	struct shmr_mutex other;

	make();
	segment = fixture_segment(&fixture, "mutex", SHMR_KIND_MUTEX,
				  shmr_mutex_len(0));
	OK(shmr_mutex_open(&mutex, &segment, fixture.one, NULL));
	OK(shmr_mutex_open(&other, &segment, fixture.two, NULL));
	OK(shmr_mutex_try_lock(&mutex, &alive));
	RETURNS(shmr_mutex_try_lock(&other, &alive), SHMR_BUSY);
	end();
}

TEST(without_a_liveness_a_dead_owner_counts_as_alive)
{
	struct shmr_segment segment;

	mutex_after_a_death(&segment);
	RETURNS(shmr_mutex_try_lock(&mutex, NULL), SHMR_BUSY);
	end();
}

static void die_in_bakery(struct fixture *where, uint32_t incarnation,
			  const struct shmr_segment *segment)
{
	struct shmr_bakery bakery;

	(void)where;
	OK(shmr_bakery_open(&bakery, segment, incarnation, FIXTURE_PARTITIONS));
	OK(shmr_bakery_try_lock(&bakery, NULL));
}

TEST(a_bakery_mutex_of_a_killed_process_can_be_acquired_and_repaired)
{
	struct shmr_bakery bakery, other;
	struct shmr_segment segment;
	struct shmr_lock_view view;
	struct shmr_wait wait;
	uint32_t dead;

	make();
	segment = fixture_segment(&fixture, "bakery", SHMR_KIND_BAKERY,
				  shmr_bakery_len(8));
	dead = fixture_death(&fixture, 3, die_in_bakery, &segment);
	OK(shmr_bakery_open(&bakery, &segment, fixture.one, FIXTURE_PARTITIONS));
	OK(shmr_bakery_open(&other, &segment, fixture.two, FIXTURE_PARTITIONS));
	SAME(shmr_bakery_owner(&bakery), dead);
	RETURNS(shmr_bakery_try_lock(&bakery, NULL), SHMR_BUSY);
	OK(shmr_wait_spin_yield(&wait, 10000));
	RETURNS(shmr_bakery_lock(&bakery, &wait, &alive), SHMR_OWNER_DIED);
	RETURNS(shmr_bakery_try_lock(&other, &alive), SHMR_BUSY);
	FAILS(other, shmr_bakery_unlock(&other), SHMR_NOT_HELD, fixture.one, "");
	OK(shmr_bakery_make_consistent(&bakery));
	OK(shmr_bakery_unlock(&bakery));
	OK(shmr_bakery_try_lock(&other, &alive));
	RETURNS(shmr_bakery_make_consistent(&bakery), SHMR_NOT_HELD);
	OK(shmr_bakery_unlock(&other));
	OK(shmr_lock_inspect(&segment, &view));
	SAME(view.health, SHMR_HEALTH_WHOLE);
	end();
}

TEST(a_bakery_mutex_that_was_not_repaired_is_poisoned)
{
	struct shmr_segment segment;
	struct shmr_bakery bakery;

	make();
	segment = fixture_segment(&fixture, "bakery", SHMR_KIND_BAKERY,
				  shmr_bakery_len(8));
	fixture_death(&fixture, 3, die_in_bakery, &segment);
	OK(shmr_bakery_open(&bakery, &segment, fixture.one, FIXTURE_PARTITIONS));
	RETURNS(shmr_bakery_try_lock(&bakery, &alive), SHMR_OWNER_DIED);
	OK(shmr_bakery_unlock(&bakery));
	RETURNS(shmr_bakery_try_lock(&bakery, &alive), SHMR_POISONED);
	end();
}

static void die_writing(struct fixture *where, uint32_t incarnation,
			const struct shmr_segment *segment)
{
	struct shmr_rwlock rwlock;

	(void)where;
	OK(shmr_rwlock_open(&rwlock, segment, incarnation, NULL));
	OK(shmr_rwlock_try_write(&rwlock, NULL));
}

static void die_reading(struct fixture *where, uint32_t incarnation,
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
	segment = fixture_segment(&fixture, "rwlock", SHMR_KIND_RWLOCK,
				  shmr_rwlock_len(8));
	OK(shmr_rwlock_open(first, &segment, fixture.one, NULL));
	OK(shmr_rwlock_open(second, &segment, fixture.two, NULL));
	return segment;
}

TEST(readers_read_together_and_a_writer_waits_for_them)
{
	struct shmr_rwlock first, second;
	uint32_t at_first, at_second;
	struct shmr_wait wait;

	make_rwlock(&first, &second);
	OK(shmr_rwlock_try_read(&first, &at_first, &alive));
	OK(shmr_wait_spin_checks(&wait, 3));
	OK(shmr_rwlock_read(&second, &at_second, &wait, &alive));
	RETURNS(shmr_rwlock_try_write(&second, &alive), SHMR_BUSY);
	OK(shmr_wait_spin_checks(&wait, 3));
	RETURNS(shmr_rwlock_write(&second, &wait, &alive), SHMR_TIMED_OUT);
	OK(shmr_rwlock_unlock_read(&first, at_first));
	RETURNS(shmr_rwlock_unlock_read(&first, at_first), SHMR_NOT_HELD);
	OK(shmr_rwlock_unlock_read(&second, at_second));
	OK(shmr_rwlock_try_write(&second, &alive));
	SAME(shmr_rwlock_writer(&first), fixture.two);
	RETURNS(shmr_rwlock_try_read(&first, &at_first, &alive), SHMR_BUSY);
	OK(shmr_rwlock_unlock_write(&second));
	FAILS(second, shmr_rwlock_unlock_write(&second), SHMR_NOT_HELD, 0, "");
	end();
}

TEST(a_killed_reader_does_not_block_a_writer)
{
	struct shmr_rwlock first, second;
	struct shmr_segment segment = make_rwlock(&first, &second);

	fixture_death(&fixture, 3, die_reading, &segment);
	RETURNS(shmr_rwlock_try_write(&first, NULL), SHMR_BUSY);
	OK(shmr_rwlock_try_write(&first, &alive));
	OK(shmr_rwlock_unlock_write(&first));
	end();
}

TEST(readers_are_warned_after_a_writer_was_killed_until_another_repairs)
{
	struct shmr_rwlock first, second;
	struct shmr_segment segment = make_rwlock(&first, &second);
	uint32_t at;

	fixture_death(&fixture, 3, die_writing, &segment);
	RETURNS(shmr_rwlock_try_read(&first, &at, NULL), SHMR_BUSY);
	RETURNS(shmr_rwlock_try_read(&first, &at, &alive), SHMR_OWNER_DIED);
	OK(shmr_rwlock_unlock_read(&first, at));
	RETURNS(shmr_rwlock_try_write(&second, &alive), SHMR_OWNER_DIED);
	OK(shmr_rwlock_make_consistent(&second));
	OK(shmr_rwlock_unlock_write(&second));
	OK(shmr_rwlock_try_read(&first, &at, &alive));
	OK(shmr_rwlock_unlock_read(&first, at));
	end();
}

TEST(a_reader_writer_lock_that_was_not_repaired_is_poisoned)
{
	struct shmr_rwlock first, second;
	struct shmr_segment segment = make_rwlock(&first, &second);
	uint32_t at;

	fixture_death(&fixture, 3, die_writing, &segment);
	RETURNS(shmr_rwlock_try_write(&second, &alive), SHMR_OWNER_DIED);
	OK(shmr_rwlock_unlock_write(&second));
	RETURNS(shmr_rwlock_try_write(&second, &alive), SHMR_POISONED);
	RETURNS(shmr_rwlock_try_read(&first, &at, &alive), SHMR_POISONED);
	end();
}

static void die_with_permits(struct fixture *where, uint32_t incarnation,
			     const struct shmr_segment *segment)
{
	struct shmr_semaphore semaphore;

	(void)where;
	OK(shmr_semaphore_open(&semaphore, segment, incarnation, NULL));
	OK(shmr_semaphore_try_acquire(&semaphore, NULL));
	OK(shmr_semaphore_try_acquire(&semaphore, NULL));
}

TEST(permits_of_a_killed_process_are_recovered)
{
	struct shmr_semaphore semaphore;
	struct shmr_segment segment;
	struct shmr_wait wait;

	make();
	segment = fixture_segment(&fixture, "permits", SHMR_KIND_SEMAPHORE,
				  shmr_semaphore_len(4));
	OK(shmr_semaphore_open(&semaphore, &segment, fixture.one, NULL));
	OK(shmr_semaphore_add(&semaphore, 2));
	fixture_death(&fixture, 3, die_with_permits, &segment);
	SAME(shmr_semaphore_available(&semaphore), 0);
	RETURNS(shmr_semaphore_try_acquire(&semaphore, NULL), SHMR_BUSY);
	OK(shmr_wait_spin_checks(&wait, 3));
	RETURNS(shmr_semaphore_acquire(&semaphore, &wait, NULL), SHMR_TIMED_OUT);
	OK(shmr_semaphore_try_acquire(&semaphore, &alive));
	OK(shmr_wait_poll(&wait, 10000, 10));
	OK(shmr_semaphore_acquire(&semaphore, &wait, &alive));
	RETURNS(shmr_semaphore_try_acquire(&semaphore, &alive), SHMR_BUSY);
	OK(shmr_semaphore_release(&semaphore));
	OK(shmr_semaphore_consume(&semaphore));
	RETURNS(shmr_semaphore_release(&semaphore), SHMR_NOT_HELD);
	SAME(shmr_semaphore_available(&semaphore), 1);
	end();
}

static void die_after_arriving(struct fixture *where, uint32_t incarnation,
			       const struct shmr_segment *segment)
{
	struct shmr_barrier barrier;
	struct shmr_arrival arrival;

	(void)where;
	OK(shmr_barrier_open(&barrier, segment, incarnation, 2, NULL));
	/* Partition 1 has arrived; this partition arrives once, and not again. */
	OK(shmr_barrier_try_wait(&barrier, NULL, &arrival));
}

TEST(a_barrier_names_the_party_that_died)
{
	struct shmr_barrier barrier;
	struct shmr_arrival arrival;
	struct shmr_segment segment;
	struct shmr_wait wait;
	uint32_t dead;

	make();
	segment = fixture_segment(&fixture, "barrier", SHMR_KIND_BARRIER,
				  shmr_barrier_len(FIXTURE_PARTITIONS));
	OK(shmr_barrier_open(&barrier, &segment, fixture.one, 2, NULL));
	RETURNS(shmr_barrier_try_wait(&barrier, &alive, &arrival), SHMR_BUSY);
	dead = fixture_death(&fixture, 3, die_after_arriving, &segment);
	OK(shmr_wait_futex(&wait, 10000));
	OK(shmr_barrier_wait(&barrier, &wait, &alive, &arrival));
	SAME(arrival.phase, 1);
	OK(shmr_wait_futex(&wait, 10000));
	FAILS(barrier, shmr_barrier_wait(&barrier, &wait, &alive, &arrival),
	      SHMR_PARTY_DIED, dead, "");
	end();
}

/* A clock that advances only when a test sets it. */
static uint64_t now_us(void *context)
{
	return *(uint64_t *)context;
}

static uint64_t now;
static struct shmr_liveness by_heartbeat;
static struct shmr_heartbeats heartbeats;
static struct shmr_mutex other;

/* Makes a mutex that partition 1 holds and 2 wants, and heartbeats with a limit of 50 ms. */
static void make_watched(void)
{
	const struct shmr_clock clock = { now_us, &now };
	struct shmr_segment segment;

	now = 1000000;
	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "mutex", SHMR_KIND_MUTEX,
				  shmr_mutex_len(0));
	OK(shmr_mutex_open(&mutex, &segment, fixture.one, NULL));
	OK(shmr_mutex_open(&other, &segment, fixture.two, NULL));
	OK(shmr_mutex_try_lock(&mutex, NULL));
	OK(shmr_heartbeats_watch(&heartbeats, &fixture.registry, 50, &clock));
	by_heartbeat = shmr_heartbeats_liveness(&heartbeats);
	SAME(by_heartbeat.state(by_heartbeat.context, fixture.one), SHMR_ALIVE);
}

/* Asks for partition 1's state every 10 ms for @ms; returns the last state. */
static int after_ms(unsigned int ms)
{
	int state = SHMR_ALIVE;

	for (; ms > 0; ms -= 10) {
		now += 10000;
		state = by_heartbeat.state(by_heartbeat.context, fixture.one);
	}
	return state;
}

TEST(a_partition_whose_heartbeat_stands_still_is_silent_and_is_not_taken_over)
{
	make_watched();
	SAME(after_ms(50), SHMR_ALIVE);
	OK(shmr_attachment_beat(&fixture.first));
	SAME(after_ms(50), SHMR_ALIVE);
	SAME(after_ms(20), SHMR_SILENT);
	SAME(after_ms(10000), SHMR_SILENT);
	RETURNS(shmr_mutex_try_lock(&other, &by_heartbeat), SHMR_BUSY);
	OK(shmr_attachment_beat(&fixture.first));
	SAME(after_ms(10), SHMR_ALIVE);
	OK(shmr_mutex_unlock(&mutex));
	fixture_end(&fixture);
}

TEST(a_partition_that_left_or_was_replaced_is_gone_whatever_its_heartbeat_does)
{
	struct shmr_attachment next = { 0 };

	make_watched();
	OK(shmr_attachment_leave(&fixture.second));
	SAME(by_heartbeat.state(by_heartbeat.context, fixture.two), SHMR_GONE);
	OK(shmr_partition_attach_after(&next, &fixture.registry, fixture.one,
				       NULL));
	RETURNS(shmr_mutex_try_lock(&other, &by_heartbeat), SHMR_OWNER_DIED);
	RETURNS(shmr_mutex_unlock(&mutex), SHMR_NOT_HELD);
	OK(shmr_attachment_leave(&next));
	OK(shmr_unmap(&fixture.mapping));
}

TEST(a_silent_partition_is_gone_only_if_the_program_presumes_that)
{
	make_watched();
	FAILS(heartbeats, shmr_heartbeats_presume_gone_after(&heartbeats, 0),
	      SHMR_EINVAL, 0, "limit");
	OK(shmr_heartbeats_presume_gone_after(&heartbeats, 200));
	SAME(after_ms(200), SHMR_SILENT);
	RETURNS(shmr_mutex_try_lock(&other, &by_heartbeat), SHMR_BUSY);
	SAME(after_ms(20), SHMR_GONE);
	RETURNS(shmr_mutex_try_lock(&other, &by_heartbeat), SHMR_OWNER_DIED);
	OK(shmr_mutex_make_consistent(&other));
	OK(shmr_mutex_unlock(&other));
	FAILS(mutex, shmr_mutex_unlock(&mutex), SHMR_NOT_HELD, 0, "");
	fixture_end(&fixture);
}

TEST(after_a_pause_of_the_watcher_every_partition_has_the_whole_limit_again)
{
	make_watched();
	OK(shmr_heartbeats_presume_gone_after(&heartbeats, 50));
	SAME(after_ms(40), SHMR_ALIVE);
	now += 10000000;
	SAME(by_heartbeat.state(by_heartbeat.context, fixture.one), SHMR_ALIVE);
	RETURNS(shmr_mutex_try_lock(&other, &by_heartbeat), SHMR_BUSY);
	SAME(after_ms(50), SHMR_ALIVE);
	SAME(after_ms(20), SHMR_GONE);
	fixture_end(&fixture);
}

TEST(after_the_clock_went_back_every_partition_has_the_whole_limit_again)
{
	make_watched();
	SAME(after_ms(40), SHMR_ALIVE);
	now = 0;
	SAME(by_heartbeat.state(by_heartbeat.context, fixture.one), SHMR_ALIVE);
	SAME(after_ms(50), SHMR_ALIVE);
	SAME(after_ms(20), SHMR_SILENT);
	fixture_end(&fixture);
}

static void die_attached(struct fixture *where, uint32_t incarnation,
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
	OK(shmr_wait_spin_checks(&wait, 2));
	FAILS(attachment,
	      shmr_partition_attach_or_take_over(&attachment, &fixture.registry, 2,
						 &own, &wait, &alive),
	      SHMR_ATTACHED, fixture.two, "");
	dead = fixture_death(&fixture, 3, die_attached, NULL);
	OK(shmr_wait_poll(&wait, 10000, 10));
	OK(shmr_partition_attach_or_take_over(&attachment, &fixture.registry, 3, &own,
					      &wait, &alive));
	SAME(shmr_attachment_incarnation(&attachment), NEXT(dead));
	OK(shmr_attachment_leave(&attachment));
	end();
}

TEST(reaping_keeps_complete_segments)
{
	struct shmr_segment segment, found;
	size_t rows, before;

	make();
	segment = fixture_segment(&fixture, "whole", SHMR_KIND_RAW, 1000);
	before = shmr_registry_free_bytes(&fixture.registry);
	fixture_death(&fixture, 3, die_attached, NULL);
	OK(shmr_registry_reap(&fixture.registry, &fixture.first, &alive, &rows));
	SAME(rows, 0);
	OK(shmr_registry_lookup(&fixture.registry, segment.id, &found));
	SAME(shmr_registry_free_bytes(&fixture.registry), before);
	end();
}
