/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Sessions and channels between threads and processes, with restarts and deaths. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"

#define SECOND ((uint64_t)1000000000)
#define LONG (30 * SECOND)
#define SHORT ((uint64_t)1000000)
#define CALLS 300

static struct fixture fixture;
static struct shmr_session here, there;
static struct shmr_client client;
static struct shmr_server server;
static char text[64];
static size_t len;

static uint64_t now(void *context)
{
	struct timespec time;

	(void)context;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* Returns SHMR_GONE if the process has ended or does not exist. */
static int by_signal(void *context, uint32_t incarnation,
		     const struct shmr_process *process)
{
	pid_t number = (pid_t)process->number;
	siginfo_t info;

	(void)context;
	(void)incarnation;
	memset(&info, 0, sizeof(info));
	if (kill(number, 0) != 0)
		return SHMR_GONE;
	(void)waitid(P_PID, (id_t)number, &info, WEXITED | WNOHANG | WNOWAIT);
	return info.si_pid == number ? SHMR_GONE : SHMR_ALIVE;
}

/* Valgrind does not know pidfd_open(). */
static struct shmr_platform same_kernel(void)
{
	struct shmr_platform platform = shmr_platform_same_kernel();

	if (getenv("SHMR_TEST_OWN_LIVENESS"))
		platform.state = by_signal;
	return platform;
}

static enum shmr_status try_join(struct shmr_session *session,
				 const struct fixture *where, uint8_t partition,
				 uint64_t wait_for_earlier,
				 const struct shmr_platform *platform)
{
	const struct shmr_session_options options = {
		.partition = partition, .wait_for_earlier = wait_for_earlier,
	};
	struct shmr_platform same = same_kernel();

	memset(session, 0, sizeof(*session));
	return shmr_session_join(session, shmr_mapping_base(&where->mapping),
				 FIXTURE_LEN, &options,
				 platform ? platform : &same);
}

/* Partition 3, `here`, has the server; partition 4, `there`, has the client. */
static void make(const struct shmr_platform *platform)
{
	fixture_make(&fixture);
	memset(&client, 0, sizeof(client));
	memset(&server, 0, sizeof(server));
	OK(try_join(&here, &fixture, 3, 0, platform));
	OK(try_join(&there, &fixture, 4, 0, platform));
	OK(shmr_server_open(&server, &here, "channel", NULL));
	OK(shmr_client_open(&client, &there, "channel", NULL));
}

static void end(void)
{
	OK(shmr_client_close(&client));
	OK(shmr_server_close(&server));
	OK(shmr_session_leave(&here));
	OK(shmr_session_leave(&there));
	fixture_end(&fixture);
}

/* Answers each call with its own bytes. */
static void answer(struct shmr_server *own, int calls)
{
	while (calls--) {
		struct shmr_call call;
		char bytes[64];
		size_t count;

		OK(shmr_server_recv(own, bytes, sizeof(bytes), &count, &call,
				    LONG));
		CHECK(call.number != 0);
		OK(shmr_server_answer(own, &call, bytes, count, LONG));
		SAME(call.number, 0);
	}
}

static void ask(struct shmr_client *own, int calls)
{
	while (calls--) {
		char bytes[64];
		size_t want = (size_t)calls % sizeof(bytes), count;

		memset(bytes, calls, sizeof(bytes));
		/* The answer overwrites the command. */
		OK(shmr_client_call(own, bytes, want, bytes, sizeof(bytes),
				    &count, LONG));
		SAME(count, want);
		CHECK(want == 0 || bytes[want - 1] == (char)calls);
	}
}

static void *serve(void *unused)
{
	answer(&server, CALLS);
	return unused;
}

TEST(calls_are_answered_between_threads)
{
	pthread_t thread;

	make(NULL);
	CHECK(pthread_create(&thread, NULL, serve, NULL) == 0);
	ask(&client, CALLS);
	CHECK(pthread_join(thread, NULL) == 0);
	SAME(shmr_client_discarded(&client), 0);
	SAME(shmr_server_discarded(&server), 0);
	end();
}

TEST(a_platform_with_only_a_clock_is_sufficient)
{
	const struct shmr_platform platform = { .now = now };
	pthread_t thread;

	make(&platform);
	CHECK(pthread_create(&thread, NULL, serve, NULL) == 0);
	ask(&client, CALLS);
	CHECK(pthread_join(thread, NULL) == 0);
	RETURNS(shmr_client_call(&client, "?", 1, text, 64, &len, SHORT),
		SHMR_TIMED_OUT);
	end();
}

/* How often a platform's functions were called. */
struct counters {
	unsigned int sleeps, records, room, states;
	uint64_t longest, time;
	uint32_t number;
	/* A sender of another session: its record ends the sleep. */
	struct shmr_sender *sender;
	/* The number of sleeps before an interrupt. */
	unsigned int allowed;
};

/* Each call advances the time by a microsecond, even on a busy machine. */
static uint64_t count_time(void *context)
{
	struct counters *counters = context;

	return counters->time += 1000;
}

static void count_sleep(void *context, const uint32_t *ring_count, uint32_t seen,
			uint64_t longest)
{
	struct counters *counters = context;

	(void)ring_count;
	(void)seen;
	counters->sleeps++;
	if (longest > counters->longest)
		counters->longest = longest;
	if (counters->sender)
		OK(shmr_sender_send(counters->sender, "a", 1, 0));
	counters->sender = NULL;
}

static void count_wake(void *context, const uint32_t *ring_count, int reason)
{
	struct counters *counters = context;

	(void)ring_count;
	*(reason == SHMR_RECORDS ? &counters->records : &counters->room) += 1;
}

static int count_state(void *context, uint32_t incarnation,
		       const struct shmr_process *process)
{
	struct counters *counters = context;

	(void)incarnation;
	counters->states++;
	counters->number = process->number;
	return SHMR_GONE;
}

static bool sleep_no_more(void *context)
{
	struct counters *counters = context;

	return counters->sleeps >= counters->allowed;
}

TEST(an_interrupt_ends_a_wait_without_a_deadline)
{
	static struct counters counters;
	struct shmr_platform platform = {
		.now = count_time, .sleep = count_sleep,
		.interrupted = sleep_no_more, .context = &counters,
	};
	struct shmr_receiver receiver = { 0 };
	struct shmr_session own;

	memset(&counters, 0, sizeof(counters));
	counters.allowed = 4;
	make(NULL);
	/* Partition 3 is alive: the call waits for its end until the interrupt. */
	RETURNS(try_join(&own, &fixture, 3, SHMR_FOREVER, &platform), SHMR_ATTACHED);
	SAME(counters.sleeps, 4);
	OK(try_join(&own, &fixture, 5, 0, &platform));
	OK(shmr_receiver_open(&receiver, &own, "single", 256, SHMR_KEEP));
	counters.allowed = 8;
	RETURNS(shmr_receiver_recv(&receiver, text, 64, &len, SHMR_FOREVER),
		SHMR_TIMED_OUT);
	SAME(counters.sleeps, 8);
	OK(shmr_receiver_close(&receiver));
	OK(shmr_session_leave(&own));
	end();
}

TEST(the_programs_own_platform_sleeps_wakes_and_reports_states)
{
	static struct counters counters;
	struct shmr_platform platform = {
		.now = count_time, .sleep = count_sleep, .wake = count_wake,
		.state = count_state, .context = &counters,
	};
	struct shmr_receiver receiver = { 0 };
	struct shmr_sender sender = { 0 };
	struct shmr_session own, other;

	memset(&counters, 0, sizeof(counters));
	make(NULL);
	OK(try_join(&own, &fixture, 5, 0, &platform));
	OK(try_join(&other, &fixture, 6, 0, &platform));
	OK(shmr_receiver_open(&receiver, &own, "single", 256, SHMR_KEEP));
	OK(shmr_sender_open(&sender, &other, "single", 256));
	RETURNS(shmr_receiver_recv(&receiver, text, 64, &len, SHORT),
		SHMR_TIMED_OUT);
	CHECK(counters.sleeps > 0 && counters.longest > 0 && counters.longest <= SHORT);
	SAME(counters.records, 0);
	counters.sender = &sender;
	OK(shmr_receiver_recv(&receiver, text, 64, &len, LONG));
	SAME(counters.records, 1);
	SAME(counters.room, 0);
	SAME(counters.states, 0);
	/* Partition 3 is alive, but this platform reports it as gone. */
	SAME(shmr_session_liveness(&own).state(&own, shmr_session_incarnation(&here)),
	     SHMR_GONE);
	SAME(counters.states, 1);
	SAME(counters.number, (uint32_t)getpid());
	/* The platform is not asked about an incarnation that never attached. */
	SAME(shmr_session_liveness(&own).state(&own, 0x107), SHMR_ALIVE);
	SAME(counters.states, 1);
	OK(shmr_sender_close(&sender));
	OK(shmr_receiver_close(&receiver));
	OK(shmr_session_leave(&own));
	OK(shmr_session_leave(&other));
	end();
}

/* Forks a child that maps the region itself. */
static pid_t start(void (*work)(struct fixture *own))
{
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		static struct fixture own;

		fixture_join(&own, &fixture);
		work(&own);
		_exit(0);
	}
	return child;
}

static int ended(pid_t child)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child);
	return status;
}

static struct shmr_session own_session;
static struct shmr_server own_server;
static struct shmr_client own_client;

static void serve_and_leave(struct fixture *own)
{
	OK(try_join(&own_session, own, 6, LONG, NULL));
	OK(shmr_server_open(&own_server, &own_session, "processes", NULL));
	answer(&own_server, CALLS);
	OK(shmr_server_close(&own_server));
	OK(shmr_session_leave(&own_session));
}

static void make_client(void)
{
	make(NULL);
	memset(&own_client, 0, sizeof(own_client));
	OK(shmr_client_open(&own_client, &there, "processes", NULL));
}

static void end_client(void)
{
	OK(shmr_client_close(&own_client));
	end();
}

TEST(calls_between_processes_are_answered_and_a_server_that_left_is_gone)
{
	pid_t child;

	make_client();
	child = start(serve_and_leave);
	ask(&own_client, CALLS);
	SAME(ended(child), 0);
	CHECK(shmr_client_server_is_gone(&own_client));
	RETURNS(shmr_client_call(&own_client, "?", 1, text, 64, &len, LONG),
		SHMR_PEER_GONE);
	end_client();
}

/* Receives a call, and dies before answering it. */
static void die_in_a_call(struct fixture *own)
{
	struct shmr_call call;

	OK(try_join(&own_session, own, 6, LONG, NULL));
	OK(shmr_server_open(&own_server, &own_session, "processes", NULL));
	answer(&own_server, 1);
	OK(shmr_server_recv(&own_server, text, 64, &len, &call, LONG));
	kill(getpid(), SIGKILL);
}

TEST(a_command_that_is_too_long_for_the_server_is_skipped_and_its_call_answered)
{
	struct shmr_call started, call;
	char answer[64];

	make(NULL);
	OK(shmr_client_start_call(&client, "0123456789", 10, &started, LONG));
	RETURNS(shmr_server_recv(&server, text, 4, &len, &call, LONG),
		SHMR_BUFFER_TOO_SHORT);
	OK(shmr_server_skip(&server, &call));
	OK(shmr_server_answer(&server, &call, "long", 4, LONG));
	OK(shmr_client_finish_call(&client, &started, answer, 64, &len, LONG));
	CHECK(len == 4 && memcmp(answer, "long", 4) == 0);
	OK(shmr_server_skip(&server, &call));
	SAME(call.number, 0);
	OK(shmr_server_send(&server, "0123456789", 10, LONG));
	RETURNS(shmr_client_recv(&client, answer, 4, &len, LONG),
		SHMR_BUFFER_TOO_SHORT);
	OK(shmr_client_skip(&client));
	RETURNS(shmr_client_recv(&client, answer, 4, &len, 0), SHMR_TIMED_OUT);
	end();
}

TEST(a_call_to_a_killed_server_fails_at_once_and_its_next_incarnation_answers)
{
	uint64_t before;
	pid_t child;
	int deaths;

	make_client();
	for (deaths = 0; deaths < 3; deaths++) {
		child = start(die_in_a_call);
		if (deaths > 0)
			while (shmr_client_send(&own_client, "", 0, LONG) !=
			       SHMR_RESTARTED)
				usleep(1000);
		ask(&own_client, 1);
		before = now(NULL);
		FAILS(own_client,
		      shmr_client_call(&own_client, "?", 1, text, 64, &len, LONG),
		      SHMR_PEER_GONE, 0, "");
		CHECK(now(NULL) - before < LONG / 3);
		CHECK(WIFSIGNALED(ended(child)));
		CHECK(shmr_client_server_is_gone(&own_client));
	}
	child = start(serve_and_leave);
	while (shmr_client_send(&own_client, "", 0, LONG) != SHMR_RESTARTED)
		usleep(1000);
	ask(&own_client, CALLS);
	SAME(ended(child), 0);
	end_client();
}

static void call_and_die(struct fixture *own)
{
	struct shmr_call call;

	OK(try_join(&own_session, own, 6, LONG, NULL));
	OK(shmr_client_open(&own_client, &own_session, "channel", NULL));
	OK(shmr_client_start_call(&own_client, "?", 1, &call, LONG));
	OK(shmr_client_start_call(&own_client, "never received", 14, &call,
				  LONG));
	kill(getpid(), SIGKILL);
}

static void call_and_leave(struct fixture *own)
{
	OK(try_join(&own_session, own, 6, LONG, NULL));
	OK(shmr_client_open(&own_client, &own_session, "channel", NULL));
	ask(&own_client, 2);
	OK(shmr_client_close(&own_client));
	OK(shmr_session_leave(&own_session));
}

/* Waits until the second client has opened its end. */
static void wait_for_the_second_client(void)
{
	struct shmr_ring_view view = { 0 };
	struct shmr_registry registry;
	struct shmr_segment commands;

	OK(shmr_session_registry(&here, &registry));
	OK(shmr_registry_lookup(&registry,
				shmr_id_from_name("channel.command"),
				&commands));
	while (view.producer != 0x206) {
		usleep(1000);
		OK(shmr_ring_inspect(&commands, 0, &view));
	}
}

TEST(a_killed_client_gets_no_answer_and_its_next_incarnation_gets_its_own)
{
	struct shmr_call call, next;
	pid_t child;

	make(NULL);
	OK(shmr_client_close(&client));
	child = start(call_and_die);
	OK(shmr_server_recv(&server, text, 64, &len, &call, LONG));
	CHECK(WIFSIGNALED(ended(child)));
	CHECK(shmr_server_client_is_gone(&server));
	child = start(call_and_leave);
	wait_for_the_second_client();
	/* The dead client's command that was not received is discarded. */
	RETURNS(shmr_server_recv(&server, text, 64, &len, &next, LONG),
		SHMR_RESTARTED);
	SAME(shmr_server_discarded(&server), 1);
	RETURNS(shmr_server_answer(&server, &call, "late", 4, LONG),
		SHMR_CALLER_RESTARTED);
	answer(&server, 2);
	SAME(ended(child), 0);
	OK(shmr_client_open(&client, &there, "channel", NULL));
	end();
}

TEST(several_calls_can_wait_and_answers_to_abandoned_calls_are_skipped)
{
	struct shmr_call calls[3];
	int at;

	make(NULL);
	for (at = 0; at < 3; at++)
		OK(shmr_client_start_call(&client, &at, sizeof(at), &calls[at],
					  LONG));
	answer(&server, 3);
	OK(shmr_client_finish_call(&client, &calls[1], text, 64, &len, LONG));
	memcpy(&at, text, sizeof(at));
	SAME(at, 1);
	OK(shmr_client_finish_call(&client, &calls[2], text, 64, &len, LONG));
	memcpy(&at, text, sizeof(at));
	SAME(at, 2);
	SAME(shmr_client_discarded(&client), 1);
	RETURNS(shmr_client_finish_call(&client, &calls[1], text, 64, &len, LONG),
		SHMR_EINVAL);
	end();
}

TEST(a_call_that_timed_out_can_be_finished_later)
{
	struct shmr_call call;

	make(NULL);
	OK(shmr_client_start_call(&client, "slow", 4, &call, LONG));
	RETURNS(shmr_client_finish_call(&client, &call, text, 64, &len, SHORT),
		SHMR_TIMED_OUT);
	answer(&server, 1);
	OK(shmr_client_finish_call(&client, &call, text, 64, &len, LONG));
	SAME(len, 4);
	end();
}

TEST(a_call_cannot_be_answered_twice)
{
	struct shmr_call call, received;

	make(NULL);
	OK(shmr_client_start_call(&client, "?", 1, &call, LONG));
	OK(shmr_server_recv(&server, text, 64, &len, &received, LONG));
	OK(shmr_server_answer(&server, &received, NULL, 0, LONG));
	FAILS(server, shmr_server_answer(&server, &received, NULL, 0, LONG),
	      SHMR_EINVAL, 0, "call");
	OK(shmr_client_finish_call(&client, &call, NULL, 0, &len, LONG));
	SAME(len, 0);
	end();
}

TEST(a_moved_session_and_the_handles_on_it_are_refused)
{
	static struct shmr_session moved;
	struct shmr_client other = { 0 };
	struct shmr_call call = { 1, 0 };

	make(NULL);
	memcpy(&moved, &there, sizeof(moved));
	RETURNS(shmr_session_beat(&moved), SHMR_EINVAL);
	RETURNS(shmr_session_leave(&moved), SHMR_EINVAL);
	SAME(shmr_session_incarnation(&moved), 0);
	FAILS(other, shmr_client_open(&other, &moved, "other", NULL),
	      SHMR_EINVAL, 0, "session");
	memset(&there, 0, sizeof(there));
	FAILS(client, shmr_client_send(&client, "a", 1, LONG),
	      SHMR_EINVAL, 0, "session");
	FAILS(client,
	      shmr_client_finish_call(&client, &call, text, 64, &len, LONG),
	      SHMR_EINVAL, 0, "session");
	SAME(shmr_client_max_len(&client), 0);
	CHECK(!shmr_client_server_is_gone(&client));
	/* After it is moved back, it works again. */
	memcpy(&there, &moved, sizeof(there));
	OK(shmr_client_send(&client, "a", 1, LONG));
	OK(shmr_server_recv(&server, text, 64, &len, &call, LONG));
	/* The handle does not accept another session at that address. */
	OK(try_join(&there, &fixture, 5, 0, NULL));
	FAILS(client, shmr_client_send(&client, "a", 1, LONG),
	      SHMR_EINVAL, 0, "session");
	OK(shmr_session_leave(&there));
	memcpy(&there, &moved, sizeof(there));
	OK(shmr_client_send(&client, "a", 1, LONG));
	/* Closing an end works even if its session no longer exists. */
	memset(&there, 0, sizeof(there));
	OK(shmr_client_close(&client));
	OK(shmr_client_open(&client, &here, "channel", NULL));
	OK(shmr_client_close(&client));
	OK(shmr_server_close(&server));
	OK(shmr_session_leave(&here));
	fixture_end(&fixture);
}

static void *beat(void *stop)
{
	while (!__atomic_load_n((int *)stop, __ATOMIC_ACQUIRE)) {
		OK(shmr_session_beat(&there));
		usleep(100);
	}
	return NULL;
}

TEST(a_thread_beats_while_others_open_and_use_channels_on_the_same_session)
{
	static int stop;
	struct shmr_partition before, after;
	pthread_t beating, serving;
	int at;

	make(NULL);
	OK(shmr_partition_read(&fixture.registry, 4, &before));
	__atomic_store_n(&stop, 0, __ATOMIC_RELEASE);
	CHECK(pthread_create(&beating, NULL, beat, &stop) == 0);
	CHECK(pthread_create(&serving, NULL, serve, NULL) == 0);
	for (at = 0; at < 20; at++) {
		struct shmr_sender sender = { 0 };

		OK(shmr_sender_open(&sender, &there, "single", 256));
		OK(shmr_sender_close(&sender));
	}
	ask(&client, CALLS);
	CHECK(pthread_join(serving, NULL) == 0);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	CHECK(pthread_join(beating, NULL) == 0);
	OK(shmr_partition_read(&fixture.registry, 4, &after));
	CHECK(after.heartbeat != before.heartbeat);
	end();
}

/* Receives 500 records and checks their order. */
static void *receive(void *receiver)
{
	unsigned int want;

	for (want = 0; want < 500; want++) {
		unsigned int got;
		size_t count;

		OK(shmr_receiver_recv(receiver, &got, sizeof(got), &count,
				      LONG));
		SAME(count, sizeof(got));
		SAME(got, want);
	}
	return NULL;
}

TEST(a_ring_with_doorbells_wakes_both_its_ends)
{
	struct shmr_receiver receiver = { 0 };
	struct shmr_sender sender = { 0 };
	const void *found;
	pthread_t thread;
	unsigned int at;

	make(NULL);
	OK(shmr_receiver_open(&receiver, &here, "single", 64, SHMR_KEEP));
	SAME(shmr_receiver_peer(&receiver), 0);
	OK(shmr_sender_open(&sender, &there, "single", 64));
	SAME(shmr_sender_peer(&sender), shmr_session_incarnation(&here));
	SAME(shmr_receiver_peer(&receiver), shmr_session_incarnation(&there));
	SAME(shmr_sender_max_len(&sender), 16);
	CHECK(pthread_create(&thread, NULL, receive, &receiver) == 0);
	for (at = 0; at < 500; at++)
		OK(shmr_sender_send(&sender, &at, sizeof(at), LONG));
	CHECK(pthread_join(thread, NULL) == 0);
	RETURNS(shmr_receiver_recv(&receiver, text, 64, &len, 0), SHMR_TIMED_OUT);
	while ((at = (unsigned int)shmr_sender_send(&sender, "full", 4, SHORT)) ==
	       SHMR_OK)
		;
	SAME(at, SHMR_TIMED_OUT);
	FAILS(receiver, shmr_receiver_recv(&receiver, text, 3, &len, LONG),
	      SHMR_BUFFER_TOO_SHORT, 4, "");
	/* A peeked record stays the next one until it is released. */
	OK(shmr_receiver_wait(&receiver, LONG));
	for (at = 0; at < 2; at++) {
		OK(shmr_receiver_peek(&receiver, &found, &len));
		SAME(len, 4);
		SAME(memcmp(found, "full", 4), 0);
	}
	for (at = 0; shmr_receiver_peek(&receiver, &found, &len) == SHMR_OK;
	     at++)
		OK(shmr_receiver_release(&receiver));
	CHECK(at > 1 && !found && len == 0);
	RETURNS(shmr_receiver_peek(&receiver, &found, &len), SHMR_EMPTY);
	RETURNS(shmr_receiver_wait(&receiver, SHORT), SHMR_TIMED_OUT);
	OK(shmr_receiver_release(&receiver));
	OK(shmr_sender_try_send(&sender, "room", 4));
	OK(shmr_receiver_close(&receiver));
	OK(shmr_sender_close(&sender));
	end();
}

TEST(records_for_a_receiver_that_was_restarted_are_kept_or_discarded)
{
	uint32_t on_restart;

	for (on_restart = SHMR_KEEP; on_restart <= SHMR_DISCARD; on_restart++) {
		struct shmr_receiver receiver = { 0 };
		struct shmr_sender sender = { 0 };
		struct shmr_session own;
		uint32_t position;

		make(NULL);
		OK(shmr_sender_open(&sender, &there, "single", 256));
		OK(try_join(&own, &fixture, 5, 0, NULL));
		OK(shmr_receiver_open(&receiver, &own, "single", 256, on_restart));
		OK(shmr_sender_send(&sender, "one", 3, LONG));
		OK(shmr_sender_send(&sender, "two", 3, LONG));
		OK(shmr_receiver_recv(&receiver, text, 64, &len, LONG));
		position = shmr_receiver_position(&receiver);
		OK(shmr_receiver_close(&receiver));
		OK(shmr_session_leave(&own));
		OK(try_join(&own, &fixture, 5, 0, NULL));
		OK(shmr_receiver_open(&receiver, &own, "single", 256, on_restart));
		if (on_restart == SHMR_KEEP) {
			SAME(shmr_receiver_position(&receiver), position);
			OK(shmr_receiver_recv(&receiver, text, 64, &len, LONG));
			CHECK(len == 3 && memcmp(text, "two", 3) == 0);
		} else {
			RETURNS(shmr_receiver_recv(&receiver, text, 64, &len, 0),
				SHMR_TIMED_OUT);
		}
		SAME(shmr_receiver_discarded(&receiver), on_restart);
		RETURNS(shmr_sender_send(&sender, "three", 5, LONG),
			SHMR_RESTARTED);
		OK(shmr_sender_send(&sender, "three", 5, LONG));
		OK(shmr_receiver_recv(&receiver, text, 64, &len, LONG));
		SAME(len, 5);
		OK(shmr_receiver_close(&receiver));
		OK(shmr_session_leave(&own));
		OK(shmr_sender_close(&sender));
		end();
	}
}

TEST(a_session_provides_a_registry_a_liveness_and_a_wait_for_locks)
{
	const struct shmr_request request = {
		.name = "lock", .kind = SHMR_KIND_MUTEX,
		.len = shmr_mutex_len(0),
	};
	struct shmr_liveness alive;
	struct shmr_registry registry;
	struct shmr_segment segment, found;
	struct shmr_mutex one, two;
	struct shmr_wait wait;
	size_t rows;

	make(NULL);
	OK(shmr_session_open_or_create(&here, &request, &segment));
	OK(shmr_session_registry(&there, &registry));
	OK(shmr_registry_open(&registry, &request, &found));
	CHECK(found.base == segment.base);
	OK(shmr_mutex_open(&one, &segment, shmr_session_incarnation(&here), NULL));
	OK(shmr_mutex_open(&two, &found, shmr_session_incarnation(&there), NULL));
	OK(shmr_mutex_try_lock(&one, NULL));
	alive = shmr_session_liveness(&there);
	SAME(alive.state(alive.context, shmr_session_incarnation(&here)), SHMR_ALIVE);
	OK(shmr_wait_session(&wait, &there, SHORT));
	RETURNS(shmr_mutex_lock(&two, &wait, &alive), SHMR_TIMED_OUT);
	OK(shmr_mutex_unlock(&one));
	OK(shmr_wait_session(&wait, &there, SHMR_FOREVER));
	OK(shmr_mutex_lock(&two, &wait, &alive));
	OK(shmr_mutex_unlock(&two));
	OK(shmr_session_reap(&here, &rows));
	SAME(rows, 0);
	OK(shmr_session_remove(&here, &segment));
	FAILS(here, shmr_session_remove(&here, &segment), SHMR_STALE, 0, "");
	end();
}

/* Joins as partition 6 without a process identity, and dies. */
static void die_unknown(struct fixture *own)
{
	const struct shmr_platform platform = { .now = now };

	OK(try_join(&own_session, own, 6, 0, &platform));
	kill(getpid(), SIGKILL);
}

TEST(an_incarnation_with_a_still_heartbeat_is_presumed_gone_if_requested)
{
	struct shmr_session_options options = {
		.partition = 6, .wait_for_earlier = SECOND / 20,
	};
	struct shmr_platform platform = { .now = now };
	struct shmr_session next = { 0 };
	void *base;

	make(NULL);
	base = shmr_mapping_base(&fixture.mapping);
	CHECK(WIFSIGNALED(ended(start(die_unknown))));
	FAILS(next, shmr_session_join(&next, base, FIXTURE_LEN, &options, &platform),
	      SHMR_ATTACHED, 0x106, "");
	options.wait_for_earlier = LONG;
	options.presume_gone_after = SECOND / 20;
	OK(shmr_session_join(&next, base, FIXTURE_LEN, &options, &platform));
	SAME(shmr_session_incarnation(&next), NEXT(0x106));
	OK(shmr_session_leave(&next));
	end();
}

static void die_known(struct fixture *own)
{
	OK(try_join(&own_session, own, 6, 0, NULL));
	kill(getpid(), SIGKILL);
}

TEST(a_partition_whose_process_ended_can_join_again_at_once)
{
	struct shmr_session next;

	make(NULL);
	CHECK(WIFSIGNALED(ended(start(die_known))));
	OK(try_join(&next, &fixture, 6, 0, NULL));
	OK(shmr_session_leave(&next));
	end();
}

TEST(a_session_is_created_with_the_requested_geometry)
{
	static uint64_t memory[16384];
	const struct shmr_geometry geometry = {
		.segments = 4, .partitions = 2, .block_size = 256,
	};
	struct shmr_session_options options = {
		.partition = 2, .geometry = &geometry,
	};
	struct shmr_platform platform = { .now = now };
	struct shmr_session session = { 0 };
	struct shmr_geometry found;
	struct shmr_registry registry;

	OK(shmr_session_create(&session, memory, sizeof(memory), &options,
			       &platform));
	OK(shmr_session_registry(&session, &registry));
	OK(shmr_registry_geometry(&registry, &found));
	SAME(found.segments, 4);
	SAME(found.block_size, 256);
	OK(shmr_session_leave(&session));
	options.partition = 3;
	FAILS(session,
	      shmr_session_create(&session, memory, sizeof(memory), &options,
				  &platform),
	      SHMR_NO_SUCH_PARTITION, 2, "");
	FAILS(session,
	      shmr_session_create(&session, memory, 64, &options, &platform),
	      SHMR_TOO_SHORT, 64, "");
}
