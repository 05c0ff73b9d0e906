// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Global variables in an arena, and a program that uses the arena's first page. */
#include "common.h"

#define ARENA 33
#define IN_ARENA SEC(".addr_space.1")
/* Above the heap of a program at a fixed address, which begins at random in the 1 GiB behind it. */
#define START 0x70000000

struct {
	__uint(type, ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4);
	__uint(map_extra, START);
} arena SEC(".maps");

extern void *bpf_arena_alloc_pages(void *map, void *address, __u32 pages, int node, __u64 flags) __ksym;

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

__u64 allocated = 0;

/* Gets the first page if it is free. */
SEC("fentry.s/bpf_fentry_test1")
int first_page(void *ctx)
{
	if (is_ours())
		allocated = (__u64)bpf_arena_alloc_pages(&arena, (void *)START, 1, -1, 0);
	return 0;
}

__u64 in_data = 1;

/* Refers to a place outside of a map's value. */
SEC("xdp")
int far_away(struct xdp_md *ctx)
{
	__u64 *at;

	asm volatile("%[at] = in_data + 0x40000000 ll" : [at] "=r"(at));
	return *at;
}

SEC("xdp")
int uses_none(struct xdp_md *ctx)
{
	return 1;
}
