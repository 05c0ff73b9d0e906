//! The verifier's figures of programs as a table: a row for each program and kernel.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::str::FromStr;

use anyhow::Result;
use protocol::program::VerifierFigures;

use super::{model::Report, program::ProgramReport};
use crate::support::sanitize::one_line;

/// A column: its names, of which the first is the heading, and its value in a row.
#[derive(Debug)]
struct Column {
    names: &'static [&'static str],
    value: fn(&Row<'_>) -> Value,
}

/// The columns, named as veristat names them.
const COLUMNS: [Column; 14] = [
    column(&["file", "filename", "file_name"], |row| {
        Value::Text(row.program.object.clone())
    }),
    column(&["prog", "progname", "prog_name"], |row| {
        Value::Text(row.program.program.clone())
    }),
    column(&["kernel"], |row| {
        Value::Kernel(row.place, row.kernel.to_owned())
    }),
    column(&["verdict"], |row| {
        Value::Text(verdict(row.program).to_owned())
    }),
    column(&["duration", "dur"], |row| {
        row.figure(|f| f.verification_time_us)
    }),
    column(&["insns", "total_insns"], |row| {
        row.figure(|f| Some(f.instructions_processed))
    }),
    column(&["insns_left"], |row| {
        row.figure(|f| Some(f.instruction_limit.saturating_sub(f.instructions_processed)))
    }),
    column(&["states", "total_states"], |row| {
        row.figure(|f| Some(f.total_states))
    }),
    column(&["peak_states"], |row| row.figure(|f| Some(f.peak_states))),
    column(&["stack", "stack_depth"], |row| {
        row.figure(|f| f.stack_depth.map(u64::from))
    }),
    column(&["prog_size"], |row| row.figure(|f| f.instructions)),
    column(&["longest"], |row| row.figure(|f| f.longest_function)),
    column(&["xlated"], |row| row.figure(|f| f.instructions_translated)),
    column(&["prog_size_jited", "jited"], |row| {
        row.figure(|f| f.jited_bytes)
    }),
];

const fn column(names: &'static [&'static str], value: fn(&Row<'_>) -> Value) -> Column {
    Column { names, value }
}

impl Column {
    fn heading(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }
}

/// The value of a cell, in the order in which a column is sorted: kernels as they were requested.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Kernel(usize, String),
    Text(String),
    Number(Option<u64>),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Kernel(_, text) | Self::Text(text) => one_line(text).into_owned(),
            Self::Number(number) => number.map_or_else(String::new, |number| number.to_string()),
        }
    }
}

/// A program on a kernel, which has a place in the report.
struct Row<'a> {
    place: usize,
    kernel: &'a str,
    program: &'a ProgramReport,
}

impl Row<'_> {
    fn figure(&self, figure: fn(&VerifierFigures) -> Option<u64>) -> Value {
        Value::Number(self.program.result.verifier.as_ref().and_then(figure))
    }
}

/// Whether it was loaded, as veristat says it; else why it was not tried.
fn verdict(program: &ProgramReport) -> &'static str {
    match program.result.stages.load {
        Some(stage) if stage.ok => "success",
        Some(_) => "failure",
        None => program.result.outcome.name(),
    }
}

/// A column to sort by. Without a sign, texts are ascending and numbers descending.
#[derive(Clone, Copy, Debug)]
pub struct SortKey {
    column: &'static Column,
    descending: Option<bool>,
}

impl FromStr for SortKey {
    type Err = String;

    /// `FIELD`, or `FIELD^` for ascending, or `FIELDv`, `FIELD.`, `FIELD!` or `FIELD_` for descending.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, descending) = if let Some(name) = text.strip_suffix('^') {
            (name, Some(false))
        } else if let Some(name) = text.strip_suffix(['v', 'V', '.', '!', '_']) {
            (name, Some(true))
        } else {
            (text, None)
        };
        let column = COLUMNS.iter().find(|column| column.names.contains(&name));
        let column = column.ok_or_else(|| {
            let fields: Vec<_> = COLUMNS.iter().map(Column::heading).collect();
            format!(
                "there is no field `{name}`; the fields are {}",
                fields.join(", ")
            )
        })?;
        Ok(Self { column, descending })
    }
}

impl SortKey {
    fn compare(&self, a: &Row<'_>, b: &Row<'_>) -> Ordering {
        let (a, b) = ((self.column.value)(a), (self.column.value)(b));
        let descending = self.descending.unwrap_or(matches!(a, Value::Number(_)));
        let order = a.cmp(&b);
        if descending { order.reverse() } else { order }
    }
}

/// Headings and rows, sorted.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<Value>>,
}

impl Table {
    /// A row for each program and kernel, by `sort`, then by file, program and kernel.
    pub fn new(report: &Report, sort: &[SortKey]) -> Self {
        let mut rows = Vec::new();
        for (place, kernel) in report.kernels.iter().enumerate() {
            rows.extend(kernel.programs.iter().map(|program| Row {
                place,
                kernel: &kernel.requested,
                program,
            }));
        }
        let usual = COLUMNS.iter().take(3).map(|column| SortKey {
            column,
            descending: None,
        });
        let keys: Vec<SortKey> = sort.iter().copied().chain(usual).collect();
        rows.sort_by(|a, b| {
            let orders = keys.iter().map(|key| key.compare(a, b));
            orders.fold(Ordering::Equal, Ordering::then)
        });
        let cells = |row: &Row<'_>| COLUMNS.iter().map(|column| (column.value)(row)).collect();
        Self {
            rows: rows.iter().map(cells).collect(),
        }
    }

    /// The headings.
    pub(super) fn headings() -> [&'static str; COLUMNS.len()] {
        COLUMNS.each_ref().map(Column::heading)
    }

    /// The texts of the rows that have figures.
    pub(super) fn verified(&self) -> impl Iterator<Item = Vec<String>> {
        let has_figures = |row: &&Vec<Value>| {
            row.iter()
                .any(|value| matches!(value, Value::Number(Some(_))))
        };
        self.rows
            .iter()
            .filter(has_figures)
            .map(|row| row.iter().map(Value::text).collect())
    }

    /// Aligned columns for people.
    pub fn text(&self) -> String {
        let texts: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(Value::text).collect())
            .collect();
        let width = |at: usize, heading: &str| {
            let cells = texts.iter().filter_map(|row| row.get(at));
            let widths = cells.map(|cell| cell.chars().count());
            widths.chain([heading.len()]).max().unwrap_or_default()
        };
        let headings = Self::headings().map(str::to_owned).to_vec();
        let widths: Vec<_> = headings
            .iter()
            .enumerate()
            .map(|(at, heading)| width(at, heading))
            .collect();
        let is_number = |at: usize| {
            let first = self.rows.first().and_then(|row| row.get(at));
            matches!(first, Some(Value::Number(_)))
        };
        let mut text = String::new();
        for row in [&headings].into_iter().chain(&texts) {
            let mut line = String::new();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = match is_number(at) {
                    true => write!(line, "{cell:>width$}  "),
                    false => write!(line, "{cell:<width$}  "),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// Comma-separated values.
    pub fn csv(&self) -> Result<String> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(Self::headings())?;
        for row in &self.rows {
            csv.write_record(row.iter().map(Value::text))?;
        }
        Ok(String::from_utf8(csv.into_inner()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initramfs::bpf_objects::Programs;
    use crate::report::{model::KernelReport, observed};
    use protocol::program::Stage;

    /// A program: whether it was loaded, the instructions processed and the peak states.
    type Loaded<'a> = (&'a str, Option<bool>, Option<[u64; 2]>);

    /// The programs on two kernels.
    fn report(programs: &[Loaded<'_>]) -> Report {
        let kernel = |requested: &str| {
            let names: Vec<_> = programs.iter().map(|(name, ..)| *name).collect();
            let mut kernel = KernelReport {
                requested: requested.into(),
                programs: observed::programs::none_reached(&Programs::named(&names), "test"),
                ..KernelReport::default()
            };
            for (program, (_, ok, figures)) in kernel.programs.iter_mut().zip(programs) {
                program.result.stages.load = ok.map(|ok| Stage { ok, us: 1 });
                program.result.verifier = figures.map(|[processed, peak_states]| VerifierFigures {
                    instructions_processed: processed,
                    instruction_limit: 1_000_000,
                    peak_states,
                    jited_bytes: Some(425),
                    ..VerifierFigures::default()
                });
            }
            kernel
        };
        Report::new(vec![kernel("5.10"), kernel("6.1")])
    }

    /// Program and kernel of each row.
    fn order(report: &Report, sort: &[&str]) -> Vec<String> {
        let sort: Vec<SortKey> = sort.iter().map(|key| key.parse().unwrap()).collect();
        let table = Table::new(report, &sort);
        let name = |row: &Vec<Value>| format!("{} {}", row[1].text(), row[2].text());
        table.rows.iter().map(name).collect()
    }

    #[test]
    fn rows_are_sorted_by_fields_and_then_by_program_and_kernel() {
        let report = report(&[
            ("b", Some(true), Some([7, 1])),
            ("a", Some(false), None),
            ("c", Some(true), Some([9, 1])),
        ]);
        let by_name = ["a 5.10", "a 6.1", "b 5.10", "b 6.1", "c 5.10", "c 6.1"];
        let by_insns = ["c 5.10", "c 6.1", "b 5.10", "b 6.1", "a 5.10", "a 6.1"];
        assert_eq!(order(&report, &[]), by_name);
        for descending in ["insns", "total_insns", "insnsv", "insns!", "insns_"] {
            assert_eq!(order(&report, &[descending]), by_insns, "{descending}");
        }
        assert_eq!(order(&report, &["insns^"]), by_name);
        assert_eq!(
            order(&report, &["peak_states", "prog!"]),
            ["c 5.10", "c 6.1", "b 5.10", "b 6.1", "a 5.10", "a 6.1"]
        );
        // Kernels are in the order of the request: 5.10 is not before 5.4 or after 6.1.
        assert_eq!(order(&report, &["kernelv"])[..2], ["a 6.1", "b 6.1"]);
        assert_eq!(order(&report, &["verdict"])[..1], ["a 5.10"]);
    }

    #[test]
    fn unknown_field_is_refused_with_the_list_of_fields() {
        for bad in ["weight", "", "insns^^", "-insns"] {
            let error = bad.parse::<SortKey>().unwrap_err();
            assert!(
                error.contains("there is no field `") && error.contains("prog, kernel, verdict"),
                "{error}"
            );
        }
        for column in &COLUMNS {
            for name in column.names {
                let key: SortKey = name.parse().unwrap();
                assert_eq!(key.column.heading(), column.heading());
            }
        }
    }

    #[test]
    fn table_is_aligned_and_has_refused_and_skipped_programs() {
        let report = report(&[
            ("accepted", Some(true), Some([1234, 5])),
            ("missing", Some(false), None),
            ("untried", None, None),
        ]);
        let text = Table::new(&report, &["kernel".parse().unwrap()]).text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "file        prog      kernel  verdict  duration  insns  insns_left  states  peak_states  stack  prog_size  \
             longest  xlated  prog_size_jited"
        );
        let accepted = "test.bpf.o  accepted  5.10    success             1234      998766       0            5  ";
        assert!(lines[1].starts_with(accepted), "{text}");
        assert!(lines[1].ends_with("  425"), "{text}");
        assert_eq!(lines[1].len(), lines[0].len(), "{text}");
        assert_eq!(lines[2], "test.bpf.o  missing   5.10    failure");
        assert_eq!(lines[3], "test.bpf.o  untried   5.10    skipped");
        assert_eq!(lines.len(), 7);
    }

    #[test]
    fn csv_quotes_what_is_special_and_escapes_control_characters() {
        let mut report = report(&[("on_read", Some(true), Some([12, 3]))]);
        report.kernels.truncate(1);
        report.kernels[0].programs[0].object = "a,\"b\"\n.o".into();
        assert_eq!(
            Table::new(&report, &[]).csv().unwrap(),
            "file,prog,kernel,verdict,duration,insns,insns_left,states,peak_states,stack,prog_size,longest,xlated,\
             prog_size_jited\n\
             \"a,\"\"b\"\"\\u{a}.o\",on_read,5.10,success,,12,999988,0,3,,,,,425\n"
        );
    }

    #[test]
    fn only_verified_programs_have_figures() {
        let report = report(&[("a", Some(true), Some([1, 1])), ("b", Some(false), None)]);
        let table = Table::new(&report, &[]);
        let names: Vec<_> = table.verified().map(|row| row[1..3].join(" ")).collect();
        assert_eq!(names, ["a 5.10", "a 6.1"]);
    }
}
