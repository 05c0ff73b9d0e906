//! The tools of `examples/` as a user runs them, in a real VM.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::process::Stdio;

use crate::support::{Ran, build_programs, harness, run};
use serde_json::Value;

const TOOLS: [&str; 3] = ["slowopen", "tcpconnect", "vfslat"];

/// What each tool is shown. Its exit status is that of the command behind `--`.
const SCRIPT: &str = r#"
set -u
slowopen --json --failed -- bash -c 'exec < "/no such/file"'
echo "status $?"
tcpconnect --json -- bash -c 'exec 3<> /dev/tcp/127.0.0.1/9'
echo "status $?"
vfslat --json --slower-than 0 -- bash -c 'echo hello > /tmp/greeting'
echo "status $?"
slowopen --duration 0.2 --min-us 3600000000
echo "status $?"
export RUST_BACKTRACE=1
(ulimit -n 4; slowopen --duration 0.2)
echo "status $?"
"#;

#[test]
fn each_example_tool_reports_events_and_ends_with_its_command() {
    let dir = build_programs();
    let mut exec = harness(&["exec", "--kernel", "5.10"]);
    for tool in TOOLS {
        exec.arg("--file")
            .arg(format!("{}:/usr/bin/{tool}", dir.join(tool).display()));
    }
    exec.args(["--", "bash", "-c", SCRIPT]).stdin(Stdio::null());
    let Ran {
        status,
        stdout,
        stderr,
    } = run(&mut exec);
    assert_eq!(status, 0, "{stderr}");
    let said = |is_expected: &dyn Fn(&Value) -> bool| {
        let mut records = stdout
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        assert!(records.any(|record| is_expected(&record)), "{stdout}");
    };
    said(&|open| open["path"] == "/no such/file" && open["errno"] == 2 && open["comm"] == "bash");
    said(&|connection| {
        connection["remote"] == "127.0.0.1:9"
            && connection["outcome"] == "failed"
            && connection["errno"] == 111
    });
    said(&|slow| slow["name"] == "greeting" && slow["result"] == 6 && slow["operation"] == "write");
    said(&|histogram| histogram["operation"] == "write" && histogram["count"].as_u64() > Some(0));
    let beginning = |text: &str| -> Vec<&str> {
        let lines = stdout.lines().map(str::trim_start);
        lines.filter(|line| line.starts_with(text)).collect()
    };
    let statuses = ["status 1", "status 1", "status 0", "status 0", "status 1"];
    assert_eq!(beginning("status"), statuses, "{stdout}");
    assert_eq!(beginning("PID").len(), 1, "{stdout}");
    let errors = stderr.lines().filter(|line| line.starts_with("error: "));
    let [error] = errors.collect::<Vec<_>>()[..] else {
        panic!("{stderr}")
    };
    assert_eq!(error.matches("os error 24").count(), 1, "{error}");
    assert!(!stderr.contains("backtrace"), "{stderr}");
}
