// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Global variables in an arena. */
#include "common.h"

#define ARENA 33
#define IN_ARENA SEC(".addr_space.1")

struct {
	__uint(type, ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4);
} arena SEC(".maps");

__u64 first IN_ARENA = 40;
static volatile __u64 second IN_ARENA = 2;

/* Reads a number in the arena. clang before 19 has no casts between address spaces: r2 = (void *)r2. */
static __always_inline __u64 load(volatile __u64 *at)
{
	__u64 value;

	asm volatile("r2 = %[at]; .8byte 0x00000001000122bf; %[value] = *(u64 *)(r2 + 0);"
		     : [value] "=r"(value)
		     : [at] "r"(at)
		     : "r2");
	return value;
}

SEC("xdp")
int sum(struct xdp_md *ctx)
{
	return load(&first) + load(&second);
}

SEC("xdp")
int uses_none(struct xdp_md *ctx)
{
	return 1;
}
