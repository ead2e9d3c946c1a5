// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Functions that the library needs
 */

#include <common.h>
#include <linux/compiler.h>
#include "shmr.h"

void shmr_panic(void)
{
	panic("kmon: internal error of the shared-memory library\n");
}

/* Not every C library has it. */
__weak int bcmp(const void *one, const void *other, size_t len)
{
	return memcmp(one, other, len);
}
