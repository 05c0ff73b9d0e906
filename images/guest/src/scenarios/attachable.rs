//! What all types of programs that the library attaches must do.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fexit::Ebpf;
use fexit::programs::{
    BtfTracePoint, FEntry, FExit, FModRet, LinkId, Lsm, Program, ProgramError, Target, TracingLink,
};
use fexit::{Btf, Feature, programs::LinkError};

use super::counter::{expect_error, is_in_kernel};
use crate::scenario::poll_until;

/// The calls of a program, whatever its type.
pub(super) trait Attachable {
    fn load_section(&mut self, btf: &Btf) -> Result<(), ProgramError>;
    fn attach(&mut self, cookie: Option<u64>) -> Result<LinkId, ProgramError>;
    fn detach(&mut self, id: LinkId) -> Result<(), ProgramError>;
    fn take_link(&mut self, id: LinkId) -> Result<TracingLink, ProgramError>;
    fn unload(&mut self) -> Result<(), ProgramError>;
    fn id(&self) -> Result<u32, ProgramError>;
}

macro_rules! attachable {
    ($($type:ident),+) => {
        $(impl Attachable for $type {
            fn load_section(&mut self, btf: &Btf) -> Result<(), ProgramError> {
                self.load_target(&Target::Section, btf)
            }

            fn attach(&mut self, cookie: Option<u64>) -> Result<LinkId, ProgramError> {
                match cookie {
                    None => $type::attach(self),
                    Some(cookie) => self.attach_with_cookie(cookie),
                }
            }

            fn detach(&mut self, id: LinkId) -> Result<(), ProgramError> {
                $type::detach(self, id)
            }

            fn take_link(&mut self, id: LinkId) -> Result<TracingLink, ProgramError> {
                $type::take_link(self, id)
            }

            fn unload(&mut self) -> Result<(), ProgramError> {
                $type::unload(self)
            }

            fn id(&self) -> Result<u32, ProgramError> {
                Ok(self.info()?.id)
            }
        })+

        /// The program of this name, which must be of a type that the library attaches.
        pub(super) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut dyn Attachable> {
            match ebpf.program_mut(name).context("no such program")? {
                $(Program::$type(program) => Ok(program),)+
                other => anyhow::bail!("`{name}` is of type {}", other.kind()),
            }
        }
    };
}

attachable!(FEntry, FExit, FModRet, Lsm, BtfTracePoint);

/// The kernel's types, for a scenario about `feature`: on a kernel that lacks even the type of program, the scenario is
/// refused for want of both, and reports its own.
pub(super) fn types(program_type: Feature, feature: Feature) -> Result<Btf> {
    let btf = Btf::from_sys_fs()?;
    if program_type.is_in(&btf) == Some(false) {
        feature.require(&btf)?;
    }
    Ok(btf)
}

/// How often `call` is made.
const ROUNDS: u64 = 5;

/// Makes the calls. The program must count each of them once, or none if it is not attached.
fn expect(ebpf: &Ebpf, call: &dyn Fn() -> Result<()>, attached: bool) -> Result<()> {
    let before: u64 = ebpf.global("calls")?;
    for _ in 0..ROUNDS {
        call()?;
    }
    let seen = ebpf.global::<u64>("calls")? - before;
    let expected = if attached { ROUNDS } else { 0 };
    ensure!(
        seen == expected,
        "{} program saw {seen} of {ROUNDS} calls",
        if attached {
            "an attached"
        } else {
            "a detached"
        }
    );
    Ok(())
}

/// Loads a program, attaches it, detaches it, takes its link and drops it, unloads it: it must count the calls exactly
/// while it is attached. It counts them in the global variable `calls`.
pub(super) fn lifecycle(
    ebpf: &mut Ebpf,
    name: &str,
    btf: &Btf,
    call: &dyn Fn() -> Result<()>,
) -> Result<()> {
    program(ebpf, name)?.load_section(btf)?;
    expect(ebpf, call, false)?;
    let id = program(ebpf, name)?.attach(None)?;
    expect(ebpf, call, true)?;
    let already = |error: &ProgramError| matches!(error, ProgramError::AlreadyAttached);
    expect_error(
        "a second attach",
        program(ebpf, name)?.attach(None),
        already,
    )?;
    program(ebpf, name)?.detach(id)?;
    expect(ebpf, call, false)?;

    let id = program(ebpf, name)?.attach(None)?;
    let link = program(ebpf, name)?.take_link(id)?;
    let in_kernel = program(ebpf, name)?.id()?;
    program(ebpf, name)?.unload()?;
    expect(ebpf, call, true)?;
    drop(link);
    expect(ebpf, call, false)?;
    poll_until("the program leaves the kernel", TIMEOUT, || {
        Ok((!is_in_kernel(in_kernel)).then_some(()))
    })?;

    program(ebpf, name)?.load_section(btf)?;
    program(ebpf, name)?.attach(None)?;
    expect(ebpf, call, true)?;
    program(ebpf, name)?.unload()?;
    expect(ebpf, call, false)
}

const TIMEOUT: Duration = Duration::from_secs(10);

/// Attaches the program `with_cookie` with a number, which it must read while `call` is made.
pub(super) fn cookie(ebpf: &mut Ebpf, btf: &Btf, call: &dyn Fn() -> Result<()>) -> Result<()> {
    const NAME: &str = "with_cookie";
    for cookie in [0x0123_4567_89ab_cdef_u64, u64::MAX] {
        program(ebpf, NAME)?.load_section(btf)?;
        program(ebpf, NAME)?.attach(Some(cookie))?;
        call()?;
        let seen: u64 = ebpf.global("seen_cookie")?;
        ensure!(
            seen == cookie,
            "attached with {cookie:#x}, it saw {seen:#x}"
        );
        program(ebpf, NAME)?.unload()?;
    }
    Ok(())
}

/// Pins the link of a loaded program, and finds it again by its pin, with the attach type that the kernel tells of it.
pub(super) fn pin(ebpf: &mut Ebpf, name: &str, path: &str, attach_type: u32) -> Result<()> {
    let id = program(ebpf, name)?.attach(None)?;
    let link = program(ebpf, name)?.take_link(id)?;
    let before = link.info()?;
    let pinned = link.pin(path)?;
    let found = TracingLink::from_pin(path)?;
    let info = found.info()?;
    ensure!(
        info == before && info.program_id == program(ebpf, name)?.id()?,
        "another link is pinned: {info:?}"
    );
    ensure!(
        info.attach_type == attach_type,
        "the attach type of {name} is {}",
        info.attach_type
    );
    drop((link, found));
    expect_error!("attach while pinned", program(ebpf, name)?.attach(None) => ProgramError::AlreadyAttached)?;
    drop(pinned.unpin()?);
    expect_error!("a pin that was removed", TracingLink::from_pin(path) => LinkError::Pin { .. })?;
    Ok(())
}
