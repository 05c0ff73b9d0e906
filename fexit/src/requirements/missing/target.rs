//! Whether a kernel has the target of a program.

use super::check::Check;
use super::{Effect, Missing, MissingKind};
use crate::Ebpf;
use crate::arch::Arch;
use crate::btf::struct_ops::Misfit;
use crate::btf::{Btf, BtfError};
use crate::requirements::{KernelTarget, TargetKind};

impl Ebpf {
    /// What is missing of the target of `program`.
    pub(super) fn missing_target(
        &self,
        program: &str,
        target: &KernelTarget,
        check: &Check<'_>,
    ) -> Result<Option<Missing>, BtfError> {
        if target.kind != TargetKind::StructMember {
            return check.target(target);
        }
        let object = &self.shared.object;
        let Some(Err(misfit)) = object.struct_ops(program, check.kernel.btf)? else {
            return Ok(None);
        };
        let effect = match misfit {
            Misfit::NoStruct(_) => Effect::Depends,
            Misfit::Different(_) => Effect::Refused,
        };
        let (kind, reason) = (MissingKind::Target, misfit.to_string());
        Ok(Some(Missing::new(effect, kind, &target.name, &reason)))
    }
}

impl Check<'_> {
    fn target(&self, target: &KernelTarget) -> Result<Option<Missing>, BtfError> {
        let name = target.name.as_str();
        let btf = match &target.module {
            None => self.kernel.btf,
            Some(module) => match self.kernel.modules.get(module) {
                Some(btf) => btf,
                None => return Ok(Some(without_module(target, module))),
            },
        };
        let found = match target.kind {
            TargetKind::Function => return function(btf, target),
            TargetKind::Functions | TargetKind::Probe | TargetKind::Probes => {
                btf.lists_any(name)?
            }
            TargetKind::Hook => btf.lists_any(&format!("bpf_lsm_{name}"))?,
            TargetKind::Iterator => btf.lists_any(&format!("bpf_iter_{name}"))?,
            TargetKind::StructMember => true, // see `missing_target`
            TargetKind::BtfTracePoint => btf.has_tracepoint(name)?,
            TargetKind::TracePoint => {
                let (category, event) = name.rsplit_once('/').unwrap_or(("", name));
                category == "syscalls" || btf.has_tracepoint(event)? || !btf.has_tracepoints()?
            }
            TargetKind::SystemCall => {
                let wrappers = Arch::ALL.map(Arch::syscall_prefix);
                let of_call = wrappers.iter().chain(&["__do_", "__se_"]);
                let mut listed = of_call.map(|p| btf.lists_any(&format!("{p}sys_{name}")));
                listed.try_fold(false, |any, one| one.map(|one| any || one))?
            }
        };
        Ok((!found).then(|| not_found(btf, target)))
    }
}

/// A function must be listed, once.
fn function(btf: &Btf, target: &KernelTarget) -> Result<Option<Missing>, BtfError> {
    let name = target.name.as_str();
    let listed = btf.list_functions(&[name])?;
    Ok(match listed.as_slice() {
        [] => Some(not_found(btf, target)),
        [_] => None,
        duplicates => {
            let all: Vec<_> = duplicates.iter().map(|f| f.prototype.as_str()).collect();
            let reason = format!("the name is ambiguous: {}", all.join("; "));
            Some(Missing::new(
                Effect::Refused,
                MissingKind::Target,
                name,
                &reason,
            ))
        }
    })
}

fn not_found(btf: &Btf, target: &KernelTarget) -> Missing {
    let name = target.name.as_str();
    let (reason, suggestions) = match target.kind {
        TargetKind::BtfTracePoint | TargetKind::TracePoint => (
            "the kernel itself, without its modules, has no such tracepoint in its BTF",
            btf.similar_tracepoints(name.rsplit('/').next().unwrap_or(name)),
        ),
        TargetKind::Hook => ("BTF lists no function bpf_lsm_NAME for it", Vec::new()),
        TargetKind::Iterator => ("BTF lists no function bpf_iter_NAME for it", Vec::new()),
        _ => (
            "BTF lists no such function: it does not exist, was inlined, has only changed copies \
             (.isra, .constprop, .part), or is written in assembly",
            btf.similar_functions(name),
        ),
    };
    let effect = match target.kind.is_for_load() {
        true => Effect::Refused,
        false => Effect::NotAttached,
    };
    Missing {
        suggestions,
        ..Missing::new(effect, MissingKind::Target, name, reason)
    }
}

fn without_module(target: &KernelTarget, module: &str) -> Missing {
    let name = format!("{module}:{}", target.name);
    let reason = "there is no BTF of that module: it is built in, does not exist, or was built without BTF \
                  (CONFIG_DEBUG_INFO_BTF_MODULES, Linux 5.11)";
    Missing::new(Effect::Depends, MissingKind::Target, name, reason)
}
