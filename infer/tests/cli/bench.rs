//! `infer bench`: that it measures what it says, not how fast.

use crate::common::{CONTEXT, Folder, run};

const SMALL: [&str; 6] = ["-p", "9", "-n", "3", "--rounds", "2"];

#[test]
fn a_model_is_measured() {
    let folder = Folder::new();
    for (head, bytes) in [("int8", 256 * 32 + 4 * 256), ("bf16", 2 * 256 * 32)] {
        let args = [&SMALL[..], &["--head", head, "--threads", "2", "--json"]].concat();
        let result = folder.run("bench", &args).json();
        let number = |key: &str| result[key].as_f64().expect(key);
        assert_eq!(number("table_bytes"), f64::from(bytes));
        assert_eq!(number("threads"), 2.0);
        // The table is the output head, too: a token reads all there is.
        let held = ["ternary_bytes", "table_bytes", "norm_bytes"].map(number).iter().sum::<f64>();
        assert_eq!(number("bytes_per_token"), held);
        // Ten tokens of 32 keys and 32 values in 32 bits.
        let cached = number("cache_bytes_per_token");
        assert_eq!(cached, 10.0 * 64.0 * 4.0);
        let achieved = number("generated_tokens_per_second") * (held + cached);
        assert!((number("bytes_per_second") / achieved - 1.0).abs() < 1e-9);
        assert!(number("prompt_tokens_per_second") > 0.0);
        assert!(number("read_ceiling_bytes_per_second") > 0.0);
        #[cfg(target_os = "linux")]
        assert!(number("peak_resident_bytes") > held);
    }
}

#[test]
fn the_defaults_fit_the_context() {
    let folder = Folder::new();
    for (args, prompt, generated) in
        [(&[][..], 22, 10), (&["-p", "30"], 30, 2), (&["-n", "1", "-t", "1"], 31, 1)]
    {
        let args = [&["--rounds", "1", "--json"], args].concat();
        let result = folder.run("bench", &args).json();
        assert_eq!(
            (&result["prompt_tokens"], &result["generated_tokens"]),
            (&prompt.into(), &generated.into())
        );
    }
}

#[test]
fn a_shape_needs_no_files() {
    let args = [&["bench", "--shape", "tiny"], &SMALL[..]].concat();
    let text = run(&args, b"").stdout();
    for line in
        ["prompt of 9  ", "generation of 3  ", "share of it  ", "int8 tables  ", "peak resident  "]
    {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn random_weights_can_be_kept() {
    let folder = Folder::new();
    let file = folder.arg("weights");
    let args = [&["bench", "--shape", "tiny", "--weights", &file], &SMALL[..]].concat();
    run(&args, b"").stdout();
    let whole = std::fs::read(&file).unwrap();
    run(&args, b"").stdout();
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    std::fs::write(&file, &whole[1..]).unwrap();
    run(&args, b"").assert_fails(&["no file of packed weights"]);
}

#[test]
fn what_cannot_be_measured_is_an_error() {
    let folder = Folder::new();
    let long = CONTEXT.to_string();
    folder.run("bench", &["-p", &long, "-n", "1"]).assert_fails(&["context of 32"]);
    for args in [["-p", "18446744073709551615"], ["-n", "18446744073709551615"]] {
        folder.run("bench", &args).assert_fails(&["context of 32"]);
    }
    folder.run("bench", &["-p", "0"]).assert_fails(&["--prompt"]);
    folder.run("bench", &["--shape", "tiny"]).assert_fails(&["cannot be used with"]);
    run(&["bench"], b"").assert_fails(&["--model PATH or --shape NAME is needed; see --help"]);
    run(&["bench", "--shape", "huge"], b"").assert_fails(&["2b4t, large, tiny"]);
    run(&["bench", "--shape", "tiny", "--threads", "0"], b"").assert_fails(&["1 to 1024"]);
}
