//! `--out` and `--weights` over all that may stand there. The table is in `docs/files.md`.

use std::{fs, path::Path, sync::OnceLock};

use bitnet::{BitNetTransformerConfig, pretrained::WeightDtype};

use crate::{
    common::{Folder, build, run},
    places::{Place, snapshot},
};

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Writes its product there.
    Writes,
    /// Says so in one line, and changes nothing.
    Refuses(&'static str),
}

use Then::{Refuses, Writes};

/// A model that all formats can hold.
fn model() -> &'static Folder {
    static MODEL: OnceLock<Folder> = OnceLock::new();
    MODEL.get_or_init(|| {
        let config = BitNetTransformerConfig {
            ff_dim: 256,
            ..BitNetTransformerConfig::new(256, 256, 1).with_heads(4).with_max_seq_len(32)
        };
        Folder::with_model(&build(&config), WeightDtype::Bf16)
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// What an export does, as a folder or a file.
fn exporting(place: Place, as_file: bool, force: bool) -> Then {
    let foreign = match force {
        true => Writes,
        false => Refuses(": it exists, and is no earlier export; --force replaces it"),
    };
    let no_file = Refuses(": it is a folder, not a regular file");
    match (place, as_file) {
        (Place::Nothing | Place::OwnProduct, _) | (Place::EmptyFolder, false) => Writes,
        (Place::ForeignFolder, false) | (Place::ForeignFile, true) => foreign,
        (Place::ForeignFile, false) => Refuses(": it is a file, not a folder"),
        (Place::EmptyFolder | Place::ForeignFolder | Place::InputsFolder, true) => no_file,
        (Place::LinkToFile | Place::LinkToFolder | Place::LinkToNothing, _) => {
            Refuses(": it is a symbolic link, not a ")
        }
        (Place::Pipe, _) => Refuses(": it is a pipe, not a "),
        (Place::Device, _) => Refuses(": it is a device, not a "),
        (Place::InputsFolder, false) => Refuses(": it is, or holds, the input "),
    }
}

#[test]
fn exports_go_over_their_own_products_alone() {
    // With other options, what is there already is another file.
    for (format, others) in [
        ("packed", ["--head", "f32"]),
        ("hf-bf16", ["--format", "hf-packed"]),
        ("hf-packed", ["--format", "packed"]),
        ("gguf", ["--type", "tq1_0"]),
    ] {
        for (place, force) in
            Place::ALL.into_iter().flat_map(|place| [(place, false), (place, true)])
        {
            let what = format!("{format} over {place:?}, forced: {force}");
            let root = tempfile::tempdir().unwrap();
            let out = root.path().join("out");
            let mut input = model().path("model");
            if place == Place::InputsFolder {
                input = out.join("model");
                copy(&model().path("model"), &input);
            }
            if !place.make(&out) {
                continue;
            }
            let [input, out_arg] = [&input, &out].map(|path| path.to_str().unwrap());
            let base = ["export", "--model", input, "--out", out_arg];
            let args = match force {
                true => [&base[..], &["--format", format, "--force"]].concat(),
                false => [&base[..], &["--format", format]].concat(),
            };
            if place == Place::OwnProduct {
                let first: Vec<&str> = match others {
                    ["--format", _] => [&base[..], &others].concat(),
                    _ => [&base[..], &["--format", format], &others].concat(),
                };
                run(&first, b"").stdout();
            }
            let before = snapshot(root.path());
            let result = run(&args, b"");
            match exporting(place, format == "gguf", force) {
                Refuses(why) => {
                    result.assert_fails(&["error: cannot write ", why]);
                    assert!(snapshot(root.path()) == before, "{what}: something has changed");
                }
                Writes => {
                    assert_eq!(result.code, Some(0), "{what}: {result:?}");
                    assert!(snapshot(root.path()) != before, "{what}: nothing was written");
                    assert!(!out.join("thesis.txt").exists(), "{what}: the old is not gone");
                    let left = fs::read_dir(root.path()).unwrap().count();
                    assert_eq!(left, 1, "{what}: something is left over");
                    let read = ["generate", "--model", out_arg, "--prompt", "a", "--tokens", "1"];
                    run(&read, b"").stdout();
                }
            }
        }
    }
}

#[test]
fn folders_that_were_added_to_are_not_replaced() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let model = model().arg("model");
    let args = ["export", "--model", &model, "--format", "packed", "--out", out.to_str().unwrap()];
    run(&args, b"").stdout();
    fs::write(out.join("notes.md"), "mine").unwrap();
    let before = snapshot(root.path());
    run(&args, b"").assert_fails(&["it exists, and is no earlier export"]);
    assert!(snapshot(root.path()) == before);
    fs::remove_file(out.join("notes.md")).unwrap();
    run(&args, b"").stdout();

    // A model that was trained is no export, though its files have the same names.
    let trained = root.path().join("trained");
    copy(&crate::outputs::model().path("model"), &trained);
    let before = snapshot(root.path());
    let args =
        ["export", "--model", &model, "--format", "hf-bf16", "--out", trained.to_str().unwrap()];
    run(&args, b"").assert_fails(&["it exists, and is no earlier export"]);
    // Neither is a GGUF file from elsewhere.
    let file = root.path().join("theirs.gguf");
    fs::write(&file, b"GGUF and so on").unwrap();
    let args = ["export", "--model", &model, "--format", "gguf", "--out", file.to_str().unwrap()];
    run(&args, b"").assert_fails(&["it exists, and is no earlier export"]);
    fs::remove_file(&file).unwrap();
    assert!(snapshot(root.path()) == before);
}

/// Random weights are made where nothing is, and else read: nothing is ever replaced.
#[test]
fn weights_of_a_bench_are_never_replaced() {
    for place in Place::ALL.into_iter().filter(|&place| place != Place::InputsFolder) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out");
        if !place.make(&path) {
            continue;
        }
        let args = ["bench", "--shape", "tiny", "-p", "1", "-n", "1", "--rounds", "1", "--weights"];
        let args = [&args[..], &[path.to_str().unwrap()]].concat();
        if place == Place::OwnProduct {
            run(&args, b"").stdout();
        }
        let before = snapshot(root.path());
        let result = run(&args, b"");
        match place {
            Place::Nothing => {
                result.stdout();
                assert!(path.is_file());
                continue;
            }
            Place::OwnProduct => drop(result.stdout()),
            Place::EmptyFolder | Place::ForeignFolder | Place::LinkToFolder => {
                result.assert_fails(&["it is a folder, not a regular file"]);
            }
            Place::ForeignFile | Place::LinkToFile => {
                result.assert_fails(&["no file of packed weights"]);
            }
            Place::LinkToNothing => result.assert_fails(&["No such file"]),
            Place::Pipe => result.assert_fails(&["it is a pipe, not a regular file"]),
            Place::Device => result.assert_fails(&["it is a device, not a regular file"]),
            Place::InputsFolder => unreachable!("it reads nothing"),
        }
        assert!(snapshot(root.path()) == before, "{place:?}: something has changed");
    }
}
