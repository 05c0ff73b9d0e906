//! The `__kconfig` values of the running kernel.

use aya_obj::generated::bpf_prog_type;

use super::kconfig::{Config, Options, Source};
use crate::arch::Arch;
use crate::btf::Btf;
use crate::kernel_version::KernelVersion;
use crate::probe;

/// The running kernel, and the configuration that was given to the loader.
pub(crate) struct Running<'a> {
    options: Options,
    btf: &'a dyn Fn() -> Option<Btf>,
}

impl<'a> Running<'a> {
    pub(crate) fn new(given: Option<&str>, btf: &'a dyn Fn() -> Option<Btf>) -> Self {
        Self {
            options: Options::new(given, Config::running),
            btf,
        }
    }
}

impl Source for Running<'_> {
    fn option(&self, name: &str) -> Result<Option<String>, String> {
        self.options.get(name)
    }

    fn virtual_value(&self, name: &str) -> Result<Option<u64>, String> {
        Ok(match name {
            "LINUX_KERNEL_VERSION" => Some(KernelVersion::exact().code().into()),
            "LINUX_HAS_BPF_COOKIE" => Some(has_cookie().into()),
            "LINUX_HAS_SYSCALL_WRAPPER" => {
                let btf = (self.btf)().ok_or("this kernel has no BTF")?;
                // With wrappers, system calls take a `struct pt_regs`.
                let prefix = Arch::current().map_or("", Arch::syscall_prefix);
                let wrapped = !prefix.is_empty() && btf.has_function(&format!("{prefix}sys_bpf"));
                Some(wrapped.into())
            }
            _ => None,
        })
    }
}

/// Whether the kernel loads a program that calls `bpf_get_attach_cookie`.
fn has_cookie() -> bool {
    const GET_ATTACH_COOKIE: i32 = 174;
    let insns = [
        probe::instruction(0x85, 0, GET_ATTACH_COOKIE),
        probe::instruction(0x95, 0, 0),
    ];
    probe::load(&probe::program(bpf_prog_type::BPF_PROG_TYPE_KPROBE, &insns)).is_ok()
}
