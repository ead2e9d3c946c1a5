/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Tests by two processes of what works across the memory. */
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

static struct fixture fixture;
static struct shmr_segment segment;

static void make(void)
{
	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "litmus", SHMR_KIND_LITMUS,
				  shmr_litmus_len());
}

TEST(without_an_answer_nothing_is_known)
{
	struct shmr_verdict verdict = { { 9, 9, 9 }, { 9, 9, 9 } };

	make();
	OK(shmr_litmus_ask(&segment, NULL, &verdict));
	SAME(verdict.read_modify_write.state, SHMR_UNKNOWN);
	SAME(verdict.fences.state, SHMR_UNKNOWN);
	SAME(verdict.fences.attempts, 0);
}

TEST(without_a_question_there_is_nothing_to_answer)
{
	struct shmr_verdict verdict;

	make();
	RETURNS(shmr_litmus_answer(&segment, NULL, &verdict), SHMR_EMPTY);
}

TEST(a_segment_that_is_too_short_is_refused)
{
	struct shmr_verdict verdict;
	struct shmr_segment rest;

	make();
	OK(shmr_segment_from_memory(&rest, segment.base, shmr_litmus_len() - 8));
	RETURNS(shmr_litmus_ask(&rest, NULL, &verdict), SHMR_TOO_SHORT);
	RETURNS(shmr_litmus_answer(&rest, NULL, &verdict), SHMR_TOO_SHORT);
}

TEST(two_processes_find_nothing_broken)
{
	struct shmr_verdict verdict;
	struct shmr_wait wait;
	int status;
	pid_t child;

	make();
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		static struct fixture own;

		fixture_join(&own, &fixture);
		OK(shmr_registry_lookup(&own.registry, segment.id, &segment));
		OK(shmr_wait_spin_yield(&wait, 20000));
		while (shmr_litmus_answer(&segment, &wait, &verdict) != SHMR_OK)
			usleep(100);
		CHECK(verdict.read_modify_write.state != SHMR_BROKEN);
		CHECK(verdict.fences.state != SHMR_BROKEN);
		_exit(0);
	}
	OK(shmr_wait_spin_yield(&wait, 20000));
	OK(shmr_litmus_ask(&segment, &wait, &verdict));
	/* The machine may not have run them at the same time: SHMR_UNKNOWN. */
	CHECK(verdict.read_modify_write.state != SHMR_BROKEN);
	CHECK(verdict.fences.state != SHMR_BROKEN);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
