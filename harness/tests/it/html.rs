//! The HTML report in a real browser: Chromium or Chrome, without a window.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{fs, path::Path, sync::Arc};

use headless_chrome::{
    Browser, LaunchOptions, Tab,
    protocol::cdp::Emulation::{MediaFeature, SetDeviceMetricsOverride, SetEmulatedMedia},
};
use serde_json::{Value, json};

use crate::support::{harness, run};

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const HOSTILE: &str = "</script><script>hacked=1</script><img src=x onerror=hacked=1>\"'><b>";

/// A report on two kernels, with texts that are markup.
fn report() -> Value {
    let scenario = |id: &str, outcome: &str, verdict: &str, error: Value| {
        json!({
            "id": id, "feature": "fexit", "minimum": "5.5", "expected": "passed", "outcome": outcome,
            "verdict": verdict, "duration_us": 1000, "error": error, "refusal": null, "splat": null,
            "measurements": {"fexit_empty_added_ns": 57, "fexit_empty_added_spread": 3},
        })
    };
    let program = json!({
        "object": format!("{HOSTILE}.o"), "program": HOSTILE, "section": HOSTILE, "kind": "fexit", "target": HOSTILE,
        "optional": false, "verdict": "ok", "outcome": "works", "duration_us": 5, "stages": {}, "reason": null,
        "log": HOSTILE, "splat": null, "run_count": null, "mean_ns": null, "trigger": null, "maps": null,
        "globals": null, "notes": [HOSTILE],
        "verifier": {"instructions_processed": 20, "instruction_limit": 1_000_000, "total_states": 1,
            "peak_states": 1, "max_states_per_instruction": 1, "stack_depth": 0, "verification_time_us": 1,
            "instructions": 2, "longest_function": 2, "instructions_translated": 2, "jited_bytes": 20},
    });
    let kernel = |name: &str, version: &str, scenarios: Value| {
        json!({
            "requested": name, "release": version, "version": version, "source": null, "accelerator": null,
            "accelerator_reason": null, "qemu_version": null, "memory_mb": null, "command_line": null,
            "qemu_command": null, "attempts": 1, "verdict": "not-ok", "error": HOSTILE, "console_tail": [HOSTILE],
            "warnings": [], "phases_ms": {}, "scenarios": scenarios, "programs": [program],
        })
    };
    let passed = |id| scenario(id, "passed", "ok", Value::Null);
    json!({
        "schema_version": 1, "harness": "0.1.0", "verdict": "not-ok", "objects": [],
        "minimums": [{"feature": HOSTILE, "claimed": "5.5", "refused_up_to": null, "passed_from": "5.10",
            "confirmed": "one-side"}],
        "kernels": [
            kernel("5.10", "5.10.1", json!([passed("attach"), passed("overhead"),
                scenario("cookie", "failed", "not-ok", json!("it did not\nfire"))])),
            kernel(HOSTILE, "6.1.1", json!([passed("attach"), passed("overhead"), passed(HOSTILE)])),
        ],
    })
}

fn open(page: &Path) -> (Browser, Arc<Tab>) {
    let path = std::env::var_os("PATH").unwrap();
    let dirs: Vec<_> = std::env::split_paths(&path).collect();
    let mut places = BROWSERS
        .iter()
        .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
    let browser = places
        .find(|path| path.exists())
        .expect("a browser, which ci/setup --tests installs");
    let options = LaunchOptions::default_builder()
        .path(Some(browser))
        // Chromium does not start as root with its sandbox.
        .sandbox(!rustix::process::geteuid().is_root())
        .build();
    let browser = Browser::new(options.unwrap()).unwrap();
    let tab = browser.new_tab().unwrap();
    tab.navigate_to(&format!("file://{}", page.display()))
        .unwrap();
    tab.wait_for_element("#matrix").unwrap();
    (browser, tab)
}

fn evaluate(tab: &Tab, script: &str) -> Value {
    let result = tab.evaluate(script, false).unwrap();
    result.value.unwrap_or(Value::Null)
}

#[test]
fn page_opens_filters_and_shows_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let (json, page) = (
        dir.path().join("report.json"),
        dir.path().join("report.html"),
    );
    fs::write(&json, report().to_string()).unwrap();
    let (json, path) = (json.to_str().unwrap(), page.to_str().unwrap());
    let output = dir.path().join("merged.json");
    let ran = run(&mut harness(&[
        "report",
        json,
        "--html",
        path,
        "--output",
        output.to_str().unwrap(),
    ]));
    assert_eq!(ran.status, 1, "{}", ran.stderr);

    let (_browser, tab) = open(&page);
    let shown = "[...document.querySelectorAll('#matrix tbody tr:not([hidden]) th')].map(c => c.textContent).join()";
    let all = evaluate(&tab, shown);
    assert!(
        all.as_str().unwrap().starts_with("attach,overhead,cookie,"),
        "{all}"
    );

    // Each cell opens its details, by the keyboard too.
    evaluate(
        &tab,
        "document.querySelector('#matrix button.not-ok[popovertarget^=r]').focus()",
    );
    tab.press_key("Enter").unwrap();
    let open = "document.querySelector(':popover-open')?.innerText ?? ''";
    let details = evaluate(&tab, open);
    assert!(
        details.as_str().unwrap().contains("cookie on 5.10"),
        "{details}"
    );
    assert!(
        details.as_str().unwrap().contains("it did not\nfire"),
        "{details}"
    );
    tab.press_key("Escape").unwrap();
    assert_eq!(evaluate(&tab, open), "");

    // By text, and by verdict.
    tab.find_element("input[type=search]")
        .unwrap()
        .click()
        .unwrap();
    tab.type_str("COOK").unwrap();
    assert_eq!(evaluate(&tab, shown), "cookie");
    assert_eq!(
        evaluate(&tab, "document.querySelector('output').textContent"),
        "1 of 5 rows"
    );
    evaluate(
        &tab,
        "document.querySelector('input[type=search]').value = ''",
    );
    tab.find_element("input[name=ok]").unwrap().click().unwrap();
    assert_eq!(evaluate(&tab, shown), "cookie");

    // Texts of the guest are no markup, and the plots are there.
    assert_eq!(evaluate(&tab, "typeof hacked"), "undefined");
    assert_eq!(
        evaluate(
            &tab,
            "document.images.length + document.querySelectorAll('b').length"
        ),
        0
    );
    // Each plot names the kernel, and has something drawn inside of its axes.
    let plots = "[...document.querySelectorAll('figure > svg')].filter(svg => svg.textContent.includes('5.10') \
                 && svg.querySelector('polyline[stroke-width], polygon, rect[fill]:not([fill=\"#FFFFFF\"])')).length";
    assert_eq!(evaluate(&tab, plots), 3);

    // The page follows the system's colours, and fits on a phone.
    let background = "getComputedStyle(document.body).backgroundColor";
    let light = evaluate(&tab, background);
    let dark = MediaFeature {
        name: "prefers-color-scheme".into(),
        value: "dark".into(),
    };
    tab.call_method(SetEmulatedMedia {
        media: None,
        features: Some(vec![dark]),
    })
    .unwrap();
    assert_ne!(evaluate(&tab, background), light);
    tab.call_method(phone()).unwrap();
    let width = evaluate(&tab, "document.documentElement.scrollWidth");
    assert!(width.as_u64().unwrap() <= 390, "{width}");
}

fn phone() -> SetDeviceMetricsOverride {
    let metrics = json!({"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": true});
    serde_json::from_value(metrics).unwrap()
}
