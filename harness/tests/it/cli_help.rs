//! Help, completions, manual pages and colours.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::Command};

use crate::{
    cli_terminal::on_a_terminal,
    support::{harness, run},
};

/// What every coloured text begins with.
const STYLE: &str = "\u{1b}[";

fn stdout(args: &[&str]) -> String {
    let ran = run(&mut harness(args));
    assert_eq!(ran.status, 0, "{args:?}: {}", ran.stderr);
    ran.stdout
}

/// The names of the commands, from the names of their manual pages.
fn manual_pages() -> Vec<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    stdout(&["man", dir.path().to_str().unwrap()]);
    let pages = fs::read_dir(dir.path()).unwrap();
    let pages = pages.map(|page| {
        let page = page.unwrap();
        let name = page.file_name().into_string().unwrap();
        (name, fs::read_to_string(page.path()).unwrap())
    });
    pages.collect()
}

#[test]
fn every_command_has_a_manual_page_and_help_without_stray_headings() {
    let pages = manual_pages();
    assert!(pages.len() > 20, "{pages:?}");
    for (file, page) in pages {
        assert!(page.contains(".SH SYNOPSIS"), "{file}: {page}");
        let command: Vec<_> = file.strip_suffix(".1").unwrap().split('-').collect();
        let help = stdout(&[&command[1..], &["--help"]].concat());
        // An option without a heading of its own is not under the heading of the group before it.
        let last = help.rsplit_once("Where kernels come from:");
        if let Some((_, last)) = last {
            for stray in ["--color", "--verbose", "--json", "--help", "--timeout"] {
                let line = last
                    .lines()
                    .any(|line| line.trim_start().starts_with(stray));
                assert!(!line, "{file}: {stray} is under a wrong heading:\n{help}");
            }
        }
    }
    let (_, run) = manual_pages()
        .into_iter()
        .find(|(file, _)| file == "harness-run.1")
        .unwrap();
    for part in ["\\-\\-kernel", ".SH KERNELS", "harness \\-\\-kernel all"] {
        assert!(run.contains(part), "no {part} in {run}");
    }
}

#[test]
fn help_has_headings_and_examples() {
    for args in [&["--help"][..], &["run", "--help"]] {
        let help = stdout(args);
        for part in [
            "Kernels:",
            "Objects and commands:",
            "Virtual machines:",
            "Output:",
            "Examples:\n  harness --kernel 5.10 ",
            "Exit status:",
        ] {
            assert!(help.contains(part), "{args:?}: no {part} in {help}");
        }
    }
}

#[test]
fn list_is_the_same_as_a_command_and_as_an_option() {
    let list = stdout(&["list", "--scenario", "attach*"]);
    assert!(list.contains("attach_twice") && !list.contains("cookie"));
    assert_eq!(stdout(&["--list", "--scenario", "attach*"]), list);
    assert_eq!(stdout(&["run", "--list", "--scenario", "attach*"]), list);
}

#[test]
fn manual_pages_need_a_folder() {
    let ran = run(&mut harness(&["man", "/nowhere"]));
    ran.one_error(2, &["manual pages", "/nowhere", "No such file"]);
}

#[test]
fn bash_completes_commands_and_options() {
    let script = r#"
        source <("$0" completions bash) || exit
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _harness harness "${@: -1}" "${@: -2:1}"
        echo "${COMPREPLY[@]}"
    "#;
    let complete = |words: &[&str]| {
        let harness = harness(&[]);
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script])
            .arg(harness.get_program());
        let ran = run(bash.arg("harness").args(words));
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        ran.stdout.trim().to_owned()
    };
    assert_eq!(complete(&["--kernel"]), "--kernel --kernel-image");
    assert_eq!(complete(&["veri"]), "veristat");
    assert_eq!(complete(&["exec", "--mem"]), "--memory");
    assert_eq!(complete(&["exec", "--accel", "k"]), "kvm");
    assert_eq!(complete(&["nothing"]), "");
}

#[test]
fn fish_completes_commands_and_options() {
    let complete = |line: &str| {
        let script = stdout(&["completions", "fish"]) + "\ncomplete -C " + &format!("'{line}'");
        let ran = run(Command::new("fish").args(["--no-config", "-c", &script]));
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        let words = ran.stdout.lines();
        let words = words.map(|line| line.split('\t').next().unwrap().to_owned());
        words.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(complete("harness veri"), "veristat");
    assert_eq!(complete("harness exec --mem"), "--memory");
    assert_eq!(complete("harness exec --accel k"), "kvm");
}

#[test]
fn zsh_accepts_the_syntax_of_its_completions() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("_harness");
    let parse = || run(Command::new("zsh").arg("-n").arg(&file));
    fs::write(&file, stdout(&["completions", "zsh"])).unwrap();
    let ran = parse();
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    fs::write(&file, "if").unwrap();
    assert_ne!(parse().status, 0);
}

#[test]
fn color_is_on_for_terminals_and_obeys_the_option_and_no_color() {
    for wrong in [&["--kernel", "4.19"][..], &["--no-such-option"]] {
        let on_terminal = |color: &[&str], variable: &str| {
            let mut command = harness(&[color, wrong].concat());
            command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
            let (ran, shown) = on_a_terminal(command.env(variable, "1"));
            assert_eq!(ran.status, 2, "{shown}");
            shown.contains(STYLE)
        };
        assert!(on_terminal(&[], "UNUSED"), "{wrong:?}");
        assert!(!on_terminal(&[], "NO_COLOR"), "{wrong:?}");
        assert!(!on_terminal(&["--color", "never"], "UNUSED"), "{wrong:?}");
        assert!(!on_terminal(&["--color=never"], "UNUSED"), "{wrong:?}");
        assert!(on_terminal(&["--color", "always"], "NO_COLOR"), "{wrong:?}");

        let into_pipe = |color: &[&str]| {
            let ran = run(&mut harness(&[color, wrong].concat()));
            assert_eq!(ran.status, 2, "{}", ran.stderr);
            ran.stderr.contains(STYLE)
        };
        assert!(!into_pipe(&[]) && !into_pipe(&["--color", "auto"]));
        assert!(into_pipe(&["--color", "always"]), "{wrong:?}");
    }
    let ran = run(&mut harness(&["--color", "sometimes", "--kernel", "5.10"]));
    ran.one_error(2, &["'sometimes'", "auto, always, never"]);
}
