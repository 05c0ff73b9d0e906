use std::{fs, os::unix::fs::PermissionsExt as _};

use tar::{Builder, EntryType, Header};

use super::*;

/// An archive with these entries: type, path, content. The paths are written as they are.
fn archive(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o7654);
        header.set_size(content.len() as u64);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        if *kind == EntryType::Symlink {
            header.set_link_name_literal("/").unwrap();
        }
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Receives an archive as the copy `copy` in a new folder.
fn receive(archive: &[u8], why: &[u8]) -> (tempfile::TempDir, Vec<String>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let option = format!("there:{}", dir.path().join("copy").display());
    let mut copies = Copies::new(&plan(&[option.into()], Path::new("/in/vm")).unwrap());
    for part in archive.chunks(1000) {
        copies.write_all(part).unwrap();
    }
    copies.end(why);
    let (errors, notes) = copies.finish();
    (dir, errors, notes)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

const DIR: EntryType = EntryType::Directory;
const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;

#[test]
fn file_or_folder_becomes_the_copy_without_special_bits() {
    let (dir, errors, notes) = receive(&archive(&[(FILE, "out", b"content")]), b"");
    assert_eq!((errors, notes), (vec![], vec![]));
    let copy = dir.path().join("copy");
    assert_eq!(fs::read(&copy).unwrap(), b"content");
    let mode = copy.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7700, 0o600);
    assert_eq!(names(dir.path()), ["copy"]);

    let entries = [
        (DIR, "out", &b""[..]),
        (DIR, "out/sub", b""),
        (FILE, "out/sub/file", b"1"),
        (LINK, "out/link", b""),
    ];
    let (dir, errors, notes) = receive(&archive(&entries), b"");
    assert_eq!(errors, [""; 0]);
    assert!(notes[0].contains("1 entries are neither"), "{notes:?}");
    let copy = dir.path().join("copy");
    assert_eq!(names(&copy), ["sub"]);
    assert_eq!(fs::read(copy.join("sub/file")).unwrap(), b"1");
}

#[test]
fn hostile_archives_write_nothing() {
    let outside = tempfile::tempdir().unwrap();
    let absolute = outside.path().join("new").display().to_string();
    for (entries, why) in [
        (
            vec![(FILE, "../evil", &b"x"[..])],
            "leads out of the copy: ../evil",
        ),
        (
            vec![(FILE, absolute.as_str(), b"x")],
            "leads out of the copy",
        ),
        (
            vec![(DIR, "out", b""), (FILE, "out/../evil", b"x")],
            "leads out",
        ),
        (vec![(FILE, "other", b"x")], "leads out of the copy: other"),
        // A link is not made, so that there is no folder to write to.
        (
            vec![
                (DIR, "out", b""),
                (LINK, "out/l", b""),
                (FILE, "out/l/x", b"x"),
            ],
            "cannot write",
        ),
        (
            vec![(FILE, "out", b"1"), (FILE, "out", b"2")],
            "File exists",
        ),
        (vec![(EntryType::Link, "out", b"")], "an entry of type Link"),
        (
            vec![(EntryType::GNUSparse, "out", b"")],
            "an entry of type GNUSparse",
        ),
        (
            vec![(EntryType::XHeader, "out", b"1 a=b\n")],
            "an entry of type XHeader",
        ),
        (
            vec![(EntryType::GNULongName, "out", &[b'x'; 5000])],
            "a path has 5000 bytes",
        ),
        (vec![(LINK, "out", b"")], "cannot create"),
        (vec![], "cannot create"),
    ] {
        let (dir, errors, _) = receive(&archive(&entries), b"");
        assert_eq!(errors.len(), 1, "{entries:?}");
        assert!(errors[0].contains(why), "{}", errors[0]);
        assert!(
            errors[0].starts_with("--out /in/vm/there:"),
            "{}",
            errors[0]
        );
        assert_eq!(names(dir.path()), [""; 0], "{why}");
    }
    let (dir, errors, _) = receive(&[b'x'; 2000], b"");
    assert!(errors[0].contains("invalid archive"), "{errors:?}");
    assert_eq!(names(dir.path()), [""; 0]);
    assert_eq!(names(outside.path()), [""; 0]);
}

#[test]
fn what_is_incomplete_is_an_error_and_later_copies_still_count() {
    let (dir, errors, _) = receive(&archive(&[(FILE, "out", b"x")]), b"gone\x1b[2J");
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].contains("gone") && !errors[0].contains('\x1b'),
        "{errors:?}"
    );
    assert_eq!(names(dir.path()), [""; 0]);

    let options = ["a", "b", "c"]
        .map(|name| OsString::from(format!("/{name}:{}", dir.path().join(name).display())));
    let mut copies = Copies::new(&plan(&options, Path::new("/")).unwrap());
    copies.left = 4000;
    copies.write_all(&[0; 5000]).unwrap();
    copies.end(b"");
    copies.left = 4000;
    copies.write_all(&archive(&[(FILE, "out", b"b")])).unwrap();
    copies.end(b"");
    let (errors, _) = copies.finish();
    assert!(errors[0].contains("the guest sent too much"), "{errors:?}");
    assert!(errors[1].contains("/c") && errors[1].contains("before it was copied"));
    assert_eq!(errors.len(), 2);
    assert_eq!(names(dir.path()), ["b"]);
}

#[test]
fn existing_file_is_replaced_and_existing_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    fs::write(&copy, "old").unwrap();
    let option = format!("/x:{}", copy.display());
    let copies = plan(&[option.into()], Path::new("/")).unwrap();
    let mut copies = Copies::new(&copies);
    copies
        .write_all(&archive(&[(FILE, "out", b"new")]))
        .unwrap();
    copies.end(b"");
    assert_eq!(copies.finish(), (vec![], vec![]));
    assert_eq!(fs::read(&copy).unwrap(), b"new");

    let here = dir.path().display();
    for (option, why) in [
        ("/x", "must be GUEST:HOST"),
        (":/x", "must be GUEST:HOST"),
        ("/x:", "must be GUEST:HOST"),
        (&format!("/x:{here}"), "is a folder"),
        (&format!("/x:{here}/new/"), "is a folder"),
        (&format!("/x:{here}/copy/new"), "cannot create a folder"),
    ] {
        let error = plan(&[option.into()], Path::new("/")).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.is::<crate::support::error::UsageError>());
    }
    let twice = [copy.clone(), copy].map(|copy| format!("/x:{}", copy.display()).into());
    let error = plan(&twice, Path::new("/")).unwrap_err();
    assert!(error.to_string().contains("named twice"), "{error}");
}

#[test]
fn archives_that_nobody_wants_are_not_stored() {
    let mut copies = Copies::new(&[]);
    copies.write_all(&archive(&[(FILE, "out", b"x")])).unwrap();
    assert!(copies.archive.is_none());
    copies.end(b"");
    assert_eq!(copies.finish(), (vec![], vec![]));
}
