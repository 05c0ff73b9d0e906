// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Programs that implement functions of `struct tcp_congestion_ops`. The structs here have a part of its members, in
 * another order.
 */
#include "common.h"

struct sock;

struct tcp_congestion_ops___part {
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*ssthresh)(struct sock *sk);
	void (*init)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

SEC("struct_ops/ssthresh")
__u32 ssthresh(__u64 *ctx)
{
	return 2;
}

SEC("struct_ops")
__u32 undo_cwnd(__u64 *ctx)
{
	return 10;
}

/* This function has three arguments, and the next one has one. */
SEC("struct_ops/cong_avoid")
void cong_avoid(__u64 *ctx)
{
	(void)*(volatile __u64 *)&ctx[2];
}

SEC("struct_ops/init")
void reads_too_far(__u64 *ctx)
{
	(void)*(volatile __u64 *)&ctx[2];
}

SEC(".struct_ops")
struct tcp_congestion_ops___part fixture = {
	.ssthresh = (void *)ssthresh,
	.undo_cwnd = (void *)undo_cwnd,
	.cong_avoid = (void *)cong_avoid,
	.init = (void *)reads_too_far,
	.name = "fexit_fixture",
};

SEC("struct_ops/init")
void unused(__u64 *ctx)
{
}

struct tcp_congestion_ops___new {
	void (*init)(struct sock *sk);
	void (*no_such_member)(struct sock *sk);
};

SEC("struct_ops/init")
void beside_a_new_member(__u64 *ctx)
{
}

SEC("struct_ops/no_such_member")
void new_member(__u64 *ctx)
{
}

SEC(".struct_ops.link")
struct tcp_congestion_ops___new newer = {
	.init = (void *)beside_a_new_member,
	.no_such_member = (void *)new_member,
};

struct no_such_ops {
	void (*init)(void);
};

SEC("struct_ops/init")
void new_struct(__u64 *ctx)
{
}

SEC(".struct_ops")
struct no_such_ops none = {
	.init = (void *)new_struct,
};
