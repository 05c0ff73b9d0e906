//! Attach types of the programs that this library attaches.

use aya_obj::generated::bpf_attach_type as t;

pub(super) const BPF_TRACE_RAW_TP: u32 = t::BPF_TRACE_RAW_TP as u32;
pub(super) const BPF_TRACE_FENTRY: u32 = t::BPF_TRACE_FENTRY as u32;
pub(super) const BPF_MODIFY_RETURN: u32 = t::BPF_MODIFY_RETURN as u32;
pub(super) const BPF_LSM_MAC: u32 = t::BPF_LSM_MAC as u32;
pub(super) const BPF_TRACE_FEXIT: u32 = t::BPF_TRACE_FEXIT as u32;
// Newer than aya-obj's bindings; from include/uapi/linux/bpf.h of 7.0 and 7.2.
pub(super) const BPF_TRACE_FSESSION: u32 = 58;
pub(super) const BPF_TRACE_FENTRY_MULTI: u32 = 59;
pub(super) const BPF_TRACE_FEXIT_MULTI: u32 = 60;
pub(super) const BPF_TRACE_FSESSION_MULTI: u32 = 61;

/// Whether this library attaches programs with this attach type: a link of type `tracing` may also belong to an
/// `freplace` program.
pub(super) fn is_attachable(attach_type: u32) -> bool {
    [
        BPF_TRACE_FENTRY,
        BPF_MODIFY_RETURN,
        BPF_LSM_MAC,
        BPF_TRACE_FENTRY_MULTI,
        BPF_TRACE_FEXIT,
        BPF_TRACE_FSESSION,
        BPF_TRACE_FEXIT_MULTI,
        BPF_TRACE_FSESSION_MULTI,
    ]
    .contains(&attach_type)
}
