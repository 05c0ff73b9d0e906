//! The published schema accepts reports of the harness, and refuses invalid ones.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::validator;
use serde_json::{Value, json};

fn report() -> Value {
    let scenario = |id: &str, expected: &str, refusal: Value, error: Value| {
        json!({
            "id": id, "feature": "cookie", "minimum": "5.19", "expected": expected, "outcome": expected,
            "verdict": "ok", "duration_us": 8120, "error": error, "refusal": refusal,
            "backported": false, "splat": null, "measurements": { "fexit_ns": 57 }
        })
    };
    let refusal = json!({ "feature": "cookie", "minimum": "5.19" });
    json!({
        "schema_version": 2, "harness": "0.1.0", "verdict": "ok",
        "kernels": [{
            "requested": "5.10", "arch": "x86_64", "release": "5.10.0-46-cloud-amd64", "version": "5.10.262",
            "source": { "kind": "debian" }, "accelerator": "tcg", "accelerator_reason": "asked for",
            "qemu_version": "7.2.22", "memory_mb": 512, "command_line": "console=ttyS0",
            "qemu_command": "qemu-system-x86_64", "attempts": 1, "verdict": "ok", "error": null,
            "console_tail": [], "warnings": [],
            "phases_ms": {
                "resolve": 1, "fetch": 1, "image": 1, "boot": 1, "scenarios": 1, "total": 5
            },
            "scenarios": [
                scenario("attach", "passed", Value::Null, Value::Null),
                scenario("cookie", "unsupported", refusal, json!("no cookies")),
            ]
        }],
        "minimums": [{
            "arch": "x86_64", "feature": "cookie", "claimed": "5.19", "refused_up_to": "5.10", "passed_from": null,
            "backported_on": [], "confirmed": "one-side"
        }]
    })
}

#[test]
fn valid_report_passes_the_schema_even_with_unknown_fields() {
    validator().validate(&report()).unwrap();
    let mut newer = report();
    newer["kernels"][0]["added_later"] = json!({});
    validator().validate(&newer).unwrap();
}

#[test]
fn invalid_values_fail_the_schema() {
    let kernel = "/kernels/0";
    let attach = "/kernels/0/scenarios/0";
    let cookie = "/kernels/0/scenarios/1";
    for (place, field, value) in [
        ("", "schema_version", json!(1)),
        ("", "verdict", json!("fine")),
        (kernel, "requested", json!("")),
        (kernel, "arch", json!("mips")),
        (kernel, "accelerator", json!("xen")),
        (kernel, "error", json!("ok, yet with an error")),
        (kernel, "verdict", json!("infra")), // without an error
        (kernel, "console_tail", json!(["of a run that was not ok"])),
        (kernel, "release", Value::Null),
        (kernel, "scenarios", json!([])),     // ok without a result
        (attach, "verdict", json!("not-ok")), // without an error
        (attach, "outcome", json!("exploded")),
        (attach, "outcome", json!("failed")), // ok although it failed
        (attach, "expected", Value::Null),
        (attach, "duration_us", json!(-1)),
        (attach, "minimum", json!("soon")),
        (attach, "id", json!("Attach twice")),
        (cookie, "refusal", Value::Null), // a refusal must name feature and minimum
        ("/minimums/0", "confirmed", json!("perhaps")),
        ("/minimums/0", "arch", Value::Null),
    ] {
        let mut broken = report();
        broken.pointer_mut(place).unwrap()[field] = value.clone();
        assert!(
            !validator().is_valid(&broken),
            "{place}/{field} = {value} is taken"
        );
    }
}

#[test]
fn missing_fields_fail_the_schema() {
    for place in [
        "",
        "/kernels/0",
        "/kernels/0/phases_ms",
        "/kernels/0/scenarios/0",
        "/minimums/0",
    ] {
        let whole = report();
        let fields: Vec<_> = whole
            .pointer(place)
            .unwrap()
            .as_object()
            .unwrap()
            .keys()
            .collect();
        for field in fields {
            let mut broken = report();
            broken
                .pointer_mut(place)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .remove(field);
            assert!(
                !validator().is_valid(&broken),
                "{place} without {field} is taken"
            );
        }
    }
}
