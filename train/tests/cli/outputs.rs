//! `--out` over all that may stand there. The table is in `docs/files.md`.

use std::fs;

use crate::{
    common::{Playground, failed, succeeded},
    places::{Place, snapshot},
};

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Writes its product there.
    Writes,
    /// Finds its product, and leaves it.
    Keeps,
    /// Says so in one line, and changes nothing.
    Refuses(&'static str),
}

use Then::{Keeps, Refuses, Writes};

/// A command that writes where `--out` says.
struct Writer {
    args: &'static [&'static str],
    /// What it reads where the folder of its inputs is the place.
    args_within: &'static [&'static str],
    has_force: bool,
    then: fn(Place, bool) -> Then,
}

const FOREIGN: Then = Refuses(" exists and is not empty, and holds no run; choose another --out");
const NO_FOLDER: Then = Refuses(" exists and is a file; choose another --out");

/// A run, or a series of runs. A link is what it leads to: what is there is not replaced anyway.
fn folder_of_runs(place: Place, own: Then) -> Then {
    match place {
        Place::Nothing | Place::EmptyFolder => Writes,
        Place::OwnProduct => own,
        Place::ForeignFolder | Place::LinkToFolder | Place::InputsFolder => FOREIGN,
        Place::ForeignFile => NO_FOLDER,
        Place::LinkToFile | Place::LinkToNothing => Refuses(" exists and is a symbolic link"),
        Place::Pipe => Refuses(" exists and is a pipe"),
        Place::Device => Refuses(" exists and is a device"),
    }
}

fn file(place: Place, own: Then, foreign: Then) -> Then {
    match place {
        Place::Nothing => Writes,
        Place::OwnProduct => own,
        Place::ForeignFile => foreign,
        Place::EmptyFolder | Place::ForeignFolder | Place::InputsFolder => {
            Refuses(": it is a folder, not a regular file")
        }
        Place::LinkToFile | Place::LinkToFolder | Place::LinkToNothing => {
            Refuses(": it is a symbolic link, not a regular file")
        }
        Place::Pipe => Refuses(": it is a pipe, not a regular file"),
        Place::Device => Refuses(": it is a device, not a regular file"),
    }
}

const WRITERS: [Writer; 6] = [
    Writer {
        args: &["--config", "tiny.toml", "--set", "train.steps=2"],
        args_within: &["--config", "out/tiny.toml", "--set", "train.steps=2"],
        has_force: false,
        then: |place, _| {
            let own = " exists and is not empty; continue it with --resume out, or choose another";
            folder_of_runs(place, Refuses(own))
        },
    },
    Writer {
        args: &["lr-find", "--config", "tiny.toml", "--steps", "10", "--to", "1e-2"],
        args_within: &["lr-find", "--config", "out/tiny.toml", "--steps", "10", "--to", "1e-2"],
        has_force: false,
        then: |place, _| folder_of_runs(place, Keeps),
    },
    Writer {
        args: &["lr-find", "--config", "tiny.toml", "--steps", "10", "--grid", "1e-2"],
        args_within: &["lr-find", "--config", "out/tiny.toml", "--steps", "10", "--grid", "1e-2"],
        has_force: false,
        then: |place, _| folder_of_runs(place, Keeps),
    },
    Writer {
        args: &["twin", "--config", "tiny.toml", "--set", "train.steps=2"],
        args_within: &["twin", "--config", "out/tiny.toml", "--set", "train.steps=2"],
        has_force: false,
        then: |place, _| folder_of_runs(place, Keeps),
    },
    Writer {
        args: &["report", "run"],
        args_within: &["report", "out/a/b/run"],
        has_force: true,
        then: |place, force| match force {
            false => {
                file(place, Keeps, Refuses(": it exists, and is no earlier report; --force repl"))
            }
            true => file(place, Keeps, Writes),
        },
    },
    Writer {
        args: &["tokenizer", "--vocab", "300", "--data", "text.txt"],
        args_within: &["tokenizer", "--vocab", "300", "--data", "out/text.txt"],
        has_force: true,
        then: |place, force| {
            let exists = Refuses(": it exists, and a tokenizer in use must not change; --force");
            match force {
                false => file(place, exists, exists),
                true => file(place, Keeps, Writes),
            }
        },
    },
];

#[test]
fn products_go_over_their_own_alone() {
    let playground = Playground::new();
    // What the commands read, in a folder that may be the place.
    let inputs = playground.path("inputs");
    fs::create_dir_all(inputs.join("a/b")).unwrap();
    for name in ["tiny.toml", "text.txt"] {
        fs::copy(playground.path(name), inputs.join(name)).unwrap();
    }
    let run = ["--config", "tiny.toml", "--set", "train.steps=2", "--out"];
    succeeded(playground.train(&[&run[..], &["inputs/a/b/run"]].concat()));
    succeeded(playground.train(&[&run[..], &["run"]].concat()));

    let out = playground.path("out");
    let cases = WRITERS.iter().flat_map(|writer| {
        let forces = if writer.has_force { &[false, true][..] } else { &[false] };
        forces.iter().flat_map(move |&force| Place::ALL.map(|place| (writer, place, force)))
    });
    for (writer, place, force) in cases {
        let Writer { args, args_within, then, .. } = writer;
        let what = format!("{args:?} over {place:?}, forced: {force}");
        if place == Place::InputsFolder {
            fs::rename(&inputs, &out).unwrap();
        }
        let args = if place == Place::InputsFolder { args_within } else { args };
        let args = [args, &["--out", "out"][..]].concat();
        if place.make(&out) {
            if place == Place::OwnProduct {
                succeeded(playground.train(&args));
            }
            let before = snapshot(&playground.path("."));
            let force: &[&str] = if force { &["--force"] } else { &[] };
            let output = playground.train(&[&args[..], force].concat());
            match then(place, !force.is_empty()) {
                Refuses(why) => {
                    let error = failed(output);
                    assert!(error.contains(why), "{what}: {error}");
                    let after = snapshot(&playground.path("."));
                    assert!(after == before, "{what}: something has changed");
                }
                wanted => {
                    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
                    assert!(output.status.success(), "{what}: {errors}");
                    let after = snapshot(&playground.path("."));
                    assert!(after.contains_key(&playground.path("./out")), "{what}");
                    assert!(wanted == Keeps || after != before, "{what}: nothing was written");
                    let left = after.keys().filter(|path| {
                        path.file_name().unwrap().to_string_lossy().starts_with(".bitnet-")
                    });
                    assert_eq!(left.count(), 0, "{what}: something is left over");
                }
            }
        }
        // As it was before the next one.
        if place == Place::InputsFolder {
            fs::rename(&out, &inputs).unwrap();
        } else if out.is_dir() && !out.is_symlink() {
            fs::remove_dir_all(&out).unwrap();
        } else if out.is_symlink() || out.exists() {
            fs::remove_file(&out).unwrap();
        }
        let _ = fs::remove_file(playground.path("victim"));
        let _ = fs::remove_dir_all(playground.path("victims"));
    }
}

/// A link to an empty folder, perhaps on a larger disk, is as good as the folder.
#[test]
fn a_run_may_lie_behind_a_link() {
    let playground = Playground::new();
    fs::create_dir(playground.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", playground.path("run")).unwrap();
    succeeded(playground.train(&["--config", "tiny.toml", "--out", "run", "--stop-at", "2"]));
    succeeded(playground.train(&["--resume", "run"]));
    assert!(playground.path("elsewhere/result.json").is_file());
}

/// What a series writes when its runs have ended is looked at before they begin.
#[test]
fn the_tables_of_a_series_replace_no_others() {
    let playground = Playground::new();
    let sweep = ["lr-find", "--config", "tiny.toml", "--steps", "10", "--to", "1e-2"];
    let sweep = [&sweep[..], &["--out", "find"]].concat();
    let twin = ["twin", "--config", "tiny.toml", "--set", "train.steps=2", "--out", "twin"];
    for (args, table) in
        [(&sweep[..], "find/lr-find.csv"), (&twin, "twin/twin.json"), (&twin, "twin/twin.md")]
    {
        succeeded(playground.train(args));
        fs::write(playground.path(table), "mine").unwrap();
        let before = snapshot(&playground.path("."));
        let error = failed(playground.train(args));
        assert!(error.contains(&format!("cannot write {table}: it exists, and is no")), "{error}");
        assert!(snapshot(&playground.path(".")) == before);
        fs::remove_file(playground.path(table)).unwrap();
        succeeded(playground.train(args));
    }
}

/// A page among what it is about is made again, and nothing else there is replaced by it.
#[test]
fn a_report_may_lie_in_its_run() {
    let playground = Playground::new();
    let run = ["--config", "tiny.toml", "--set", "train.steps=2", "--out", "run"];
    succeeded(playground.train(&run));
    for _ in 0..2 {
        succeeded(playground.train(&["report", "run", "--out", "run/report.html"]));
    }
    let force = ["report", "run", "--out", "run/metrics.csv", "--force"];
    let error = failed(playground.train(&force));
    assert!(error.contains("it is a part of the input"), "{error}");
}
