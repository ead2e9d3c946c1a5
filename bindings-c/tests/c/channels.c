/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Sessions and channels: between threads, between processes, over restarts and deaths. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "place.h"

#define SECOND ((uint64_t)1000000000)
#define LONG (30 * SECOND)
#define SHORT ((uint64_t)1000000)
#define CALLS 300

static struct place place;
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

/* Whether a process is a child that has ended, or there is none. */
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
				 const struct place *where, uint8_t partition,
				 uint64_t patience,
				 const struct shmr_platform *platform)
{
	const struct shmr_session_options options = {
		.partition = partition, .patience = patience,
	};
	struct shmr_platform same = same_kernel();

	memset(session, 0, sizeof(*session));
	return shmr_session_join(session, shmr_mapping_base(&where->mapping),
				 PLACE_LEN, &options,
				 platform ? platform : &same);
}

/* Partition 3 is here, the server; 4 is there, the client. */
static void make(const struct shmr_platform *platform)
{
	place_make(&place);
	memset(&client, 0, sizeof(client));
	memset(&server, 0, sizeof(server));
	OK(try_join(&here, &place, 3, 0, platform));
	OK(try_join(&there, &place, 4, 0, platform));
	OK(shmr_server_open(&server, &here, "channel", NULL));
	OK(shmr_client_open(&client, &there, "channel", NULL));
}

static void end(void)
{
	OK(shmr_client_close(&client));
	OK(shmr_server_close(&server));
	OK(shmr_session_leave(&here));
	OK(shmr_session_leave(&there));
	place_end(&place);
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
		/* The answer goes where the command is. */
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

TEST(a_platform_needs_a_clock_and_nothing_else)
{
	const struct shmr_platform platform = { .now = now };
	pthread_t thread;

	make(&platform);
	CHECK(pthread_create(&thread, NULL, serve, NULL) == 0);
	ask(&client, CALLS);
	CHECK(pthread_join(thread, NULL) == 0);
	SAYS(shmr_client_call(&client, "?", 1, text, 64, &len, SHORT),
	     SHMR_TIMED_OUT);
	end();
}

/* What a platform was asked for. */
struct asked {
	unsigned int sleeps, records, room, states;
	uint64_t longest, time;
	uint32_t number;
	/* On another session: what it sends ends the sleep. */
	struct shmr_sender *sender;
	/* So many sleeps, then an interrupt. */
	unsigned int allowed;
};

/* However busy the machine is, a microsecond has passed. */
static uint64_t count_time(void *context)
{
	struct asked *asked = context;

	return asked->time += 1000;
}

static void count_sleep(void *context, const uint32_t *rings, uint32_t seen,
			uint64_t longest)
{
	struct asked *asked = context;

	(void)rings;
	(void)seen;
	asked->sleeps++;
	if (longest > asked->longest)
		asked->longest = longest;
	if (asked->sender)
		OK(shmr_sender_send(asked->sender, "a", 1, 0));
	asked->sender = NULL;
}

static void count_wake(void *context, const uint32_t *rings, int reason)
{
	struct asked *asked = context;

	(void)rings;
	*(reason == SHMR_RECORDS ? &asked->records : &asked->room) += 1;
}

static int count_state(void *context, uint32_t incarnation,
		       const struct shmr_process *process)
{
	struct asked *asked = context;

	(void)incarnation;
	asked->states++;
	asked->number = process->number;
	return SHMR_GONE;
}

static bool sleep_no_more(void *context)
{
	struct asked *asked = context;

	return asked->sleeps >= asked->allowed;
}

TEST(an_interrupt_ends_a_wait_without_a_deadline)
{
	static struct asked asked;
	struct shmr_platform platform = {
		.now = count_time, .sleep = count_sleep,
		.interrupted = sleep_no_more, .context = &asked,
	};
	struct shmr_receiver receiver = { 0 };
	struct shmr_session own;

	memset(&asked, 0, sizeof(asked));
	asked.allowed = 4;
	make(NULL);
	/* Partition 3 lives: it is waited for until the interrupt. */
	SAYS(try_join(&own, &place, 3, SHMR_FOREVER, &platform), SHMR_ATTACHED);
	SAME(asked.sleeps, 4);
	OK(try_join(&own, &place, 5, 0, &platform));
	OK(shmr_receiver_open(&receiver, &own, "single", 256, SHMR_KEEP));
	asked.allowed = 8;
	SAYS(shmr_receiver_recv(&receiver, text, 64, &len, SHMR_FOREVER),
	     SHMR_TIMED_OUT);
	SAME(asked.sleeps, 8);
	OK(shmr_receiver_close(&receiver));
	OK(shmr_session_leave(&own));
	end();
}

TEST(a_platform_of_the_programs_own_sleeps_wakes_and_says_who_is_gone)
{
	static struct asked asked;
	struct shmr_platform platform = {
		.now = count_time, .sleep = count_sleep, .wake = count_wake,
		.state = count_state, .context = &asked,
	};
	struct shmr_receiver receiver = { 0 };
	struct shmr_sender sender = { 0 };
	struct shmr_session own, other;

	memset(&asked, 0, sizeof(asked));
	make(NULL);
	OK(try_join(&own, &place, 5, 0, &platform));
	OK(try_join(&other, &place, 6, 0, &platform));
	OK(shmr_receiver_open(&receiver, &own, "single", 256, SHMR_KEEP));
	OK(shmr_sender_open(&sender, &other, "single", 256));
	SAYS(shmr_receiver_recv(&receiver, text, 64, &len, SHORT),
	     SHMR_TIMED_OUT);
	CHECK(asked.sleeps > 0 && asked.longest > 0 && asked.longest <= SHORT);
	SAME(asked.records, 0);
	asked.sender = &sender;
	OK(shmr_receiver_recv(&receiver, text, 64, &len, LONG));
	SAME(asked.records, 1);
	SAME(asked.room, 0);
	SAME(asked.states, 0);
	/* Partition 3 lives, and this platform takes it for gone. */
	SAME(shmr_session_liveness(&own).state(&own, shmr_session_incarnation(&here)),
	     SHMR_GONE);
	SAME(asked.states, 1);
	SAME(asked.number, (uint32_t)getpid());
	/* An incarnation that never attached is not asked about. */
	SAME(shmr_session_liveness(&own).state(&own, 0x107), SHMR_ALIVE);
	SAME(asked.states, 1);
	OK(shmr_sender_close(&sender));
	OK(shmr_receiver_close(&receiver));
	OK(shmr_session_leave(&own));
	OK(shmr_session_leave(&other));
	end();
}

/* A child of the place's process, which joins the place itself. */
static pid_t start(void (*work)(struct place *own))
{
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		static struct place own;

		place_join(&own, &place);
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

static void serve_and_leave(struct place *own)
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

TEST(calls_are_answered_between_processes_and_a_server_that_left_is_gone)
{
	pid_t child;

	make_client();
	child = start(serve_and_leave);
	ask(&own_client, CALLS);
	SAME(ended(child), 0);
	CHECK(shmr_client_server_is_gone(&own_client));
	SAYS(shmr_client_call(&own_client, "?", 1, text, 64, &len, LONG),
	     SHMR_PEER_GONE);
	end_client();
}

/* Receives a call, and dies in it. */
static void die_in_a_call(struct place *own)
{
	struct shmr_call call;

	OK(try_join(&own_session, own, 6, LONG, NULL));
	OK(shmr_server_open(&own_server, &own_session, "processes", NULL));
	answer(&own_server, 1);
	OK(shmr_server_recv(&own_server, text, 64, &len, &call, LONG));
	kill(getpid(), SIGKILL);
}

TEST(a_server_that_is_killed_in_a_call_is_gone_at_once_and_its_next_incarnation_answers)
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

static void call_and_die(struct place *own)
{
	struct shmr_call call;

	OK(try_join(&own_session, own, 6, LONG, NULL));
	OK(shmr_client_open(&own_client, &own_session, "channel", NULL));
	OK(shmr_client_start_call(&own_client, "?", 1, &call, LONG));
	OK(shmr_client_start_call(&own_client, "never received", 14, &call,
				  LONG));
	kill(getpid(), SIGKILL);
}

static void call_and_leave(struct place *own)
{
	OK(try_join(&own_session, own, 6, LONG, NULL));
	OK(shmr_client_open(&own_client, &own_session, "channel", NULL));
	ask(&own_client, 2);
	OK(shmr_client_close(&own_client));
	OK(shmr_session_leave(&own_session));
}

/* Until its end of the channel is open. */
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

TEST(a_client_that_is_killed_in_a_call_gets_no_answer_and_its_next_incarnation_does)
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
	/* What the dead one sent and nobody received is discarded. */
	SAYS(shmr_server_recv(&server, text, 64, &len, &next, LONG),
	     SHMR_RESTARTED);
	SAME(shmr_server_discarded(&server), 1);
	SAYS(shmr_server_answer(&server, &call, "late", 4, LONG),
	     SHMR_CALLER_RESTARTED);
	answer(&server, 2);
	SAME(ended(child), 0);
	OK(shmr_client_open(&client, &there, "channel", NULL));
	end();
}

TEST(several_calls_wait_for_their_answers_and_those_given_up_are_passed_over)
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
	SAYS(shmr_client_finish_call(&client, &calls[1], text, 64, &len, LONG),
	     SHMR_EINVAL);
	end();
}

TEST(a_call_that_timed_out_is_finished_later)
{
	struct shmr_call call;

	make(NULL);
	OK(shmr_client_start_call(&client, "slow", 4, &call, LONG));
	SAYS(shmr_client_finish_call(&client, &call, text, 64, &len, SHORT),
	     SHMR_TIMED_OUT);
	answer(&server, 1);
	OK(shmr_client_finish_call(&client, &call, text, 64, &len, LONG));
	SAME(len, 4);
	end();
}

TEST(a_call_that_was_answered_is_not_answered_again)
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

TEST(a_session_that_was_moved_is_refused_and_so_is_what_was_opened_on_it)
{
	static struct shmr_session moved;
	struct shmr_client other = { 0 };
	struct shmr_call call = { 1, 0 };

	make(NULL);
	memcpy(&moved, &there, sizeof(moved));
	SAYS(shmr_session_beat(&moved), SHMR_EINVAL);
	SAYS(shmr_session_leave(&moved), SHMR_EINVAL);
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
	/* Back where it was it is what it was. */
	memcpy(&there, &moved, sizeof(there));
	OK(shmr_client_send(&client, "a", 1, LONG));
	OK(shmr_server_recv(&server, text, 64, &len, &call, LONG));
	/* Another session at its address is another session. */
	OK(try_join(&there, &place, 5, 0, NULL));
	FAILS(client, shmr_client_send(&client, "a", 1, LONG),
	      SHMR_EINVAL, 0, "session");
	OK(shmr_session_leave(&there));
	memcpy(&there, &moved, sizeof(there));
	OK(shmr_client_send(&client, "a", 1, LONG));
	/* An end is given back even if its session is not there any more. */
	memset(&there, 0, sizeof(there));
	OK(shmr_client_close(&client));
	OK(shmr_client_open(&client, &here, "channel", NULL));
	OK(shmr_client_close(&client));
	OK(shmr_server_close(&server));
	OK(shmr_session_leave(&here));
	place_end(&place);
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
	OK(shmr_partition_look(&place.registry, 4, &before));
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
	OK(shmr_partition_look(&place.registry, 4, &after));
	CHECK(after.heartbeat != before.heartbeat);
	end();
}

/* The receiver, which takes its time. */
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
	SAYS(shmr_receiver_recv(&receiver, text, 64, &len, 0), SHMR_TIMED_OUT);
	while ((at = (unsigned int)shmr_sender_send(&sender, "full", 4, SHORT)) ==
	       SHMR_OK)
		;
	SAME(at, SHMR_TIMED_OUT);
	FAILS(receiver, shmr_receiver_recv(&receiver, text, 3, &len, LONG),
	      SHMR_BUFFER_TOO_SHORT, 4, "");
	/* In place: it stays the next until it is released. */
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
	SAYS(shmr_receiver_peek(&receiver, &found, &len), SHMR_EMPTY);
	SAYS(shmr_receiver_wait(&receiver, SHORT), SHMR_TIMED_OUT);
	OK(shmr_receiver_release(&receiver));
	OK(shmr_sender_try_send(&sender, "room", 4));
	OK(shmr_receiver_close(&receiver));
	OK(shmr_sender_close(&sender));
	end();
}

TEST(records_for_a_receiver_that_was_restarted_are_kept_or_discarded)
{
	uint32_t unread;

	for (unread = SHMR_KEEP; unread <= SHMR_DISCARD; unread++) {
		struct shmr_receiver receiver = { 0 };
		struct shmr_sender sender = { 0 };
		struct shmr_session own;
		uint32_t position;

		make(NULL);
		OK(shmr_sender_open(&sender, &there, "single", 256));
		OK(try_join(&own, &place, 5, 0, NULL));
		OK(shmr_receiver_open(&receiver, &own, "single", 256, unread));
		OK(shmr_sender_send(&sender, "one", 3, LONG));
		OK(shmr_sender_send(&sender, "two", 3, LONG));
		OK(shmr_receiver_recv(&receiver, text, 64, &len, LONG));
		position = shmr_receiver_position(&receiver);
		OK(shmr_receiver_close(&receiver));
		OK(shmr_session_leave(&own));
		OK(try_join(&own, &place, 5, 0, NULL));
		OK(shmr_receiver_open(&receiver, &own, "single", 256, unread));
		if (unread == SHMR_KEEP) {
			SAME(shmr_receiver_position(&receiver), position);
			OK(shmr_receiver_recv(&receiver, text, 64, &len, LONG));
			CHECK(len == 3 && memcmp(text, "two", 3) == 0);
		} else {
			SAYS(shmr_receiver_recv(&receiver, text, 64, &len, 0),
			     SHMR_TIMED_OUT);
		}
		SAME(shmr_receiver_discarded(&receiver), unread);
		SAYS(shmr_sender_send(&sender, "three", 5, LONG),
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

TEST(a_session_has_the_registry_the_liveness_and_the_wait_of_lower_calls)
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
	OK(shmr_session_wait(&there, &wait, SHORT));
	SAYS(shmr_mutex_lock(&two, &wait, &alive), SHMR_TIMED_OUT);
	OK(shmr_mutex_unlock(&one));
	OK(shmr_session_wait(&there, &wait, SHMR_FOREVER));
	OK(shmr_mutex_lock(&two, &wait, &alive));
	OK(shmr_mutex_unlock(&two));
	OK(shmr_session_reap(&here, &rows));
	SAME(rows, 0);
	OK(shmr_session_remove(&here, &segment));
	FAILS(here, shmr_session_remove(&here, &segment), SHMR_STALE, 0, "");
	end();
}

/* Joins as partition 6 without a process to be known by, and dies. */
static void die_unknown(struct place *own)
{
	const struct shmr_platform platform = { .now = now };

	OK(try_join(&own_session, own, 6, 0, &platform));
	kill(getpid(), SIGKILL);
}

TEST(an_incarnation_that_nobody_knows_to_be_gone_is_presumed_so_by_its_heartbeat)
{
	struct shmr_session_options options = {
		.partition = 6, .patience = SECOND / 20,
	};
	struct shmr_platform platform = { .now = now };
	struct shmr_session next = { 0 };
	void *base;

	make(NULL);
	base = shmr_mapping_base(&place.mapping);
	CHECK(WIFSIGNALED(ended(start(die_unknown))));
	FAILS(next, shmr_session_join(&next, base, PLACE_LEN, &options, &platform),
	      SHMR_ATTACHED, 0x106, "");
	options.patience = LONG;
	options.presume_gone_after = SECOND / 20;
	OK(shmr_session_join(&next, base, PLACE_LEN, &options, &platform));
	SAME(shmr_session_incarnation(&next), NEXT(0x106));
	OK(shmr_session_leave(&next));
	end();
}

static void die_known(struct place *own)
{
	OK(try_join(&own_session, own, 6, 0, NULL));
	kill(getpid(), SIGKILL);
}

TEST(an_incarnation_whose_process_ended_is_followed_at_once)
{
	struct shmr_session next;

	make(NULL);
	CHECK(WIFSIGNALED(ended(start(die_known))));
	OK(try_join(&next, &place, 6, 0, NULL));
	OK(shmr_session_leave(&next));
	end();
}

TEST(a_session_is_created_with_the_geometry_that_is_asked_for)
{
	static uint64_t memory[16384];
	const struct shmr_geometry geometry = {
		.segments = 4, .partitions = 2, .block = 256,
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
	SAME(found.block, 256);
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
