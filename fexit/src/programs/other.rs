//! Programs that this library loads and does not attach.

use std::os::fd::AsFd;
use std::sync::Arc;

use aya_obj::generated::{BPF_F_SLEEPABLE, BPF_F_XDP_HAS_FRAGS, bpf_prog_type};

use super::data::{Kind, ProgramData};
use super::diagnose;
use crate::btf::Btf;
use crate::btf::struct_ops::Implemented;
use crate::compat::{ProgramType, program_type};
use crate::error::ProgramError;
use crate::kernel_version::KernelVersion;
use crate::probe;
use crate::sys::ProgLoad;

/// A program of a type that this library does not attach. It can be loaded, to be verified or to be a target, and
/// test-run.
#[derive(Debug)]
pub struct OtherProgram {
    pub(super) data: ProgramData,
}

/// Whether the kernel loads a program of this type and flags that returns 0. Its BTF does not list flags.
fn accepts(kind: &Kind<'_>) -> bool {
    let insns = probe::return_0();
    let program = ProgLoad {
        prog_type: kind.prog_type,
        expected_attach_type: kind.attach_type,
        flags: kind.flags,
        attach_btf_id: kind.attach_btf_id,
        ..probe::program(bpf_prog_type::BPF_PROG_TYPE_UNSPEC, &insns)
    };
    probe::load(&program).is_ok()
}

impl OtherProgram {
    pub(super) fn new(data: ProgramData) -> Self {
        Self { data }
    }

    /// Whether [`OtherProgram::load`] knows its type.
    pub fn is_loadable(&self) -> bool {
        program_type(&self.data.section).is_some()
    }

    /// Loads the program by the type that its section says, as libbpf 1.7 names sections: `xdp`, `tc`, `kprobe`,
    /// `tracepoint`, `cgroup/connect4`, `iter/task`, `netfilter` and so on.
    ///
    /// A program of type `struct_ops` is loaded for the member of the kernel's struct that a variable in `.struct_ops` or
    /// `.struct_ops.link` sets to it; no map is created.
    ///
    /// # Minimum kernel version
    ///
    /// That of the type; the error says which.
    ///
    /// # Errors
    ///
    /// [`ProgramError::AlreadyLoaded`]; [`ProgramError::NotLoadable`] for `freplace` and for a section that is not
    /// known; [`ProgramError::UnusedStructOps`] and [`ProgramError::StructOps`] for a program of type `struct_ops` that
    /// implements nothing; [`ProgramError::TooNew`] when the kernel lacks the type; [`ProgramError::LoadError`] with the
    /// verifier's log.
    pub fn load(&mut self) -> Result<(), ProgramError> {
        if self.data.is_loaded() {
            return Err(ProgramError::AlreadyLoaded);
        }
        let found = program_type(&self.data.section).ok_or_else(|| self.not_loadable())?;
        // Types up to the library's oldest kernel are not checked.
        if found.minimum() > KernelVersion::new(5, 5, 0)
            && self
                .data
                .shared()
                .running()
                .is_ok_and(|btf| found.is_missing(&btf))
        {
            return Err(self.too_new(found));
        }
        let target = found.target().map(|prefix| self.target(prefix));
        let implemented = found.is_struct_ops().then(|| self.implemented());
        let implemented = implemented.transpose()?;
        let module = implemented.as_ref().and_then(|of| of.module.as_deref());
        let module = module.map(Btf::module_handle).transpose()?;
        let mut flags = 0;
        if found.is_sleepable() {
            flags |= BPF_F_SLEEPABLE;
        }
        if found.takes_fragments() {
            flags |= BPF_F_XDP_HAS_FRAGS;
        }
        let kind = Kind {
            prog_type: found.prog_type,
            attach_type: implemented
                .as_ref()
                .map_or(found.attach_type, |of| of.member),
            flags,
            attach_btf_id: match &implemented {
                Some(of) => of.btf_id,
                None => target.transpose()?.unwrap_or(0),
            },
            attach_fd: module.as_ref().map(AsFd::as_fd),
            module: None,
        };
        let shared = Arc::clone(self.data.shared());
        self.data
            .load(&kind, || shared.running())?
            .map_err(|refusal| {
                if flags != 0 && diagnose::is_unknown_flag(&refusal) && !accepts(&kind) {
                    return self.too_new(found);
                }
                diagnose::refused(&self.data, refusal)
            })
    }

    /// The type id of the kernel function whose name is `prefix` and the part of the section after the slash.
    fn target(&self, prefix: &str) -> Result<u32, ProgramError> {
        let name = self
            .data
            .section_target()
            .ok_or_else(|| ProgramError::NoTarget {
                section: self.data.section.clone(),
            })?;
        let name = format!("{prefix}{name}");
        let btf = self.data.shared().running()?;
        let function = btf.function(&name, self.data.ambiguity())?;
        Ok(function.btf_id)
    }

    /// The member of a struct of the kernel that the program is for.
    fn implemented(&self) -> Result<Implemented, ProgramError> {
        let (name, object) = (&self.data.name, &self.data.shared().object);
        let unused = || ProgramError::UnusedStructOps {
            name: name.clone(),
            section: self.data.section.clone(),
        };
        let member = object.struct_member(name).ok_or_else(unused)?;
        let btf = self.data.shared().running()?;
        let found = object.struct_ops(name, &btf)?.ok_or_else(unused)?;
        found.map_err(|misfit| ProgramError::StructOps {
            name: name.clone(),
            member,
            reason: misfit.to_string(),
        })
    }

    fn too_new(&self, found: ProgramType) -> ProgramError {
        ProgramError::TooNew {
            name: self.data.name.clone(),
            too_new: vec![found.too_new()],
            running: KernelVersion::current(),
        }
    }

    fn not_loadable(&self) -> ProgramError {
        ProgramError::NotLoadable {
            name: self.data.name.clone(),
            section: self.data.section.clone(),
            reason: match self.data.kind() {
                "freplace" => {
                    "it replaces a function of another program, which this library cannot select"
                }
                _ => "its section names no known program type",
            },
        }
    }

    /// Closes the program. Programs that are attached to it keep it loaded.
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotLoaded`].
    pub fn unload(&mut self) -> Result<(), ProgramError> {
        self.data.unload()
    }
}
