use super::*;
use crate::kernels::catalog::lock::Lock;

/// The series of Debian, and two more that are not in `all`.
fn matrix() -> Matrix {
    let names = [
        "5.10", "6.1", "6.12", "6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3",
    ];
    let locked = |name: &&str| {
        format!(
            "[[kernel]]\nseries = '{name}'\nversion = '{name}.1'\nsource = 's'\nverified_by = ''\n\
             [[kernel.package]]\nname = ''\nversion = ''\npath = ''\nsha256 = '{}'\n",
            "0".repeat(64)
        )
    };
    let lock: String = names.iter().map(locked).collect();
    let text = format!(
        "[source.s]\nkind = 'url'\nfiles = [{{ url = 'http://x', sha256 = '{}' }}]\n\
         [images.lvh]\nrepository = 'quay.io/lvh-images/kernel-images'\nnewest = '-main'\n\
         [groups]\nold = ['4.*', '5.10', '6.1']\n\
         [[series]]\nnames = {names:?}\nsource = 's'\n\
         [[series]]\nnames = ['4.18', '8.0']\nsource = 's'\nin_all = false\n\
         [[series]]\nnames = ['5.10', '6.1']\nsource = 's'\narch = ['arm64']\n",
        "0".repeat(64)
    );
    Matrix::parse(
        &text,
        Lock::parse(&format!("version = 1\n{lock}")).unwrap(),
        None,
    )
    .unwrap()
}

fn expand(requests: &[&str]) -> Result<Vec<String>> {
    expand_for(&[Arch::X86_64], requests)
}

fn expand_for(arches: &[Arch], requests: &[&str]) -> Result<Vec<String>> {
    let requests: Vec<_> = requests
        .iter()
        .flat_map(|request| request.split(','))
        .map(|word| word.trim().to_owned())
        .collect();
    let versions = ["5.10.262", "5.10.9", "6.1.192-built", "5.10.223:arm64"].map(str::to_owned);
    super::expand(&matrix(), &versions, arches, &requests)
}

#[test]
fn expands_requests() {
    assert_eq!(expand(&["5.10"]).unwrap(), ["5.10"]);
    assert_eq!(
        expand(&["5.10, 6.1", "7.3,"]).unwrap(),
        ["5.10", "6.1", "7.3"]
    );
    assert_eq!(expand(&["6.1,5.10,6.1"]).unwrap(), ["6.1", "5.10"]);
    assert_eq!(
        expand(&["6.1?"]).unwrap(),
        ["6.12", "6.16", "6.17", "6.18", "6.19"]
    );
    assert_eq!(expand(&["5.10.262"]).unwrap(), ["5.10.262"]);
    assert_eq!(expand(&["6.1.192-2"]).unwrap(), ["6.1.192-2"]);
    assert_eq!(
        expand(&["latest,7.*"]).unwrap(),
        ["7.3", "7.0", "7.1", "7.2"]
    );
    let all = expand(&["all"]).unwrap();
    assert_eq!(
        (all.len(), all[0].as_str(), all[10].as_str()),
        (11, "5.10", "7.3")
    );
    assert_eq!(expand(&["*"]).unwrap(), all);
    // The others must be asked for.
    assert_eq!(expand(&["8.0,8.*"]).unwrap(), ["8.0"]);
    assert_eq!(expand(&["5.10.2*"]).unwrap(), ["5.10.262"]);
    assert_eq!(expand(&["*-built"]).unwrap(), ["6.1.192-built"]);
    assert_eq!(expand(&["4.18.5"]).unwrap(), ["4.18.5"]);
    assert_eq!(expand(&["lvh:6.6"]).unwrap(), ["lvh:6.6"]);
    assert_eq!(expand(&["old,5.10"]).unwrap(), ["4.18", "5.10", "6.1"]);
}

#[test]
fn architecture_is_named_with_the_kernel_or_for_all() {
    let both = [Arch::X86_64, Arch::Arm64];
    for (arches, words, names) in [
        (&both[1..], "6.1", &["6.1:arm64"][..]),
        (&both, "6.1", &["6.1", "6.1:arm64"]),
        (&both[..1], "6.1:aarch64,5.10", &["6.1:arm64", "5.10"]),
        (
            &both[1..],
            "all,6.1:amd64",
            &["5.10:arm64", "6.1:arm64", "6.1"],
        ),
        (&both[1..], "5.*,latest", &["5.10:arm64", "6.1:arm64"]),
        (
            &both[1..],
            "5.10.2*,6.1.9",
            &["5.10.223:arm64", "6.1.9:arm64"],
        ),
        (&both[1..], "lvh:6.6", &["lvh:6.6"]),
    ] {
        assert_eq!(expand_for(arches, &[words]).unwrap(), names, "{words}");
    }
    let error = expand_for(&both, &["7.3"]).unwrap_err().to_string();
    assert!(
        error.contains("has no such name for arm64; the most similar is 6.1\n"),
        "{error}"
    );
    let matrix = matrix();
    let request = Request::parse(&matrix, "6.1.9:aarch64").unwrap();
    assert_eq!(
        (request.series.name.as_str(), request.exact),
        ("6.1:arm64", Some("6.1.9"))
    );
}

#[test]
fn built_kernel_is_found_by_its_name_or_release() {
    let mut matrix = matrix();
    matrix.add_built(["el9.6", "6.1", "6", "a", "b-a", "all", "4.19"].map(str::to_owned));
    let request = |text| {
        let request = Request::parse(&matrix, text).unwrap();
        (request.series.name.as_str(), request.exact)
    };
    assert_eq!(request("el9.6"), ("el9.6", None));
    for (release, series) in [
        ("5.14.0-el9.6-built", "el9.6"),
        ("6.1.192-el9.6-built", "el9.6"),
        ("6.1.192-a-built", "a"),
        ("6.1.192-b-a-built", "b-a"),
        ("6.1.192-built", "6.1"),
        ("6.1.192-c-built", "6.1"),
        ("4.19.1-built", "4.19"),
    ] {
        assert_eq!(request(release), (series, Some(release)));
    }
    // A version of a named kernel, as with a distribution's.
    assert_eq!(request("el9.6-5.14.0"), ("el9.6", Some("5.14.0")));
    assert_eq!(
        matrix.series().iter().filter(|s| s.name == "6.1").count(),
        1
    );
    assert!(matrix.find("all").is_none());
    assert!(matrix.is_taken("6.1") && matrix.is_taken("old") && matrix.is_taken("all"));
    assert!(!matrix.is_taken("el9.6") && !matrix.is_taken("el9.5"));
}

#[test]
fn unknown_kernel_error_has_similar_names_and_what_is_accepted() {
    let cases = [
        ("5.11", "no such name; the most similar are 5.10, 6.1\n"),
        ("4.17", "the most similar is 4.18\n"),
        (
            "4.17",
            "if it has this tag (lvh:4.17, oci:HOST/REPOSITORY:4.17)",
        ),
        ("6.2.1", "the most similar are 6.1, 6.12\n"),
        ("99", "the most similar is 8.0\n"),
        ("lastest", "the most similar is latest\n"),
        ("lastest", "(lvh:TAG, oci:HOST/REPOSITORY:TAG)"),
        ("lvm:6.6", "kernels.toml has no such name"),
        ("lvh:6.*", "a pattern does not match images"),
        ("6.*.9", "`harness kernels list` lists the names"),
        ("9.*", "unknown kernel \"9.*\": no known kernel matches"),
        ("5.10.3*", "unknown kernel \"5.10.3*\""),
        ("5.[*", "unknown kernel \"5.[*\""),
        ("5.10.", "unknown kernel \"5.10.\""),
        ("5.10.1/../x", "unknown kernel"),
        ("", "no kernel is named"),
        (" , ", "no kernel is named"),
    ];
    for (word, message) in cases {
        let error = expand(&[word]).unwrap_err();
        assert_eq!(crate::support::error::exit_code(&error), 2, "{word}");
        assert!(
            error.to_string().contains(message),
            "{error} should say {message}"
        );
    }
}
