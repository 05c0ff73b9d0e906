use super::*;
use crate::kernels::trust::keys::Keys;

#[test]
fn built_in_matrix_is_valid() {
    let matrix = Matrix::built_in().unwrap();
    let usual = |arch| -> Vec<_> { matrix.usual(arch).map(Series::base_name).collect() };
    let debian = [
        "5.10", "6.1", "6.12", "6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3",
    ];
    for arch in Arch::ALL {
        assert_eq!(usual(arch), debian, "{arch}");
    }
    for series in matrix.series() {
        match matrix.source(series).unwrap() {
            Source::Debian(archive) => match &archive.keys {
                Keys::Keyring(name) => {
                    matrix.keyring(name).unwrap();
                    assert!(archive.snapshot.is_some(), "{}", series.name);
                    let last = archive.mirrors.last().unwrap();
                    assert!(last.starts_with("https://archive.debian.org/"), "{last}");
                }
                Keys::Remote(keys) => {
                    assert!(keys.iter().all(|key| key.fingerprint.len() == 40));
                }
            },
            Source::Rpm(repositories) => match &repositories.keys {
                Keys::Keyring(name) => drop(matrix.keyring(name).unwrap()),
                Keys::Remote(keys) => {
                    assert!(keys.iter().all(|key| key.fingerprint.len() == 40));
                }
            },
            Source::UbuntuMainline(builds) => assert_eq!(builds.key.fingerprint.len(), 40),
            Source::KernelOrg(releases) => assert_eq!(releases.key.fingerprint.len(), 40),
            Source::Url(_) | Source::Own => {}
        }
    }
    // Whoever says `all` gets the same kernels tomorrow, and a lock of another source would be skipped.
    for name in matrix.series().iter().filter(|series| series.in_all) {
        let name = &name.name;
        assert!(matrix.lock.find(name).is_some(), "{name} is not locked");
    }
    for locked in &matrix.lock.kernels {
        let source = match matrix.find(&locked.series) {
            Some(series) => series.source.clone(),
            None => matrix.image(&locked.series).unwrap().unwrap().repository(),
        };
        assert_eq!(source, locked.source);
    }
}

#[test]
fn unknown_keyring_is_a_usage_error() {
    let error = Matrix::built_in().unwrap().keyring("nobody").unwrap_err();
    assert_eq!(crate::support::error::exit_code(&error), 2);
    assert!(error.to_string().contains("keys/nobody.asc"), "{error}");
}
