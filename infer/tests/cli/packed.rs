//! `infer export --format packed`, and the commands on what it writes.

use std::fs;

use crate::common::{Folder, run};

/// A folder whose "packed" is its model with a head of some format.
fn exported(head: &str) -> Folder {
    let folder = Folder::new();
    let out = folder.arg("packed");
    let text =
        folder.run("export", &["--format", "packed", "--head", head, "--out", &out]).stdout();
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["written", &out]);
    // Of two bits and their scales; rows of an embedding that is the head as well.
    let [ternary, tables] = [&lines[1], &lines[2]].map(|line| {
        let [.., number, unit] = line[..] else { panic!("{text}") };
        assert_eq!(unit, "bytes");
        number.replace(',', "").parse::<usize>().expect("a number")
    });
    let rows = 256
        * match head {
            "int8" => 32 + 4,
            "bf16" => 2 * 32,
            _ => 4 * 32,
        };
    assert_eq!(
        (&lines[1][..2], &lines[2][..2]),
        (&["ternary", "weights"][..], &[head, "tables"][..])
    );
    assert_eq!(tables, rows, "{text}");
    assert!(ternary >= (4 * 32 * 32 + 3 * 32 * 128) / 4, "{text}");
    folder
}

#[test]
fn a_packed_folder_is_the_model() {
    for head in ["int8", "bf16", "f32"] {
        let folder = exported(head);
        let packed = folder.arg("packed");
        let args = ["--prompt", "ab", "--tokens", "20", "--temperature", "0"];
        let expected = folder.run("generate", &[&args[..], &["--head", head]].concat()).stdout();
        let run = run(&[&["generate", "--model", &packed], &args[..]].concat(), b"");
        let (first, tables) = (run.stderr.clone(), format!(" bytes {head} tables"));
        assert!(first.starts_with("loaded in ") && first.contains(&tables), "{first}");
        assert_eq!(run.stdout(), expected);

        let data = folder.write("text.txt", "the quick brown fox jumps over the lazy dog");
        let args = ["--data", &data, "--json"];
        let expected = folder.run("eval", &[&args[..], &["--packed", "--head", head]].concat());
        let eval = crate::common::run(&[&["eval", "--model", &packed], &args[..]].concat(), b"");
        assert_eq!(eval.stdout(), expected.stdout());
    }
}

#[test]
fn an_8_bit_cache_is_an_option_everywhere() {
    let folder = exported("int8");
    let packed = folder.arg("packed");
    let data = folder.write("text.txt", "the quick brown fox jumps over the lazy dog");
    let eval = |more: &[&str]| {
        let args = [&["eval", "--model", &packed, "--data", &data, "--json"], more].concat();
        run(&args, b"").json()["nats_per_token"].as_f64().expect("a number")
    };
    let (f32, int8) = (eval(&[]), eval(&["--kv", "int8"]));
    assert!(f32 != int8 && (f32 - int8).abs() < 0.05, "{f32} {int8}");
    let small = ["-p", "9", "-n", "3", "--rounds", "1", "--json", "--kv", "int8"];
    let result = run(&[&["bench", "--model", &packed], &small[..]].concat(), b"").json();
    assert_eq!(result["kv"], "int8");
    assert_eq!(result["head"], "int8");
    let text = ["--prompt", "ab", "--tokens", "5", "--kv", "int8"];
    run(&[&["generate", "--model", &packed], &text[..]].concat(), b"").stdout();
    folder.run("eval", &["--data", &data, "--kv", "int8"]).assert_fails(&["--packed"]);
}

#[test]
fn a_packed_folder_is_described() {
    let folder = exported("bf16");
    let packed = folder.arg("packed");
    let info = |more: &[&str]| run(&[&["info", "--model", &packed], more].concat(), b"");
    let json = info(&["--json"]).json();
    let latent = folder.run("info", &["--json"]).json();
    assert_eq!(json["config"], latent["config"]);
    assert_eq!(json["parameters"], latent["parameters"]);
    assert!(json["layers"].is_null());
    let on_disk = fs::metadata(folder.path("packed/model.packed")).unwrap().len();
    assert_eq!(json["bytes"]["on_disk"], on_disk);
    // Less than the file: it has a header, and gaps between its arrays.
    let held = json["bytes"]["packed"].as_u64().expect("a number");
    assert!(held < on_disk && held > on_disk / 2, "{held} of {on_disk}");
    let text = info(&[]).stdout();
    let packing = "packed: 2 bits per ternary weight, f32 scales, an f32 per gain, embedding and head \
                   in bf16";
    for line in ["parameters        24,832", packing, "bf16 tables      16,384 bytes"] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn what_a_packed_folder_cannot_do_is_said() {
    let folder = exported("int8");
    let packed = folder.arg("packed");
    let fails = |args: &[&str], parts: &[&str]| {
        run(&[&[args[0], "--model", &packed], &args[1..]].concat(), b"").assert_fails(parts);
    };
    fails(&["generate", "--prompt", "a", "--float"], &["no latent weights"]);
    fails(&["generate", "--prompt", "a", "--head", "f32"], &["head of int8"]);
    let weights = folder.path("packed").join("model.packed");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..whole.len() - 1]).unwrap();
    fails(&["generate", "--prompt", "a"], &["model.packed: cut short or too long"]);
    let mut bytes = whole;
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    fails(&["bench"], &["model.packed: damaged"]);
    let args = ["--format", "packed", "--out", "/proc/nowhere/model"];
    folder.run("export", &args).assert_fails(&["/proc/nowhere"]);
}
