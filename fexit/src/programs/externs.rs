//! Resolves instructions that refer to maps or to external symbols.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use aya_obj::generated::{
    BPF_PSEUDO_BTF_ID, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE, bpf_insn,
};

use super::shared::{Filled, Shared};
use crate::btf::raw::Raw;
use crate::btf::{Btf, Symbol};
use crate::elf::externs::{Extern, ExternKind};
use crate::error::ProgramError;
use crate::feature::Feature;
use crate::maps::Map;
use crate::object::kconfig;
use crate::object::ksyms;
use crate::object::running::Running;

/// `call` of a helper, a subprogram or a kernel function.
const CALL: u8 = 0x85;

/// The first of the two instructions of a 64-bit constant.
const LD_IMM64: u8 = 0x18;

/// The number of the call that replaces a missing kernel function, plus the number of its extern. It is no helper; the
/// program must check before, so that it never runs. libbpf uses the same number.
const ABSENT: i32 = 2_002_000_000;

/// The kernel function that throws.
const THROW: &str = "bpf_throw";

/// The verifier's messages about a kernel that has the function, and does not let this program call it.
const THROWS_NOT: [&str; 2] = [
    "calling kernel function bpf_throw is not allowed",
    "JIT does not support calling kfunc bpf_throw",
];

/// The instructions of a program before they are loaded.
pub(super) struct Instructions<'a> {
    pub(super) insns: Vec<bpf_insn>,
    program: &'a str,
    shared: &'a Shared,
    /// The types of the object, if it has externs.
    local: Option<Raw>,
    /// The modules whose functions or variables the program uses.
    modules: Vec<(String, OwnedFd)>,
}

impl<'a> Instructions<'a> {
    /// Replaces the number of each map by its descriptor, and of each extern by its value, id or address. Creates maps
    /// that do not exist yet. `btf` is called only if a kernel function or variable is used.
    pub(super) fn resolve(
        insns: &[bpf_insn],
        program: &'a str,
        shared: &'a Shared,
        btf: &dyn Fn() -> Result<Btf, ProgramError>,
    ) -> Result<Self, ProgramError> {
        let extra = &shared.object.extra;
        let mut this = Self {
            insns: insns.to_vec(),
            program,
            shared,
            local: match extra.externs.is_empty() {
                true => None,
                false => Raw::parse(extra.btf.clone()).ok(),
            },
            modules: Vec::new(),
        };
        let mut at = 0;
        while let Some(insn) = this.insns.get(at) {
            let constant = insn.code == LD_IMM64;
            match (insn.code, u32::from(insn.src_reg())) {
                (CALL, BPF_PSEUDO_KFUNC_CALL) => this.call(at, btf)?,
                (LD_IMM64, BPF_PSEUDO_BTF_ID) => this.constant(at, btf)?,
                (LD_IMM64, BPF_PSEUDO_MAP_FD | BPF_PSEUDO_MAP_VALUE) => this.map(at)?,
                _ => {}
            }
            at += if constant { 2 } else { 1 };
        }
        Ok(this)
    }

    /// The `fd_array` of the load: BTF of modules by number. Number 0 is the kernel's own, without a descriptor.
    pub(super) fn fd_array(&self) -> Vec<i32> {
        let modules = self.modules.iter().map(|(_, fd)| fd.as_raw_fd());
        match self.modules.is_empty() {
            true => Vec::new(),
            false => std::iter::once(0).chain(modules).collect(),
        }
    }

    fn fails(&self, reason: &str) -> ProgramError {
        ProgramError::Relocation {
            reason: format!("program `{}` {reason}", self.program),
        }
    }

    fn map(&mut self, at: usize) -> Result<(), ProgramError> {
        let number = usize::try_from(self.insns[at].imm).ok();
        let map = number.and_then(|number| self.shared.maps.get(number));
        let map = map.ok_or_else(|| self.fails(&format!("refers to no map (instruction {at})")))?;
        self.insns[at].imm = map.fd()?.as_raw_fd();
        if u32::from(self.insns[at].src_reg()) == BPF_PSEUDO_MAP_VALUE
            && let Some(place) = self.insns.get_mut(at + 1)
        {
            // Offsets are unsigned, and at most those of an arena of 4 GiB.
            let offset = map.data_offset() as u32;
            place.imm = place.imm.cast_unsigned().wrapping_add(offset).cast_signed();
        }
        Ok(())
    }

    /// The extern of an instruction.
    fn named(&self, at: usize) -> Result<(usize, &'a Extern), ProgramError> {
        let number = usize::try_from(self.insns[at].imm).ok();
        let found = number.and_then(|n| Some((n, self.shared.object.extra.externs.get(n)?)));
        found.ok_or_else(|| self.fails(&format!("refers to nothing known (instruction {at})")))
    }

    fn call(
        &mut self,
        at: usize,
        btf: &dyn Fn() -> Result<Btf, ProgramError>,
    ) -> Result<(), ProgramError> {
        let (number, function) = self.named(at)?;
        let (id, module) = match self.symbol(function, &btf()?)? {
            Some(found) => found,
            None => {
                let insn = &mut self.insns[at];
                insn.set_src_reg(0);
                insn.imm = ABSENT.saturating_add(i32::try_from(number).unwrap_or(0));
                return Ok(());
            }
        };
        let place = module.map(|module| self.module(module)).transpose()?;
        let insn = &mut self.insns[at];
        insn.imm = id.cast_signed();
        // Numbers of modules begin at 1: 0 is the kernel itself.
        insn.off = place.map_or(0, |(place, _)| i16::try_from(place + 1).unwrap_or(i16::MAX));
        Ok(())
    }

    fn constant(
        &mut self,
        at: usize,
        btf: &dyn Fn() -> Result<Btf, ProgramError>,
    ) -> Result<(), ProgramError> {
        let (number, declared) = self.named(at)?;
        let (source, low, high) = match declared.kind {
            ExternKind::Kconfig(_) => {
                let (fd, place) = self.kconfig(number, &declared.name, btf)?;
                (BPF_PSEUDO_MAP_VALUE, fd, place)
            }
            ExternKind::Address => {
                let address = ksyms::address(&declared.name)
                    .map_err(|why| self.fails(&format!("reads `{}`: {why}", declared.name)))?;
                let address = match address {
                    None if !declared.is_weak => return Err(self.absent(declared)),
                    other => other.unwrap_or(0),
                };
                (0, address as i32, (address >> 32) as i32)
            }
            // A program can only check whether the function exists: any number but zero means that it does.
            ExternKind::Function(_) => {
                let found = self.symbol(declared, &btf()?)?;
                (0, found.map_or(0, |(id, _)| id.cast_signed()), 0)
            }
            ExternKind::Variable(_) => match self.symbol(declared, &btf()?)? {
                None => (0, 0, 0),
                Some((id, None)) => (BPF_PSEUDO_BTF_ID, id.cast_signed(), 0),
                Some((id, Some(module))) => {
                    let (_, fd) = self.module(module)?;
                    (BPF_PSEUDO_BTF_ID, id.cast_signed(), fd)
                }
            },
            ExternKind::Unknown => {
                return Err(self.fails(&format!(
                    "refers to `{}`, which is not in the object; declare it `__kconfig` or `__ksym` if it is the \
                     kernel's, or link the objects by `bpftool gen object`",
                    declared.name
                )));
            }
        };
        if let Some([first, second, ..]) = self.insns.get_mut(at..) {
            first.set_src_reg(source as u8);
            (first.imm, second.imm) = (low, high);
        }
        Ok(())
    }

    /// Type id and module of a function or variable; none if it is weak and the kernel lacks it.
    fn symbol(
        &self,
        declared: &Extern,
        btf: &Btf,
    ) -> Result<Option<(u32, Option<String>)>, ProgramError> {
        let (local, name) = (self.local.as_ref(), declared.name.as_str());
        let (symbol, what) = match declared.kind {
            ExternKind::Variable(id) => (btf.declared_variable(local, name, id)?, "variable"),
            ExternKind::Function(id) => (btf.declared_function(local, name, id)?, "function"),
            _ => (Symbol::Absent, "symbol"),
        };
        match symbol {
            Symbol::Found { id, module } => Ok(Some((id, module))),
            Symbol::Absent if declared.is_weak => Ok(None),
            Symbol::Absent => Err(self.absent(declared)),
            // A function with other parameters is not the declared one.
            Symbol::Mismatch if declared.is_weak && what == "function" => Ok(None),
            Symbol::Mismatch => Err(self.fails(&format!(
                "declares the kernel's {what} `{name}` with another type than this kernel"
            ))),
        }
    }

    fn absent(&self, declared: &Extern) -> ProgramError {
        if declared.name.split("___").next() == Some(THROW) {
            return Feature::Exceptions.unsupported().into();
        }
        let what = match declared.kind {
            ExternKind::Function(_) => "calls the kernel function",
            _ => "reads the kernel's variable",
        };
        self.fails(&format!(
            "{what} `{}`, which this kernel does not have; declare it `__weak`, and ask before by `bpf_ksym_exists`",
            declared.name
        ))
    }

    /// The number of a module in `fd_array`, and the descriptor of its BTF.
    fn module(&mut self, name: String) -> Result<(usize, i32), ProgramError> {
        let known = self.modules.iter().position(|(known, _)| *known == name);
        let place = match known {
            Some(place) => place,
            None => {
                let fd = Btf::module_handle(&name)?;
                self.modules.push((name, fd));
                self.modules.len() - 1
            }
        };
        Ok((place, self.modules[place].1.as_raw_fd()))
    }

    /// The map of configuration values, and the offset of this one.
    fn kconfig(
        &self,
        number: usize,
        name: &str,
        btf: &dyn Fn() -> Result<Btf, ProgramError>,
    ) -> Result<(i32, i32), ProgramError> {
        let kconfig = &self.shared.kconfig;
        let filled = kconfig.filled.get_or_init(|| {
            let btf = || btf().ok();
            fill(self.shared, &Running::new(kconfig.given.as_deref(), &btf))
        });
        let place = match filled.offsets.get(&number) {
            Some(Ok(place)) => *place,
            Some(Err(why)) => return Err(self.fails(&format!("reads `{name}`: {why}"))),
            None => return Err(self.fails(&format!("reads `{name}`, which has no value"))),
        };
        Ok((filled.map.fd()?.as_raw_fd(), place))
    }

    /// Why the kernel refused the program, if an extern is the reason.
    pub(super) fn refused(&self, error: &io::Error, log: &str) -> Option<ProgramError> {
        // Before 5.16 a load has no `fd_array`.
        if !self.modules.is_empty() && error.raw_os_error() == Some(libc::E2BIG) {
            let modules: Vec<_> = self.modules.iter().map(|(name, _)| name.as_str()).collect();
            return Some(self.fails(&format!(
                "calls functions of the module {}, which programs may from Linux 5.16 on",
                modules.join(", ")
            )));
        }
        if THROWS_NOT.iter().any(|message| log.contains(message)) {
            return Some(Feature::Exceptions.unsupported().into());
        }
        // The verifier reached a call of a missing function.
        let externs = self.shared.object.extra.externs.iter();
        let mut numbered = externs.zip(ABSENT..);
        let called = numbered.find(|(_, number)| log.contains(&format!("#{number}")))?;
        Some(self.absent(called.0))
    }
}

fn fill(shared: &Shared, source: &Running<'_>) -> Filled {
    let mut data = Vec::new();
    let mut offsets = BTreeMap::new();
    for (number, declared) in shared.object.extra.externs.iter().enumerate() {
        let ExternKind::Kconfig(kind) = declared.kind else {
            continue;
        };
        let value = kconfig::value(&declared.name, declared.is_weak, kind, source);
        let place = value.map(|bytes| {
            data.resize(data.len().next_multiple_of(8), 0);
            let place = i32::try_from(data.len()).unwrap_or(i32::MAX);
            data.extend(bytes);
            place
        });
        offsets.insert(number, place);
    }
    data.resize(data.len().next_multiple_of(8).max(8), 0);
    let definition = Arc::new(kconfig::map(data));
    let map = Map::of_object(kconfig::MAP, definition, Arc::clone(&shared.object), None);
    Filled { map, offsets }
}
