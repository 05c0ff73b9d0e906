// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Functions with ten, eleven and twelve arguments: as many as a trampoline supports. */
#include "common.h"
#include <bpf/bpf_core_read.h>

struct sk_buff {
	unsigned int len;
} KERNEL_TYPE;

struct inet_timewait_sock {
	__u32 tw_txhash;
} KERNEL_TYPE;

__u64 datagrams = 0;
__s32 datagram_length = 0, datagram_header = 0;
__u32 datagram_flags = 0, packet_length = 0;

/* A datagram becomes a packet. */
SEC("fexit/ip_make_skb")
int ten(__u64 *ctx)
{
	if (!is_ours())
		return 0;
	datagrams++;
	datagram_length = ctx[4];
	datagram_header = ctx[5];
	datagram_flags = ctx[9];
	packet_length = BPF_CORE_READ((struct sk_buff *)ctx[10], len);
	return 0;
}

__u64 routes = 0;
__u32 route_to = 0, route_port = 0, route_sequence = 0, route_flags = -1;
__s32 route_ret = -1;

/* The answer to an RTM_GETROUTE request. */
SEC("fexit/rt_fill_info")
int eleven(__u64 *ctx)
{
	if (!is_ours())
		return 0;
	routes++;
	route_to = ctx[1];
	route_port = ctx[8];
	route_sequence = ctx[9];
	route_flags = ctx[10];
	route_ret = ctx[11];
	return 0;
}

__u64 acknowledged = 0;
__s32 ack_interface = -1;
__u8 ack_tos = 0;
__u32 ack_hash = 0, socket_hash = 0;

/* A timewait socket acknowledges the other side's FIN. The function returns void. */
SEC("fexit/tcp_v4_send_ack")
int twelve(__u64 *ctx)
{
	if (!is_ours())
		return 0;
	acknowledged++;
	ack_interface = ctx[7];
	ack_tos = ctx[10];
	ack_hash = ctx[11];
	socket_hash = BPF_CORE_READ((struct inet_timewait_sock *)ctx[0], tw_txhash);
	return 0;
}

/* For a function with more arguments than a trampoline supports, which user space chooses. The kernel never loads it. */
SEC("fexit")
int too_many(void *ctx)
{
	return 0;
}
