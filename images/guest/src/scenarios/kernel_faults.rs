//! Deliberate faults of the kernel, made with nothing but root privileges: loading a module in which a byte or two were
//! changed. The kernel's messages are real.

use std::ffi::CStr;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use object::{
    File as Elf, Object, ObjectSection, ObjectSymbol, Relocation, RelocationTarget, SymbolIndex,
};
use rustix::system::{delete_module, finit_module};

use crate::scenario::{Context, scenarios};
use protocol::job::MODULES_DIR;

scenarios! {
    selftest_kernel_warns(Fexit).modules(&["dummy"]).hidden():
        "passes, while the kernel warns about a module with an invalid ftrace site";
    selftest_kernel_oopses(Fexit).modules(&["tun"]).hidden(): "loads a module whose first instruction is invalid";
    selftest_kernel_hangs(Fexit).modules(&["tun"]).hidden(): "loads a module whose first instruction jumps to itself";
    selftest_kernel_kills(Fexit).hidden(): "passes, while the OOM killer runs";
}

/// A one-byte opcode that is invalid in 64-bit mode.
const NONE: &[u8] = &[0x06];

/// A jump to itself.
const LOOP: &[u8] = &[0xeb, 0xfe];

/// The marker at the end of a signed module; `struct module_signature` precedes it.
const SIGNED: &[u8] = b"~Module signature appended~\n";

/// ftrace finds an unexpected instruction at the start of a function, warns, and switches itself off.
fn selftest_kernel_warns(_: &mut Context) -> Result<()> {
    load_tampered(c"dummy", NONE, |elf| {
        let first = traced(elf)?.into_iter().next();
        first.context("nothing in it is traced")
    })
}

fn selftest_kernel_oopses(_: &mut Context) -> Result<()> {
    load_tampered(c"tun", NONE, beginning)?;
    bail!("the module was loaded")
}

fn selftest_kernel_hangs(_: &mut Context) -> Result<()> {
    load_tampered(c"tun", LOOP, beginning)?;
    bail!("the module was loaded")
}

/// The offset of the init function of a module.
fn beginning(elf: &Elf<'_>) -> Result<Place> {
    let init = elf
        .symbol_by_name("init_module")
        .context("no init_module")?;
    let (section, start) = place_of(elf, init.index())?;
    // The call to `__fentry__` must stay.
    let is_traced = traced(elf)?.contains(&(section, start));
    Ok((section, start + if is_traced { 5 } else { 0 }))
}

/// Memory is not short, so the OOM killer finds only processes that volunteer; this scenario does not.
fn selftest_kernel_kills(_: &mut Context) -> Result<()> {
    fs::write("/proc/self/oom_score_adj", "-1000")?;
    Ok(fs::write("/proc/sysrq-trigger", "f")?)
}

/// The index of a section, and an offset in it.
type Place = (object::SectionIndex, u64);

/// Reloads a module with changed code at one place.
fn load_tampered(
    name: &CStr,
    code: &[u8],
    at: impl FnOnce(&Elf<'_>) -> Result<Place>,
) -> Result<()> {
    let path = Path::new(MODULES_DIR).join(format!("{}.ko", name.to_string_lossy()));
    let mut module = fs::read(&path).with_context(|| path.display().to_string())?;
    let elf = Elf::parse(&*module)?;
    let (section, offset) = at(&elf)?;
    let (start, size) = elf
        .section_by_index(section)?
        .file_range()
        .context("the code is not in the file")?;
    let end = offset + code.len() as u64;
    ensure!(end <= size, "the place is not in its section");
    let place = usize::try_from(start + offset)?;
    module[place..place + code.len()].copy_from_slice(code);
    // An invalid signature is refused; a missing one only taints the kernel.
    if module.ends_with(SIGNED) {
        module.truncate(module.len() - SIGNED.len());
    }
    fs::write("tampered.ko", &module)?;
    delete_module(name, 0).context("cannot unload the module")?;
    finit_module(&File::open("tampered.ko")?, c"", 0).context("cannot load what was tampered with")
}

/// Where traceable functions start.
fn traced(elf: &Elf<'_>) -> Result<Vec<Place>> {
    let sites = elf
        .section_by_name("__mcount_loc")
        .context("nothing in it can be traced")?;
    let place = |site: Relocation| {
        let RelocationTarget::Symbol(symbol) = site.target() else {
            bail!("a tracing site has no symbol");
        };
        let (section, start) = place_of(elf, symbol)?;
        Ok((section, start.wrapping_add_signed(site.addend())))
    };
    sites.relocations().map(|(_, site)| place(site)).collect()
}

fn place_of(elf: &Elf<'_>, symbol: SymbolIndex) -> Result<Place> {
    let symbol = elf.symbol_by_index(symbol)?;
    let section = symbol.section_index();
    Ok((
        section.context("a symbol without a section")?,
        symbol.address(),
    ))
}
