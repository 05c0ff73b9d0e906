//! Functions that cannot be targets: the error names each, and the reason.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use fexit::programs::ProgramError;
use fexit::{AmbiguityPolicy, Btf, BtfError, EbpfLoader, KernelVersion};

use super::counter::{Counter, FUNCTION, expect, expect_error};
use super::fixture;
use super::symbols::{Symbols, counts};
use crate::objects;
use crate::scenario::{Context, scenarios, skip, syscall};

scenarios! {
    ambiguous_name(Fexit).parallel():
        "an ambiguous name is refused with the list of matches, unless the policy is BtfOnly";
    function_without_btf(Fexit).parallel(): "the error for a function without BTF says that the function exists";
    changed_function(Fexit).parallel(): "the error for a function that the compiler changed names the changed copy";
    changed_function_in_btf(Fexit).parallel():
        "the error for a function that is in BTF, but in the kernel only as a changed copy, names that copy";
    similar_names(Fexit).parallel():
        "the error for an unknown name suggests names that differ in case, at the end, or by one part";
    denied_function(Fexit).parallel(): "a function on the deny list, or that never returns, is refused with its name";
    ftrace_off(Fexit): "with ftrace off, attach is refused and the error says how to switch it on";
}

fn ambiguous_name(context: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut counter = Counter::parsed()?;
    let symbols = Symbols::read()?;
    let [code, at_boot] = symbols.functions()?;
    let (code, at_boot) = (counts(code), counts(at_boot));
    let mut shared: Vec<_> = code
        .iter()
        // BTF leaves out most names with leading underscores.
        .filter(|(name, times)| **times > 1 && !name.starts_with("__"))
        .filter(|(name, _)| !at_boot.contains_key(*name))
        .collect();
    shared.sort();
    let mut refused = 0;
    for (name, times) in shared.iter().filter(|(name, _)| btf.has_function(name)) {
        match counter.program()?.load(name, &btf) {
            Err(ProgramError::Btf(BtfError::AmbiguousName { candidates, .. })) => {
                ensure!(
                    candidates.len() == **times,
                    "{name}: {candidates:?} are not all {times}"
                );
                refused += 1;
            }
            Err(other) => {
                let what = format!("{name}, which {times} functions have, gave another error");
                return Err(anyhow::Error::from(other).context(what));
            }
            Ok(()) => bail!("{name}, which {times} functions have, was loaded"),
        }
        if refused == 3 {
            break;
        }
    }
    ensure!(
        refused == 3,
        "only {refused} of {} shared names were refused",
        shared.len()
    );
    context.measure("shared_names", shared.len());
    // Names with one match outside `__init`. Not every kernel has such names.
    let also_at_boot = at_boot
        .keys()
        .filter(|name| code.get(*name) == Some(&1) && btf.has_function(name));
    let mut loaded = 0;
    for name in also_at_boot.take(3) {
        counter
            .program()?
            .load(name, &btf)
            .with_context(|| format!("{name}, whose other functions are in an `__init` section"))?;
        counter.program()?.unload()?;
        loaded += 1;
    }
    context.measure("names_shared_at_boot", loaded);
    // With the policy BtfOnly the library does not check for ambiguity.
    let (name, _) = shared
        .iter()
        .find(|(name, _)| btf.has_function(name))
        .context("no shared name in BTF")?;
    let mut unchecked = EbpfLoader::new()
        .ambiguity_policy(AmbiguityPolicy::BtfOnly)
        .load(objects::COUNT_CALLS)?;
    fixture::fexit(&mut unchecked, "count_calls")?
        .load(name, &btf)
        .with_context(|| format!("{name}, as BTF has it"))?;
    // A unique name still loads.
    Ok(counter.program()?.load(FUNCTION, &btf)?)
}

fn unknown(name: &str, btf: &Btf) -> Result<String> {
    let mut counter = Counter::parsed()?;
    let error = expect_error!(
        name,
        counter.program()?.load(name, btf) => ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })
    )?;
    let text = error.to_string();
    ensure!(
        text.contains(&format!("`{name}`")),
        "the error does not name {name}: {text}"
    );
    Ok(text)
}

fn function_without_btf(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let symbols = Symbols::read()?;
    let [mut code, _] = symbols.functions()?;
    let name = code
        .find(|name| !name.contains('.') && !btf.has_function(name))
        .context("every function of this kernel is in BTF")?;
    let text = unknown(name, &btf)?;
    ensure!(
        text.contains("the function exists, but has no BTF"),
        "{text}"
    );
    let text = unknown("no_such_function_anywhere", &btf)?;
    ensure!(text.contains("no function of that name"), "{text}");
    Ok(())
}

fn changed_function(_: &mut Context) -> Result<()> {
    let symbols = Symbols::read()?;
    let btf = Btf::from_sys_fs()?;
    let [mut code, _] = symbols.functions()?;
    // Some copies are in BTF under the plain name, and some kernels can even trace them.
    let plain = code
        .find_map(|name| {
            let (plain, suffix) = name.split_once('.')?;
            let kept = ["isra.", "constprop.", "part."]
                .iter()
                .any(|s| suffix.starts_with(s));
            (kept && !btf.has_function(plain) && !symbols.has(plain)).then_some(plain)
        })
        .context("this kernel has no function that the compiler changed and BTF leaves out")?;
    let text = unknown(plain, &btf)?;
    ensure!(
        text.contains(&format!("`{plain}.")),
        "no copy of {plain} is named: {text}"
    );
    Ok(())
}

fn changed_function_in_btf(context: &mut Context) -> Result<()> {
    let symbols = Symbols::read()?;
    let btf = Btf::from_sys_fs()?;
    let mut plain = Vec::new();
    for name in symbols.functions()?.into_iter().flatten() {
        let Some((name, _)) = name.split_once('.') else {
            continue;
        };
        if !plain.contains(&name) && btf.has_function(name) && !symbols.has(name) {
            plain.push(name);
        }
        if plain.len() == 5 {
            break;
        }
    }
    context.measure("functions", plain.len());
    // Older versions of pahole leave such functions out of BTF.
    if plain.is_empty() {
        return Err(skip(
            "the kernel's BTF lists no function that the compiler changed",
        ));
    }
    for name in plain {
        let mut counter = Counter::parsed()?;
        let error = expect_error!(name, counter.program()?.load(name, &btf) => ProgramError::TargetRefused { .. })?;
        let text = error.to_string();
        ensure!(
            text.contains(&format!("(`{name}.")),
            "no copy of {name} is named: {text}"
        );
    }
    Ok(())
}

fn similar_names(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    for (asked, suggested) in [
        ("VFS_OPEN", "vfs_open"),
        ("vfs_opne", "vfs_open"),
        ("vfs_open+0x4", "vfs_open"),
        ("filename_lookupp", "filename_lookup"),
        ("sys_unlinkat", syscall("unlinkat").as_str()),
        ("do_execve", "_exec"),
    ] {
        // Old kernels have `do_execve`.
        if btf.has_function(asked) {
            continue;
        }
        let text = unknown(asked, &btf)?;
        let (_, names) = text
            .split_once("similar names are ")
            .with_context(|| format!("nothing is suggested: {text}"))?;
        let first = names.split(", ").next().unwrap_or_default();
        ensure!(
            first == suggested || suggested == "_exec" && first.contains(suggested),
            "{suggested} is not suggested first: {text}"
        );
    }
    ensure!(
        unknown("vfs_open+0x4", &btf)?.contains("has no offset"),
        "the offset is not the reason"
    );
    Ok(())
}

fn denied_function(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut counter = Counter::parsed()?;
    for name in ["migrate_disable", "migrate_enable"] {
        let error = expect_error(name, counter.program()?.load(name, &btf), |error| {
            matches!(
                error,
                // The deny list of 5.13 and later, or an older kernel without such a function.
                ProgramError::TargetRefused { .. }
                    | ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })
            )
        })?;
        let text = error.to_string();
        ensure!(
            text.contains(name),
            "the error does not name {name}: {text}"
        );
        if matches!(error, ProgramError::TargetRefused { .. }) {
            ensure!(text.contains("deny list"), "the reason is missing: {text}");
        }
    }
    // Refused from 6.15 on, and in later stable kernels; older kernels load the program, but it never runs.
    match counter.program()?.load("do_exit", &btf) {
        Err(error @ ProgramError::TargetRefused { .. }) => {
            let text = error.to_string();
            ensure!(
                text.contains("`do_exit`") && text.contains("never returns"),
                "the reason is missing: {text}"
            );
        }
        other => {
            other?;
            ensure!(
                KernelVersion::current() < KernelVersion::new(6, 15, 0),
                "a function that never returns is a target"
            );
        }
    }
    Ok(())
}

/// Switches ftrace back on, also if the scenario fails.
struct FtraceGuard;

const SWITCH: &str = "/proc/sys/kernel/ftrace_enabled";

impl Drop for FtraceGuard {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, "1");
    }
}

fn ftrace_off(_: &mut Context) -> Result<()> {
    let btf = Btf::from_sys_fs()?;
    let mut counter = Counter::loaded(&btf)?;
    {
        let _guard = FtraceGuard;
        if fs::write(SWITCH, "0").is_err() {
            // From about 7.2 on ftrace cannot be switched off: then attach works.
            counter.program()?.attach()?;
            return expect(&[&counter.calls()], &[]);
        }
        let error = expect_error!(
            "attach with ftrace off",
            counter.program()?.attach() => ProgramError::AttachError { .. }
        )?;
        let text = error.to_string();
        ensure!(
            text.contains("kernel.ftrace_enabled=1"),
            "the error does not say what to do: {text}"
        );
    }
    let on = fs::read_to_string(SWITCH).context("reading the switch")?;
    ensure!(on.trim() == "1", "ftrace could not be switched on again");
    counter.program()?.attach()?;
    expect(&[&counter.calls()], &[])
}
