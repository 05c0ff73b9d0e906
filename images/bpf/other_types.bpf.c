// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A program of each section that the library knows and does not attach, and of two that it cannot load. One is what all of
 * them may return.
 */
#include "common.h"

#define PROGRAM(name, section)                                                                                        \
	SEC(section)                                                                                                  \
	int name(void *ctx)                                                                                           \
	{                                                                                                             \
		return 1;                                                                                             \
	}

PROGRAM(on_socket, "socket")
PROGRAM(on_sk_reuseport_migrate, "sk_reuseport/migrate")
PROGRAM(on_sk_reuseport, "sk_reuseport")
PROGRAM(on_kprobe, "kprobe/vfs_open")
PROGRAM(on_uprobe, "uprobe")
PROGRAM(on_uprobe_s, "uprobe.s")
PROGRAM(on_kretprobe, "kretprobe/vfs_open")
PROGRAM(on_uretprobe, "uretprobe")
PROGRAM(on_uretprobe_s, "uretprobe.s")
PROGRAM(on_kprobe_multi, "kprobe.multi/vfs_*")
PROGRAM(on_kretprobe_multi, "kretprobe.multi")
PROGRAM(on_kprobe_session, "kprobe.session")
PROGRAM(on_uprobe_multi, "uprobe.multi")
PROGRAM(on_uretprobe_multi, "uretprobe.multi")
PROGRAM(on_uprobe_session, "uprobe.session")
PROGRAM(on_uprobe_multi_s, "uprobe.multi.s//bin/true:main")
PROGRAM(on_uretprobe_multi_s, "uretprobe.multi.s")
PROGRAM(on_uprobe_session_s, "uprobe.session.s")
PROGRAM(on_ksyscall, "ksyscall")
PROGRAM(on_kretsyscall, "kretsyscall")
PROGRAM(on_usdt, "usdt")
PROGRAM(on_usdt_s, "usdt.s")
PROGRAM(on_tc_ingress, "tc/ingress")
PROGRAM(on_tc_egress, "tc/egress")
PROGRAM(on_tcx_ingress, "tcx/ingress")
PROGRAM(on_tcx_egress, "tcx/egress")
PROGRAM(on_tc, "tc")
PROGRAM(on_classifier, "classifier")
PROGRAM(on_action, "action")
PROGRAM(on_netkit_primary, "netkit/primary")
PROGRAM(on_netkit_peer, "netkit/peer")
PROGRAM(on_tracepoint, "tracepoint/sched/sched_switch")
PROGRAM(on_tp, "tp/sched/sched_switch")
PROGRAM(on_raw_tracepoint, "raw_tracepoint")
PROGRAM(on_raw_tp, "raw_tp")
PROGRAM(on_raw_tracepoint_w, "raw_tracepoint.w")
PROGRAM(on_raw_tp_w, "raw_tp.w")
PROGRAM(on_lsm_cgroup, "lsm_cgroup/socket_post_create")
PROGRAM(on_iter, "iter/task")
PROGRAM(on_iter_s, "iter.s/task")
PROGRAM(on_syscall, "syscall")
PROGRAM(on_xdp_frags_devmap, "xdp.frags/devmap")
PROGRAM(on_xdp_devmap, "xdp/devmap")
PROGRAM(on_xdp_frags_cpumap, "xdp.frags/cpumap")
PROGRAM(on_xdp_cpumap, "xdp/cpumap")
PROGRAM(on_xdp_frags, "xdp.frags")
PROGRAM(on_xdp, "xdp")
PROGRAM(on_perf_event, "perf_event")
PROGRAM(on_lwt_in, "lwt_in")
PROGRAM(on_lwt_out, "lwt_out")
PROGRAM(on_lwt_xmit, "lwt_xmit")
PROGRAM(on_lwt_seg6local, "lwt_seg6local")
PROGRAM(on_sockops, "sockops")
PROGRAM(on_sk_skb_stream_parser, "sk_skb/stream_parser")
PROGRAM(on_sk_skb_stream_verdict, "sk_skb/stream_verdict")
PROGRAM(on_sk_skb_verdict, "sk_skb/verdict")
PROGRAM(on_sk_skb, "sk_skb")
PROGRAM(on_sk_msg, "sk_msg")
PROGRAM(on_lirc_mode2, "lirc_mode2")
PROGRAM(on_flow_dissector, "flow_dissector")
PROGRAM(on_cgroup_skb_ingress, "cgroup_skb/ingress")
PROGRAM(on_cgroup_skb_egress, "cgroup_skb/egress")
PROGRAM(on_cgroup_skb, "cgroup/skb")
PROGRAM(on_cgroup_sock_create, "cgroup/sock_create")
PROGRAM(on_cgroup_sock_release, "cgroup/sock_release")
PROGRAM(on_cgroup_sock, "cgroup/sock")
PROGRAM(on_cgroup_post_bind4, "cgroup/post_bind4")
PROGRAM(on_cgroup_post_bind6, "cgroup/post_bind6")
PROGRAM(on_cgroup_bind4, "cgroup/bind4")
PROGRAM(on_cgroup_bind6, "cgroup/bind6")
PROGRAM(on_cgroup_connect4, "cgroup/connect4")
PROGRAM(on_cgroup_connect6, "cgroup/connect6")
PROGRAM(on_cgroup_connect_unix, "cgroup/connect_unix")
PROGRAM(on_cgroup_sendmsg4, "cgroup/sendmsg4")
PROGRAM(on_cgroup_sendmsg6, "cgroup/sendmsg6")
PROGRAM(on_cgroup_sendmsg_unix, "cgroup/sendmsg_unix")
PROGRAM(on_cgroup_recvmsg4, "cgroup/recvmsg4")
PROGRAM(on_cgroup_recvmsg6, "cgroup/recvmsg6")
PROGRAM(on_cgroup_recvmsg_unix, "cgroup/recvmsg_unix")
PROGRAM(on_cgroup_getpeername4, "cgroup/getpeername4")
PROGRAM(on_cgroup_getpeername6, "cgroup/getpeername6")
PROGRAM(on_cgroup_getpeername_unix, "cgroup/getpeername_unix")
PROGRAM(on_cgroup_getsockname4, "cgroup/getsockname4")
PROGRAM(on_cgroup_getsockname6, "cgroup/getsockname6")
PROGRAM(on_cgroup_getsockname_unix, "cgroup/getsockname_unix")
PROGRAM(on_cgroup_sysctl, "cgroup/sysctl")
PROGRAM(on_cgroup_getsockopt, "cgroup/getsockopt")
PROGRAM(on_cgroup_setsockopt, "cgroup/setsockopt")
PROGRAM(on_cgroup_dev, "cgroup/dev")
PROGRAM(on_sk_lookup, "sk_lookup")
PROGRAM(on_netfilter, "netfilter")
PROGRAM(on_any_cgroup_skb, "cgroup_skb")

PROGRAM(of_struct, "struct_ops/ssthresh")
PROGRAM(of_struct_s, "struct_ops.s/undo_cwnd")

struct tcp_congestion_ops {
	__u32 (*ssthresh)(void *sk);
	__u32 (*undo_cwnd)(void *sk);
};

SEC(".struct_ops")
struct tcp_congestion_ops ops = {
	.ssthresh = (void *)of_struct,
	.undo_cwnd = (void *)of_struct_s,
};

PROGRAM(replaces, "freplace/main")
PROGRAM(unknown, "something/else")
