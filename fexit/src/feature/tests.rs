use super::*;
use crate::btf::raw::Raw;
use crate::testing::btf;

#[test]
fn features_are_listed_once_and_oldest_first() {
    assert!(Feature::ALL.is_sorted_by_key(|feature| feature.minimum()));
    for feature in Feature::ALL {
        assert_eq!(Feature::from_name(feature.name()), Some(feature));
    }
}

#[test]
fn refusal_names_feature_minimum_and_running_kernel() {
    let refusal = Unsupported {
        feature: Feature::Cookie,
        minimum: Some(Feature::Cookie.minimum()),
        running: KernelVersion::new(5, 10, 0),
    };
    let on = match Arch::current() {
        Some(Arch::X86_64) => String::new(),
        arch => format!(" on {}", arch.unwrap()),
    };
    assert_eq!(
        refusal.to_string(),
        format!(
            "this kernel (5.10) lacks the feature `cookie`, which exists{on} from Linux 5.19 on"
        )
    );
    let never = Unsupported {
        minimum: None,
        ..refusal
    };
    let text = never.to_string();
    assert!(
        text.ends_with(&format!("which no release is known to have{on}")),
        "{text}"
    );
}

#[test]
fn other_architectures_got_features_with_what_they_are_built_on_or_never() {
    let on = |feature: Feature, arch| feature.minimum_on(arch).map(|minimum| minimum.to_string());
    for (feature, x86_64, arm64, s390x) in [
        (Feature::Fexit, Some("5.5"), Some("6.4"), Some("6.3")),
        (
            Feature::ProgramTarget,
            Some("5.5"),
            Some("6.0"),
            Some("6.3"),
        ),
        (
            Feature::BtfTracePoint,
            Some("5.5"),
            Some("5.5"),
            Some("5.5"),
        ),
        (
            Feature::TracingTarget,
            Some("6.8"),
            Some("6.8"),
            Some("6.8"),
        ),
        (Feature::Multi, Some("7.2"), None, None),
    ] {
        assert_eq!(on(feature, Arch::X86_64).as_deref(), x86_64, "{feature}");
        assert_eq!(on(feature, Arch::Arm64).as_deref(), arm64, "{feature}");
        assert_eq!(on(feature, Arch::S390x).as_deref(), s390x, "{feature}");
    }
    // Nothing was there before x86-64 had it.
    for feature in Feature::ALL {
        for minimum in Arch::ALL
            .into_iter()
            .filter_map(|arch| feature.minimum_on(arch))
        {
            assert!(minimum >= feature.minimum(), "{feature} {minimum}");
        }
    }
}

#[test]
fn arm64_without_direct_calls_has_no_feature_that_patches_functions() {
    let all = || Feature::ALL.into_iter();
    let without = Btf::from(Raw::parse(btf(&Feature::in_c(all()))).unwrap());
    let with = format!(
        "{}int register_ftrace_direct(void) {{ return 0; }}",
        Feature::in_c(all())
    );
    let with = Btf::from(Raw::parse(btf(&with)).unwrap());
    let arm64 = Some(Arch::Arm64);
    for feature in [
        Feature::Fexit,
        Feature::FModRet,
        Feature::Lsm,
        Feature::Sleepable,
    ] {
        assert_eq!(feature.is_in_on(arm64, &without), Some(false), "{feature}");
        assert_eq!(feature.is_in_on(arm64, &with), Some(true), "{feature}");
        assert_eq!(
            feature.is_in_on(Some(Arch::X86_64), &without),
            Some(true),
            "{feature}"
        );
        let refusal = feature
            .require_kernel_functions(arm64, &without)
            .unwrap_err();
        assert_eq!(
            refusal.minimum,
            Some(KernelVersion::new(6, 4, 0)),
            "{feature}"
        );
        assert!(feature.require_kernel_functions(arm64, &with).is_ok());
    }
    // These need none.
    for feature in [
        Feature::TracingTarget,
        Feature::BtfTracePoint,
        Feature::RingBuf,
    ] {
        assert_eq!(feature.is_in_on(arm64, &without), Some(true), "{feature}");
    }
    // Their types do not show what the architecture supports.
    for feature in [
        Feature::Multi,
        Feature::ProgramTarget,
        Feature::Cookie,
        Feature::Arena,
    ] {
        assert_eq!(feature.is_in_on(arm64, &with), None, "{feature}");
    }
    let older = all().filter(|feature| *feature != Feature::Multi);
    let older = format!(
        "{}int register_ftrace_direct(void) {{ return 0; }}",
        Feature::in_c(older)
    );
    let older = Btf::from(Raw::parse(btf(&older)).unwrap());
    assert_eq!(Feature::Multi.is_in_on(arm64, &older), Some(false));
}

#[test]
fn missing_rights_before_cap_bpf_are_no_missing_feature() {
    let refusal = Unsupported {
        running: KernelVersion::new(5, 4, 273),
        ..Feature::Capabilities.unsupported()
    };
    let text = refusal.to_string();
    for part in [
        "not permitted",
        "before Linux 5.8",
        "5.4",
        "takes CAP_SYS_ADMIN",
        "run as root",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("lacks"), "{text}");
}
