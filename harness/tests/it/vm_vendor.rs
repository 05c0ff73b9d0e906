//! Kernels of vendors: what they have below its minimum is a backport, and not on a mainline kernel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::{harness, run};

const BACKPORT: &str = "selftest_backport";

#[test]
fn pass_below_the_minimum_is_a_backport_on_a_vendor_kernel_only() {
    for (more, tree, status) in [(&[][..], "mainline", 1), (&["--vendor"], "vendor", 0)] {
        let args = ["--kernel", "5.10", "--scenario", BACKPORT];
        let page = tempfile::NamedTempFile::new().unwrap();
        let page = page.path().to_str().unwrap();
        let mut command = harness(&args);
        let ran = run(command.args(["--markdown", page]).args(more));
        assert_eq!(ran.status, status, "{}", ran.stderr);
        let report = ran.report();
        let kernel = &report["kernels"][0];
        assert_eq!(kernel["tree"], tree);
        let scenario = &kernel["scenarios"][0];
        let is_vendor = tree == "vendor";
        assert_eq!(scenario["outcome"], "passed");
        assert_eq!(scenario["backported"], is_vendor);
        assert_eq!(scenario["in_btf"], serde_json::Value::Null);
        assert_eq!(scenario["backports"][0], "a helper of the future (65535.0)");
        let minimum = &report["minimums"][0];
        assert_eq!(minimum["feature"], "many-arguments");
        let page = std::fs::read_to_string(page).unwrap();
        if is_vendor {
            assert_eq!(minimum["backported_on"][0], "5.10");
            assert_eq!(minimum["confirmed"], "unconfirmed");
            assert!(
                page.contains("| 6.6 | ✅ backported, by behaviour |"),
                "{page}"
            );
            ran.says(&[
                "5.10: backported by its vendor: many-arguments (6.6), a helper of the future",
            ]);
        } else {
            assert_eq!(minimum["confirmed"], "contradicted");
            assert!(page.contains("| 6.6 | ❌ passed |"), "{page}");
            ran.says(&["passed on 5.10", "below its claimed minimum", "--vendor"]);
        }
    }
}
