//! `train lr-find`: the sweep and the grid.

use crate::common::{Playground, failed, read, succeeded};

fn find<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let start = ["lr-find", "--config", "tiny.toml", "--out", "find"];
    start.into_iter().chain(more.iter().copied()).collect()
}

fn csv(playground: &Playground, path: &str) -> Vec<Vec<f64>> {
    let text = String::from_utf8(read(playground.path(path))).unwrap();
    let numbers = |row: &str| row.split(',').map(|cell| cell.parse().unwrap()).collect();
    text.lines().skip(1).map(numbers).collect()
}

#[test]
fn a_sweep_rises_until_the_loss_does() {
    let playground = Playground::new();
    let args = find(&["--from", "1e-4", "--to", "100", "--steps", "120"]);
    let shown = succeeded(playground.train(&args));
    let rows = csv(&playground, "find/lr-find.csv");
    assert!((1e-4 - rows[0][0]).abs() < 1e-12);
    let factor = 1e6f64.powf(1.0 / 120.0);
    for pair in rows.windows(2) {
        assert!((pair[1][0] / pair[0][0] / factor - 1.0).abs() < 1e-6, "{pair:?}");
    }
    // It learned something, and stopped when it had unlearned it.
    let smoothed = |row: &Vec<f64>| row[2];
    let lowest = rows.iter().map(smoothed).fold(f64::MAX, f64::min);
    assert!(lowest < rows[0][2] - 1.0, "{lowest}");
    assert!(rows.len() < 120 && smoothed(rows.last().unwrap()) > lowest + 1.0, "{}", rows.len());
    let best = rows.iter().find(|row| row[2] == lowest).unwrap()[0];
    assert!(shown.contains(&format!("suggested: train.lr={:.1e}", best / 4.0)), "{shown}");
    assert!(shown.contains('*') && shown.contains(':'), "{shown}");

    // The same command again has the same to say.
    let again = succeeded(playground.train(&args));
    assert!(again.ends_with(shown.split_once("\nlr ").unwrap().1), "{again}");
    // Another number of steps is another curve.
    let other = find(&["--from", "1e-4", "--to", "100", "--steps", "121"]);
    let error = failed(playground.train(&other));
    assert!(error.contains("was begun with 120 steps; name another --out"), "{error}");
}

#[test]
fn a_sweep_that_ends_too_soon_says_so() {
    let playground = Playground::new();
    let shown = succeeded(playground.train(&find(&["--to", "1e-3", "--steps", "20"])));
    assert!(shown.contains("the loss was still falling at the last rate: raise --to"), "{shown}");
    assert!(!shown.contains("suggested"), "{shown}");
}

#[test]
fn the_grid_chooses_the_lowest_validation_loss() {
    let playground = Playground::new();
    let grid = find(&["--grid", "1e-4,1e-2,3.0", "--steps", "40"]);
    let shown = succeeded(playground.train(&grid));
    assert!(
        shown.contains("suggested: train.lr=1e-2, the lowest validation loss after"),
        "{shown}"
    );
    let result = |name: &str| {
        let json = read(playground.path("find").join(name).join("result.json"));
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        json["validation_loss"].as_f64().unwrap()
    };
    let losses = ["lr-1e-4", "lr-1e-2", "lr-3e0"].map(result);
    assert!(losses[1] < losses[0] && losses[1] < losses[2], "{losses:?}");
    let line = shown.lines().find(|line| line.ends_with("lowest")).unwrap();
    assert!(line.starts_with("1e-2 ") && line.contains(&format!("{:.4}", losses[1])), "{line}");

    let one = succeeded(playground.train(&find(&["--grid", "1e-4,1e-2", "--steps", "40"])));
    assert!(one.contains("it is at the end of the grid"), "{one}");
    assert_eq!(one.matches("the run is at its end").count(), 2, "{one}");
}

#[test]
fn a_stopped_search_goes_on() {
    let playground = Playground::new();
    let sweep = find(&["--steps", "30"]);
    let shown = succeeded(playground.train(&[&sweep[..], &["--stop-at", "9"]].concat()));
    assert!(shown.contains("stopped: 0 of 1 runs") && !shown.contains("smoothed"), "{shown}");
    let shown = succeeded(playground.train(&sweep));
    assert!(
        shown.contains("continuing after step 9\n") && shown.contains("lowest smoothed loss"),
        "{shown}"
    );
    assert_eq!(csv(&playground, "find/lr-find.csv").len(), 30);
    // Only lr-find knows the rates of its run.
    let error = failed(playground.train(&["--resume", "find/sweep"]));
    assert!(error.contains("find/sweep is a run of lr-find, which goes on with it"), "{error}");
}

#[test]
fn a_range_test_is_no_schedule_to_train_with() {
    let playground = Playground::new();
    let args = ["--config", "tiny.toml", "--set", "train.schedule=range-test", "--out", "run"];
    let error = failed(playground.train(&args));
    let known = "unknown variant `range-test`, expected one of `cosine`, `linear`, `constant`, \
                 `wsd`, `two-stage`";
    assert!(error.contains("train.schedule") && error.contains(known), "{error}");
}

#[test]
fn twins_are_tuned_one_by_one() {
    let playground = Playground::new();
    let args = ["twin", "--config", "tiny.toml", "--out", "series", "--tune", "--tune-steps", "10"];
    succeeded(playground.train(&args));
    let twin: serde_json::Value =
        serde_json::from_slice(&read(playground.path("series/twin.json"))).unwrap();
    for (model, lr) in [("ternary", 1e-2), ("full-precision", 5e-3)] {
        let losses = [0.25, 0.5, 1.0, 2.0].map(|factor: f64| {
            let path = format!("series/tune-{model}/lr-{:e}/result.json", factor * lr);
            let json: serde_json::Value =
                serde_json::from_slice(&read(playground.path(&path))).unwrap();
            (json["validation_loss"].as_f64().unwrap(), factor * lr)
        });
        let best = losses.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1;
        let found = twin["models"].as_array().unwrap().iter().find(|row| row["name"] == model);
        assert_eq!(found.unwrap()["learning_rate"], best, "{losses:?}");
    }
}

#[test]
fn unusable_rates_are_named() {
    let playground = Playground::new();
    for (args, words) in [
        (&["--from", "0"][..], "the rates go from 0 to 1, must rise from above 0"),
        (&["--from", "2"], "the rates go from 2 to 1"),
        (&["--to", "nan"], "the rates go from 0.00001 to NaN"),
        (&["--grid", "1e-3,-1"], "the rate -1 must be above 0"),
        (&["--grid", "1e-3,fast"], "invalid value 'fast'"),
        (&["--grid", "1e-3", "--from", "1"], "--from"),
        (&["--steps", "3"], "3 must be between 10 and 1000000000000;"),
    ] {
        let error = failed(playground.train(&find(args)));
        assert!(error.contains(words), "{error:?} does not say {words:?}");
        assert!(!playground.path("find").exists());
    }
}
