//! Faults of the kernel itself, made on purpose and by nothing but what root may do: a module is loaded whose code was
//! tampered with by a byte or two. What the kernel prints then is real.

use std::ffi::CStr;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use fexit::Feature;
use object::{
    File as Elf, Object, ObjectSection, ObjectSymbol, Relocation, RelocationTarget, SymbolIndex,
};
use rustix::system::{delete_module, finit_module};

use crate::scenario::{Context, Scenario};
use protocol::job::MODULES_DIR;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "selftest_kernel_warns",
        "passes, while the kernel warns of a module whose tracing site is none",
        Feature::Fexit,
        warns,
    )
    .modules(&["dummy"])
    .hidden(),
    Scenario::new(
        "selftest_kernel_oopses",
        "loads a module whose first instruction is none",
        Feature::Fexit,
        oopses,
    )
    .modules(&["tun"])
    .hidden(),
    Scenario::new(
        "selftest_kernel_hangs",
        "loads a module whose first instruction jumps to itself",
        Feature::Fexit,
        hangs,
    )
    .modules(&["tun"])
    .hidden(),
    Scenario::new(
        "selftest_kernel_kills",
        "passes, while the kernel looks for somebody to kill for want of memory",
        Feature::Fexit,
        kills,
    )
    .hidden(),
];

/// An instruction of one byte that 64-bit code does not have.
const NONE: &[u8] = &[0x06];

/// A jump to where it stands.
const LOOP: &[u8] = &[0xeb, 0xfe];

/// What stands at the end of a module that is signed; what follows is the signature's description before it.
const SIGNED: &[u8] = b"~Module signature appended~\n";

/// ftrace finds another instruction than it knows at the start of a function, says so, and is off from then on.
fn warns(_: &mut Context) -> Result<()> {
    load_tampered(c"dummy", NONE, |elf| {
        let first = traced(elf)?.into_iter().next();
        first.context("nothing in it is traced")
    })
}

fn oopses(_: &mut Context) -> Result<()> {
    load_tampered(c"tun", NONE, beginning)?;
    bail!("the module was loaded")
}

fn hangs(_: &mut Context) -> Result<()> {
    load_tampered(c"tun", LOOP, beginning)?;
    bail!("the module was loaded")
}

/// Where the code of a module begins to run.
fn beginning(elf: &Elf<'_>) -> Result<Place> {
    let init = elf
        .symbol_by_name("init_module")
        .context("no init_module")?;
    let (section, start) = place_of(elf, init.index())?;
    // The call to the tracer must stay as it is.
    let is_traced = traced(elf)?.contains(&(section, start));
    Ok((section, start + if is_traced { 5 } else { 0 }))
}

/// As memory is not short, nothing is killed but what offers itself; this scenario does not.
fn kills(_: &mut Context) -> Result<()> {
    fs::write("/proc/self/oom_score_adj", "-1000")?;
    Ok(fs::write("/proc/sysrq-trigger", "f")?)
}

/// A section, by its number, and an offset in it.
type Place = (object::SectionIndex, u64);

/// Loads a module anew, with other code at one place.
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
    // A signature that does not hold is refused; none at all only leaves a mark on the kernel.
    if module.ends_with(SIGNED) {
        module.truncate(module.len() - SIGNED.len());
    }
    fs::write("tampered.ko", &module)?;
    delete_module(name, 0).context("cannot unload the module")?;
    finit_module(&File::open("tampered.ko")?, c"", 0).context("cannot load what was tampered with")
}

/// Where the functions begin that can be traced.
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
