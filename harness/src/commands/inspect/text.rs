//! The text form of `harness inspect`.

use std::fmt::Write as _;

use super::model::{ObjectInfo, ProgramInfo};
use super::on_kernels::{MissingInfo, OnKernel};
use crate::commands::kernel_files::Files;
use crate::support::sanitize::one_line;

/// The number of shown rows of each kind; `--json` has all.
const ROWS: usize = 200;

/// What the answers about kernels cannot tell.
pub(super) fn limits(kernels: &[Files]) -> &'static str {
    match kernels {
        [] => "",
        _ => {
            "\nfine: BTF and configuration show nothing that is missing. They do not show what the verifier refuses, which \
             helpers\nand kfuncs a program type may call, the kernel's deny list, and functions of which only a changed copy \
             has a symbol.\n"
        }
    }
}

/// The text for an object.
pub(super) fn page(object: &ObjectInfo) -> String {
    let mut page = String::new();
    let license = if object.license.is_empty() {
        "no licence".to_owned()
    } else {
        format!("licence {}", object.license)
    };
    line(&mut page, &format!("{}: {license}", object.path));
    let earliest = match (&object.minimum, object.programs.is_empty()) {
        (Some(minimum), _) => format!(
            "earliest kernel of {} for all programs: {minimum}",
            object.arch
        ),
        (None, true) => "it has no program that is loaded here".to_owned(),
        (None, false) => format!("no kernel of {} may run all of its programs", object.arch),
    };
    line(&mut page, &earliest);
    rows(&mut page, "", &object.programs, program);
    rows(
        &mut page,
        "\nprograms whose type is not loaded here:",
        &object.not_ours,
        |page, other| {
            line(
                page,
                &format!(
                    "  {:<24}  {} (section {})",
                    other.name, other.kind, other.section
                ),
            );
        },
    );
    rows(&mut page, "\nmaps:", &object.maps, |page, map| {
        line(
            page,
            &format!(
                "  {:<24}  {:<16}  key {}, value {}, {} entries, about {}",
                map.name,
                map.kind,
                map.key_size,
                map.value_size,
                map.max_entries,
                amount(map.bytes)
            ),
        );
    });
    rows(
        &mut page,
        "\nglobal variables:",
        &object.globals,
        |page, global| {
            line(
                page,
                &format!(
                    "  {:<24}  {:<16}  {} bytes",
                    global.name, global.section, global.size
                ),
            );
        },
    );
    page
}

fn program(page: &mut String, program: &ProgramInfo) {
    let sleeps = if program.is_sleepable {
        ", may sleep"
    } else {
        ""
    };
    line(
        page,
        &format!(
            "\nprogram {}: {}{sleeps}, {} instructions",
            program.name, program.kind, program.instructions
        ),
    );
    let attach_type = program
        .attach_type
        .map_or_else(String::new, |name| format!(", {name}"));
    field(
        page,
        "type",
        &format!("{}{attach_type}", program.program_type),
    );
    match program.target.as_deref() {
        Some(target) => field(page, "target", target),
        None if program.attached => {
            field(
                page,
                "target",
                "none in its section: say --target PROG=FUNCTION",
            );
        }
        None => {}
    }
    list(page, "maps", &program.maps);
    let helpers: Vec<_> = program
        .helpers
        .iter()
        .map(|helper| helper.name.clone())
        .collect();
    list(page, "helpers", &helpers);
    list(page, "kfuncs", &program.kfuncs);
    list(page, "externs", &program.externs);
    let core = program.core.iter().map(|need| {
        let member = need
            .member
            .as_deref()
            .map_or_else(String::new, |m| format!(".{m}"));
        let optional = if need.optional {
            ", can do without"
        } else {
            ""
        };
        format!("{}{member} ({}{optional})", need.type_name, need.what)
    });
    list(page, "types", &core.collect::<Vec<_>>());
    let earliest = program.minimum.as_deref().unwrap_or("no kernel may run it");
    field(page, "earliest", earliest);
    for requirement in program.requirements.iter().take(ROWS) {
        let minimum = requirement.minimum.as_deref().unwrap_or("never");
        line(
            page,
            &format!(
                "    {minimum:<6} {} ({})",
                requirement.what, requirement.source
            ),
        );
    }
    kernels(page, &program.kernels);
}

/// Kernels with the same answer stand on one line.
fn kernels(page: &mut String, all: &[OnKernel]) {
    let mut groups: Vec<(Vec<&str>, &OnKernel)> = Vec::new();
    for one in all {
        let same = |group: &&mut (Vec<&str>, &OnKernel)| {
            (group.1.verdict, &group.1.missing) == (one.verdict, &one.missing)
        };
        match groups.iter_mut().find(same) {
            Some((names, _)) => names.push(&one.kernel),
            None => groups.push((vec![&one.kernel], one)),
        }
    }
    for (names, one) in groups {
        line(
            page,
            &format!("  {:<8}  on {}", one.verdict, names.join(", ")),
        );
        let rows = one.missing.iter().take(ROWS);
        rows.for_each(|missing| line(page, &missing_row(missing)));
    }
}

fn missing_row(missing: &MissingInfo) -> String {
    let similar = match missing.suggestions.as_slice() {
        [] => String::new(),
        names => format!("; similar: {}", names.join(", ")),
    };
    let MissingInfo {
        kind, name, reason, ..
    } = missing;
    format!("    {kind} {name}: {reason}{similar}")
}

fn list(page: &mut String, name: &str, values: &[String]) {
    if values.is_empty() {
        return;
    }
    let mut shown = values[..values.len().min(ROWS)].join(", ");
    if values.len() > ROWS {
        let _ = write!(shown, " and {} more", values.len() - ROWS);
    }
    field(page, name, &shown);
}

fn field(page: &mut String, name: &str, value: &str) {
    line(page, &format!("  {name:<8}  {value}"));
}

fn rows<T>(page: &mut String, title: &str, all: &[T], show: impl Fn(&mut String, &T)) {
    if all.is_empty() {
        return;
    }
    if !title.is_empty() {
        page.push_str(title);
        page.push('\n');
    }
    all.iter().take(ROWS).for_each(|one| show(page, one));
    if all.len() > ROWS {
        line(
            page,
            &format!("  ... and {} more: --json has all", all.len() - ROWS),
        );
    }
}

/// One line without control characters.
fn line(page: &mut String, text: &str) {
    let text = text.strip_prefix('\n').map_or(text, |rest| {
        page.push('\n');
        rest
    });
    page.push_str(&one_line(text));
    page.push('\n');
}

fn amount(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}
