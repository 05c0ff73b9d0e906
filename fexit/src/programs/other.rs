//! Programs of other types, as far as they can be targets of fexit programs.

use aya_obj::generated::{bpf_attach_type, bpf_prog_type};

use super::data::{Kind, ProgramData};
use super::diagnose;
use crate::btf::Btf;
use crate::error::ProgramError;

/// A program that is not fexit. It can be loaded to be a target, and test-run; this library does not attach it.
#[derive(Debug)]
pub struct OtherProgram {
    pub(super) data: ProgramData,
}

impl OtherProgram {
    pub(super) fn new(data: ProgramData) -> Self {
        Self { data }
    }

    /// Loads the program, if its type needs no target: `xdp`, `tc` and `classifier`, `socket`,
    /// `cgroup_skb`, `kprobe`, `kretprobe`, `tracepoint`, `raw_tracepoint`, `perf_event`.
    ///
    /// # Errors
    ///
    /// [`ProgramError::AlreadyLoaded`]; [`ProgramError::UnexpectedProgramType`] for a type that is not in the list;
    /// [`ProgramError::LoadError`] with the verifier's log.
    pub fn load(&mut self) -> Result<(), ProgramError> {
        if self.data.is_loaded() {
            return Err(ProgramError::AlreadyLoaded);
        }
        let kind = kind(self.data.kind()).ok_or_else(|| ProgramError::UnexpectedProgramType {
            name: self.data.name.clone(),
            expected: "a kind that loads without a target, such as xdp",
            found: self.data.kind().to_owned(),
        })?;
        self.data
            .load(&kind, || Ok(Btf::from_sys_fs()?))?
            .map_err(|refusal| diagnose::refused(&self.data, refusal))
    }

    /// Closes the program. fexit programs that are attached to it keep it loaded.
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotLoaded`].
    pub fn unload(&mut self) -> Result<(), ProgramError> {
        self.data.unload()
    }
}

fn kind(section: &str) -> Option<Kind<'static>> {
    use bpf_prog_type as t;
    let prog_type = match section {
        "xdp" | "xdp.frags" => t::BPF_PROG_TYPE_XDP,
        "tc" | "classifier" => t::BPF_PROG_TYPE_SCHED_CLS,
        "socket" => t::BPF_PROG_TYPE_SOCKET_FILTER,
        "cgroup_skb" => t::BPF_PROG_TYPE_CGROUP_SKB,
        "kprobe" | "kretprobe" => t::BPF_PROG_TYPE_KPROBE,
        "tp" | "tracepoint" => t::BPF_PROG_TYPE_TRACEPOINT,
        "raw_tp" | "raw_tracepoint" => t::BPF_PROG_TYPE_RAW_TRACEPOINT,
        "perf_event" => t::BPF_PROG_TYPE_PERF_EVENT,
        _ => return None,
    };
    let attach_type = bpf_attach_type::BPF_CGROUP_INET_INGRESS as u32; // 0: none
    Some(Kind {
        prog_type: prog_type as u32,
        attach_type,
        ..Kind::default()
    })
}
