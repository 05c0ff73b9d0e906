//! Mutation tests: breaks the library in a copy of the tree, and requires that the unit tests fail there, and the
//! scenario of that part if it has one.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

/// One way to break the library.
struct Mutant {
    /// What is broken.
    name: &'static str,
    /// The scenario that must fail; if none, only the unit tests must.
    scenario: Option<&'static str>,
    file: &'static str,
    /// The text that is replaced; it occurs exactly once in the file.
    find: &'static str,
    replace: &'static str,
}

const TRAMPOLINE: &str = "fexit/src/programs/trampoline.rs";

const MUTANTS: &[Mutant] = &[
    vm(
        "attach does nothing",
        "attach",
        TRAMPOLINE,
        "let mut fd = self.try_attach(cookie);",
        r#"let mut fd = std::fs::File::open("/dev/null").map(OwnedFd::from);"#,
    ),
    vm(
        "detach leaves the link open",
        "detach",
        TRAMPOLINE,
        "        link.detach()\n",
        "        std::mem::forget(link);\n        Ok(())\n",
    ),
    vm(
        "take_link hands out another descriptor",
        "take_link",
        TRAMPOLINE,
        "self.links.take(link_id)",
        r#"let link = self.links.take(link_id)?;
        self.links.insert(link);
        std::fs::File::open("/dev/null")
            .map(|file| TracingLink::new(file.into()))
            .map_err(|_| ProgramError::NotAttached)"#,
    ),
    vm(
        "unload closes nothing",
        "unload",
        TRAMPOLINE,
        "self.links.clear();\n        self.data.unload()?;",
        "",
    ),
    vm(
        "unpin leaves the file",
        "pin_link",
        "fexit/src/programs/pin.rs",
        "fs::remove_file(&self.path)",
        "Ok(())",
    ),
    vm(
        "an ambiguous name is not refused",
        "ambiguous_name",
        "fexit/src/btf/ambiguity.rs",
        "Some(true) => btf.symbols().duplicates(name),",
        "Some(true) => Vec::new(),",
    ),
    vm(
        "lost records are not counted",
        "perf_event_array",
        "fexit/src/sys/perf_ring.rs",
        "self.word(body + 8)",
        "self.word(body + 16)",
    ),
    vm(
        "a link has another program",
        "link_info",
        "fexit/src/programs/info.rs",
        "program_id: info.prog_id,",
        "program_id: info.id,",
    ),
    vm(
        "the main function is taken for a subprogram",
        "subprogram_target",
        "fexit/src/programs/target.rs",
        "Some(_) => matches.first().copied(),",
        "Some(_) => names.first(),",
    ),
    unit(
        "a link is created without its cookie",
        "fexit/src/sys/program.rs",
        "        cookie,\n        ..LinkCreateAttr",
        "        cookie: cookie & 0,\n        ..LinkCreateAttr",
    ),
    unit(
        "a link on many functions is created without their cookies",
        "fexit/src/sys/program.rs",
        "cookies: addr(cookies),",
        "cookies: addr(&cookies[..0]),",
    ),
    unit(
        "a link is created with another attach type",
        "fexit/src/sys/program.rs",
        "        attach_type,\n        cookie",
        "        attach_type: attach_type - 1,\n        cookie",
    ),
    unit(
        "a program is loaded with another attach type",
        "fexit/src/sys/program.rs",
        "expected_attach_type: prog.expected_attach_type,",
        "expected_attach_type: prog.expected_attach_type & !1,",
    ),
    unit(
        "a program is loaded for another function",
        "fexit/src/sys/program.rs",
        "attach_btf_id: prog.attach_btf_id,",
        "attach_btf_id: prog.attach_btf_id + 1,",
    ),
    unit(
        "a program is loaded without the descriptor of its target",
        "fexit/src/sys/program.rs",
        "attach_fd: prog.attach_fd.map_or(0, raw),",
        "attach_fd: prog.attach_fd.map_or(0, |_| 0),",
    ),
    unit(
        "a program is loaded without its flags",
        "fexit/src/sys/program.rs",
        "prog_flags: prog.flags,",
        "prog_flags: prog.flags & 0,",
    ),
    unit(
        "the older attach call drops a cookie",
        TRAMPOLINE,
        "if cookie.is_none() && error",
        "if error",
    ),
    unit(
        "a map is created without its flags",
        "fexit/src/sys/map.rs",
        "map_flags: map.flags,",
        "map_flags: map.flags & 0,",
    ),
    unit(
        "another object is pinned",
        "fexit/src/sys/object.rs",
        "        bpf_fd: raw(fd),\n        file_flags",
        "        bpf_fd: raw(fd) + 1,\n        file_flags",
    ),
    unit(
        "a perf event of another type is opened",
        "fexit/src/sys/perf.rs",
        "PERF_COUNT_SW_BPF_OUTPUT: u64 = 10",
        "PERF_COUNT_SW_BPF_OUTPUT: u64 = 9",
    ),
    unit(
        "a record may be released after the next one is loaded",
        "fexit/src/sys/ring.rs",
        "        mmap::fence();\n",
        "",
    ),
    unit(
        "two fields of an attribute change places",
        "fexit/src/sys/attr.rs",
        "    retval: u32,\n    data_size_in: u32,\n",
        "    data_size_in: u32,\n    retval: u32,\n",
    ),
    unit(
        "the sizes of key and value change places",
        "fexit/src/sys/map.rs",
        "            key_size: map.key_size,\n            value_size: map.value_size,\n",
        "            key_size: map.value_size,\n            value_size: map.key_size,\n",
    ),
    unit(
        "the size of a ring buffer is not rounded",
        "fexit/src/maps/create.rs",
        "ring_size(size, sys::page_size()),",
        "size,",
    ),
    unit(
        "constants are not frozen",
        "fexit/src/maps/create.rs",
        "sys::map_freeze(fd.as_fd()).map_err(error(\"BPF_MAP_FREEZE\"))?;",
        "let _ = sys::map_freeze;",
    ),
    unit(
        "an element is written without its flags",
        "fexit/src/sys/map.rs",
        "elem(bpf_cmd::BPF_MAP_UPDATE_ELEM, map, key, addr(value), flags)",
        "elem(bpf_cmd::BPF_MAP_UPDATE_ELEM, map, key, addr(value), flags & 0)",
    ),
    unit(
        "information on functions is passed as that on lines",
        "fexit/src/sys/program.rs",
        "            line_info: addr(line_info.0),",
        "            line_info: addr(func_info.0),",
    ),
    unit(
        "before 5.13 a program is not loaded again",
        TRAMPOLINE,
        "if Feature::LinkTarget.missing().is_some() {",
        "if false {",
    ),
    unit(
        "a low limit on locked memory stays",
        "fexit/src/sys/mod.rs",
        "Some(libc::EPERM) && raise_memlock().is_ok()",
        "Some(libc::EPERM) && raise_memlock().is_err()",
    ),
];

/// A mutant that the unit tests and this scenario must kill.
const fn vm(
    name: &'static str,
    scenario: &'static str,
    file: &'static str,
    find: &'static str,
    replace: &'static str,
) -> Mutant {
    Mutant {
        scenario: Some(scenario),
        ..unit(name, file, find, replace)
    }
}

/// A mutant that no scenario is for.
const fn unit(
    name: &'static str,
    file: &'static str,
    find: &'static str,
    replace: &'static str,
) -> Mutant {
    Mutant {
        name,
        scenario: None,
        file,
        find,
        replace,
    }
}

/// The options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kernel that the scenarios run on
    #[arg(default_value = "5.10")]
    kernel: String,

    /// Run the unit tests only, which needs no VM
    #[arg(long)]
    unit: bool,

    /// Only the mutants whose names contain this text
    #[arg(long, default_value = "")]
    only: String,
}

pub(crate) fn run(shell: &Shell, root: &Path, args: &Args) -> Result<()> {
    // A target directory of its own: VMs may run from target/debug meanwhile.
    let target = root.join("target/mutants/target");
    let copy = root.join("target/mutants/tree");
    copy_tree(shell, &copy)?;
    shell.change_dir(&copy);
    let _target = shell.push_env("CARGO_TARGET_DIR", &target);
    let harness = target.join("debug/harness");
    let vm = |mutant: &Mutant| -> Result<Option<(&str, String)>> {
        let scenario = mutant.scenario.filter(|_| !args.unit);
        let outcome = |scenario| scenario_outcome(shell, &harness, scenario, &args.kernel);
        scenario
            .map(|scenario| Ok((scenario, outcome(scenario)?)))
            .transpose()
    };

    let mutants = || {
        MUTANTS
            .iter()
            .filter(|mutant| mutant.name.contains(&args.only))
    };
    let mut wrong = Vec::new();
    if unit_tests(shell)? != "passed" {
        wrong.push("the unit tests");
    }
    for mutant in mutants() {
        if let Some((scenario, outcome)) = vm(mutant)? {
            println!("{scenario}, unchanged: {outcome}");
            if outcome != "passed" {
                wrong.push(scenario);
            }
        }
    }
    for mutant in mutants() {
        let original = shell.read_file(root.join(mutant.file))?;
        ensure!(
            original.matches(mutant.find).count() == 1,
            "mutant `{}` no longer fits: {} must hold exactly once:\n{}",
            mutant.name,
            mutant.file,
            mutant.find
        );
        shell.write_file(mutant.file, original.replace(mutant.find, mutant.replace))?;
        let tests = unit_tests(shell)?;
        println!("{}: unit tests {tests}", mutant.name);
        let mut survives = tests == "passed";
        if let Some((scenario, outcome)) = vm(mutant)? {
            println!("{}: {scenario} {outcome}", mutant.name);
            survives |= outcome != "failed";
        }
        if survives {
            wrong.push(mutant.name);
        }
        shell.write_file(mutant.file, original)?;
    }
    if !wrong.is_empty() {
        bail!(
            "the tests and scenarios must pass unchanged and fail with each mutant, but did not: {}",
            wrong.join(", ")
        );
    }
    Ok(())
}

/// Runs the unit tests of system calls and links; an error if a mutant does not compile. Layouts are checked when the tests are
/// compiled.
fn unit_tests(shell: &Shell) -> Result<&'static str> {
    cmd!(shell, "cargo check --quiet --locked -p fexit")
        .quiet()
        .run()?;
    let tests = cmd!(
        shell,
        "cargo test --quiet --locked -p fexit --lib -- sys fexit_tests"
    )
    .quiet();
    let output = tests.ignore_status().ignore_stderr().output()?;
    Ok(if output.status.success() {
        "passed"
    } else {
        "failed"
    })
}

/// Copies the tracked and the untracked files, without ignored ones.
fn copy_tree(shell: &Shell, copy: &Path) -> Result<()> {
    shell.remove_path(copy)?;
    let files = cmd!(
        shell,
        "git ls-files -z --cached --others --exclude-standard"
    )
    .quiet()
    .read()?;
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        // git still lists a file that was deleted and not committed.
        if shell.path_exists(file) {
            let destination = copy.join(file);
            shell.create_dir(destination.parent().unwrap_or(copy))?;
            shell.copy_file(file, destination)?;
        }
    }
    Ok(())
}

fn scenario_outcome(shell: &Shell, harness: &Path, scenario: &str, kernel: &str) -> Result<String> {
    cmd!(shell, "cargo build --quiet --locked -p harness")
        .quiet()
        .run()?;
    // A scenario that fails gives exit status 1: the report has the outcome.
    let report = cmd!(shell, "{harness} --kernel {kernel} --scenario {scenario}")
        .quiet()
        .ignore_status()
        .ignore_stderr()
        .read()?;
    let report: Value = serde_json::from_str(&report)
        .with_context(|| format!("the harness gave no report for scenario `{scenario}`"))?;
    let outcome = report["kernels"][0]["scenarios"][0]["outcome"].as_str();
    Ok(outcome.unwrap_or("did not run").to_owned())
}
