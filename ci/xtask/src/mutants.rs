//! Mutation tests: breaks the library in a copy of the tree, and requires that the scenario of that part fails there.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

/// One way to break the library.
struct Mutant {
    /// What is broken.
    name: &'static str,
    /// The scenario that must notice.
    scenario: &'static str,
    file: &'static str,
    /// The text that is replaced; it occurs exactly once in the file.
    find: &'static str,
    replace: &'static str,
}

const TRAMPOLINE: &str = "fexit/src/programs/trampoline.rs";

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "attach does nothing",
        scenario: "attach",
        file: TRAMPOLINE,
        find: "let mut fd = self.try_attach(cookie);",
        replace: r#"let mut fd = std::fs::File::open("/dev/null").map(OwnedFd::from);"#,
    },
    Mutant {
        name: "detach leaves the link open",
        scenario: "detach",
        file: TRAMPOLINE,
        find: "        link.detach()\n",
        replace: "        std::mem::forget(link);\n        Ok(())\n",
    },
    Mutant {
        name: "take_link hands out another descriptor",
        scenario: "take_link",
        file: TRAMPOLINE,
        find: "self.links.take(link_id)",
        replace: r#"let link = self.links.take(link_id)?;
        self.links.insert(link);
        std::fs::File::open("/dev/null")
            .map(|file| TracingLink::new(file.into()))
            .map_err(|_| ProgramError::NotAttached)"#,
    },
    Mutant {
        name: "unload closes nothing",
        scenario: "unload",
        file: TRAMPOLINE,
        find: "self.links.clear();\n        self.data.unload()?;",
        replace: "",
    },
];

/// The options.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kernel that the scenarios run on
    #[arg(default_value = "5.10")]
    kernel: String,
}

pub(crate) fn run(shell: &Shell, root: &Path, args: &Args) -> Result<()> {
    let target = root.join("target");
    let copy = target.join("mutants");
    copy_tree(shell, &copy)?;
    shell.change_dir(&copy);
    let _target = shell.push_env("CARGO_TARGET_DIR", &target);
    let harness = target.join("debug/harness");

    let mut wrong = Vec::new();
    for mutant in MUTANTS {
        let unchanged = scenario_outcome(shell, &harness, mutant.scenario, &args.kernel)?;
        println!("{}, unchanged: {unchanged}", mutant.scenario);
        if unchanged != "passed" {
            wrong.push(mutant.scenario);
        }
    }
    for mutant in MUTANTS {
        let original = shell.read_file(root.join(mutant.file))?;
        ensure!(
            original.matches(mutant.find).count() == 1,
            "mutant `{}` no longer fits: {} must hold exactly once:\n{}",
            mutant.name,
            mutant.file,
            mutant.find
        );
        shell.write_file(mutant.file, original.replace(mutant.find, mutant.replace))?;
        let outcome = scenario_outcome(shell, &harness, mutant.scenario, &args.kernel)?;
        println!("{}: {} {outcome}", mutant.name, mutant.scenario);
        if outcome != "failed" {
            wrong.push(mutant.name);
        }
        shell.write_file(mutant.file, original)?;
    }
    if !wrong.is_empty() {
        bail!(
            "these scenarios must pass unchanged, and these mutants must fail, but did not: {}",
            wrong.join(", ")
        );
    }
    Ok(())
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
