//! `train report`: the page holds what the runs left, and nothing from elsewhere.

use std::fs;

use crate::common::{Playground, failed, read, succeeded};

fn start(playground: &Playground, out: &str, set: &[&str]) {
    let set = set.iter().flat_map(|pair| ["--set", *pair]);
    let args: Vec<_> = ["--config", "tiny.toml", "--out", out].into_iter().chain(set).collect();
    succeeded(playground.train(&args));
}

/// The data within a page.
fn data(page: &str) -> serde_json::Value {
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn a_page_holds_all_it_shows() {
    let playground = Playground::new();
    start(&playground, "ternary", &["sample.prompt=</script><b>{{data}}", "model.context=32"]);
    start(&playground, "twin", &["model.quant=none", "train.lr=0.002"]);
    let shown = succeeded(playground.train(&["report", "ternary", "twin", "--out", "page.html"]));
    assert_eq!(shown, "page.html: 2 runs\n");
    let page = String::from_utf8(read(playground.path("page.html"))).unwrap();
    assert!(page.contains("<title>ternary, twin</title>"));
    assert_eq!(page.matches("</script>").count(), 2, "a sample has ended the data");
    assert!(!page.contains("{{style}}") && !page.contains("{{script}}"));
    // Nothing is loaded. (The one address names the namespace of SVG.)
    let addresses =
        page.matches("http").count() - page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(addresses, 0);
    for loads in ["src=", "href=", "@import", "url(h", "fetch("] {
        assert!(!page.contains(loads), "{loads}");
    }

    let data = data(&page);
    let [ternary, twin] = [&data["runs"][0], &data["runs"][1]];
    assert_eq!((&ternary["name"], &twin["name"]), (&"ternary".into(), &"twin".into()));
    assert_eq!(ternary["training"]["step"].as_array().unwrap().len(), 6);
    assert_eq!(ternary["validation"]["step"], serde_json::json!([4.0, 8.0, 12.0]));
    assert_eq!(ternary["training"]["zeros"].as_array().unwrap().len(), 6);
    assert!(twin["training"]["zeros"].is_null() && twin["instruments"].is_null());
    let instruments = &ternary["instruments"];
    assert_eq!(instruments["layers"][6], "layers.0.mlp.down_proj");
    assert_eq!(instruments["steps"], serde_json::json!([2, 4, 6, 8, 10, 12]));
    assert_eq!(instruments["values"]["scale"][6].as_array().unwrap().len(), 6);
    assert_eq!(twin["config"]["model.quant"], "\"none\"");
    assert_eq!(ternary["samples"].as_array().unwrap().len(), 3);
    assert!(ternary["samples"][2]["text"].as_str().unwrap().starts_with("</script><b>{{data}}"));
    assert_eq!(twin["result"]["end"], "steps");
}

#[test]
fn runs_under_way_and_runs_of_one_name_are_shown() {
    let playground = Playground::new();
    fs::create_dir(playground.path("other")).unwrap();
    let args = ["--config", "tiny.toml", "--stop-at", "6", "--out"];
    succeeded(playground.train(&[&args[..], &["run"]].concat()));
    start(&playground, "other/run", &[]);
    // Half a row, as a kill may leave it.
    let path = playground.path("run/metrics.csv");
    fs::write(&path, [&read(&path)[..], b"8,512,0"].concat()).unwrap();
    succeeded(playground.train(&["report", "run", "other/run"]));
    let page = String::from_utf8(read(playground.path("report.html"))).unwrap();
    let data = data(&page);
    assert_eq!(
        (&data["runs"][0]["name"], &data["runs"][1]["name"]),
        (&"run".into(), &"other/run".into())
    );
    assert_eq!(data["runs"][0]["training"]["step"], serde_json::json!([2.0, 4.0, 6.0]));
    assert!(data["runs"][0]["result"].is_null());
}

#[test]
fn what_is_missing_or_damaged_is_named() {
    let playground = Playground::new();
    start(&playground, "run", &[]);
    let says = |args: &[&str], expected: &str| {
        let error = failed(playground.train(&[&["report"], args].concat()));
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    };
    says(&[], "required arguments were not provided");
    says(&["run", "nothing"], "there is no folder nothing");
    says(&["."], ". is no run folder: it has no config.toml");
    says(&["run", "--out", "nowhere/page.html"], "cannot write nowhere/page.html");

    let path = playground.path("run/metrics.csv");
    let metrics = String::from_utf8(read(&path)).unwrap();
    let damaged = |text: &str, expected: &str| {
        fs::write(&path, text).unwrap();
        says(&["run"], expected);
    };
    damaged(&metrics.replacen("\n2,", "\ntwo,", 1), "line 2 has \"two\" as step");
    damaged(
        &metrics.replacen("\n2,", "\n2,2,", 1),
        "metrics.csv is damaged: line 2 has 19 columns",
    );
    damaged(
        &metrics.replacen("tokens,", "token,", 1),
        "metrics.csv is damaged: it has no column tokens",
    );
    damaged("", "run has no metrics yet");
    fs::write(&path, [0xff, 0xfe, b'\n', b'1', b'\n']).unwrap();
    says(&["run"], "run/metrics.csv is damaged");
    fs::remove_file(&path).unwrap();
    says(&["run"], "run has no metrics yet");
    fs::write(&path, &metrics).unwrap();
    let table = String::from_utf8(read(playground.path("run/instruments.csv"))).unwrap();
    fs::write(playground.path("run/instruments.csv"), table.replace("scale", "size")).unwrap();
    says(&["run"], "instruments.csv is damaged: it has no column scale");
    fs::write(playground.path("run/instruments.csv"), table).unwrap();
    fs::write(playground.path("run/result.json"), "{").unwrap();
    says(&["run"], "result.json is damaged");
    assert!(!playground.path("report.html").exists());
}
