/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * check.h - tests in C: each is a claim, and ends its process if the claim is false
 *
 * `program` runs all its tests, `program NAME` one. Each prints a line as Rust's tests do.
 */

#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "shmr.h"

struct test {
	const char *name;
	void (*run)(void);
	struct test *next;
};

void test_add(struct test *test);

/* The driver finds the tests of a program by this word at the start of a line. */
#define TEST(claim)							\
	static void claim(void);					\
	__attribute__((constructor)) static void claim##_is_a_test(void) \
	{								\
		static struct test test = { #claim, claim, NULL };	\
		test_add(&test);					\
	}								\
	static void claim(void)

#define CHECK(condition) \
	check_that((condition), #condition, __FILE__, __LINE__)

#define SAME(actual, expected)						\
	check_same((uint64_t)(actual), (uint64_t)(expected), #actual,	\
		   __FILE__, __LINE__)

/* Checks that a call returns @status; prints both statuses as text if it does not. */
#define RETURNS(call, status)						\
	check_status((int)(call), (int)(status), #call, __FILE__, __LINE__)

#define OK(call) RETURNS(call, SHMR_OK)

/* Checks that a call on @handle fails, and checks the handle's error. */
#define FAILS(handle, call, code, its_value, its_word)			\
	do {								\
		RETURNS(call, code);					\
		check_error(&(handle).error, (code), (uint64_t)(its_value), \
			    (its_word), #call, __FILE__, __LINE__);	\
	} while (0)

void check_that(bool holds, const char *what, const char *file, int line);
void check_same(uint64_t actual, uint64_t expected, const char *what,
		const char *file, int line);
void check_status(int actual, int expected, const char *call,
		  const char *file, int line);
void check_error(const struct shmr_error *error, enum shmr_status status,
		 uint64_t value, const char *word, const char *call,
		 const char *file, int line);

#endif /* CHECK_H */
