//! Backends and devices: what is listed, what is refused, and that a run may move.

use crate::common::{MODEL, Playground, failed, read, succeeded};
use bitnet::backend::BackendKind;

const START: [&str; 4] = ["--config", "tiny.toml", "--out", "run"];

fn set<'a>(pairs: &[&'a str]) -> Vec<&'a str> {
    let pairs = pairs.iter().flat_map(|pair| ["--set", *pair]);
    START.into_iter().chain(pairs).collect()
}

/// The compiled-in backends that find a device here.
fn usable() -> Vec<BackendKind> {
    BackendKind::ALL.into_iter().filter(|kind| kind.devices().is_ok()).collect()
}

#[test]
fn all_are_listed() {
    let listed = succeeded(Playground::new().train(&["backends"]));
    for kind in BackendKind::ALL {
        let mut lines = listed.lines();
        let line = lines.find(|line| line.split(' ').next() == Some(kind.name())).unwrap();
        if !kind.is_compiled_in() {
            assert!(line.ends_with(&format!("rebuild with --features {kind}")), "{line}");
        }
    }
    for kind in usable() {
        let line = listed.lines().find(|line| line.starts_with(kind.name())).unwrap();
        assert!(line.contains("GiB") && !line.contains("WRONG"), "{line}");
        // Distances of loss and gradients.
        assert!(line.matches("e-").count() >= 2 || line.contains("0e0"), "{line}");
    }
}

#[test]
fn what_is_not_there_is_refused_before_anything_starts() {
    let playground = Playground::new();
    for (pairs, words) in [
        (&["backend.device=tpu"][..], "backend.device: unknown device \"tpu\""),
        (&["backend.device=cuda:3"], "backend \"flex\" has no device cuda:3 (found: cpu)"),
        (&["backend.device=1"], "backend \"flex\" has no device 1 (found: cpu)"),
        (&["backend.device=true"], "a device is a number or a string"),
        (&["backend.precision=f8"], "backend.precision: unknown variant `f8`"),
        (
            &["backend.kind=ndarray", "backend.precision=bf16"],
            "backend \"ndarray\" cannot compute in bf16 on device 0; use \"f32\"",
        ),
        (&["backend.threads=0"], "backend.threads: cannot compute on 0 threads"),
    ] {
        let error = failed(playground.train(&set(pairs)));
        assert!(error.contains(words), "{error:?} does not say {words:?}");
        assert!(!playground.path("run").exists(), "a failed start left a folder");
    }
    for kind in BackendKind::ALL.into_iter().filter(|kind| !kind.is_compiled_in()) {
        let error = failed(playground.train(&set(&[&format!("backend.kind={kind}")])));
        let words = format!("\"{kind}\" is not compiled in; rebuild with --features {kind}\n");
        assert!(error.ends_with(&words), "{error}");
    }
    let resumable = ["backend.device=cpu", "backend.threads=1"];
    succeeded(playground.train(&set(&resumable)));
    let more = ["--resume", "run", "--set", "train.steps=16", "--set", "backend.device=gpu"];
    let error = failed(playground.train(&more));
    assert!(error.contains("backend \"flex\" has no device gpu:0"), "{error}");
}

#[cfg(feature = "wgpu")]
#[test]
fn no_vulkan_driver_is_one_line() {
    let playground = Playground::new();
    let mut command = playground.command(&set(&["backend.kind=wgpu"]));
    // The names that Vulkan's loader knows, new and old.
    let nowhere = [("VK_DRIVER_FILES", "/nowhere.json"), ("VK_ICD_FILENAMES", "/nowhere.json")];
    let error = failed(command.envs(nowhere).output().unwrap());
    assert!(error.contains("backend \"wgpu\" finds no device: there is no Vulkan"), "{error}");
    assert!(error.contains("mesa-vulkan-drivers"), "{error}");
}

#[cfg(feature = "cuda")]
#[test]
fn no_nvidia_driver_is_one_line() {
    if BackendKind::Cuda.devices().is_ok() {
        return;
    }
    let error = failed(Playground::new().train(&set(&["backend.kind=cuda"])));
    assert!(error.contains("backend \"cuda\" finds no device: "), "{error}");
}

/// The losses of the run's log lines.
fn losses(playground: &Playground) -> Vec<f64> {
    let metrics = String::from_utf8(read(playground.path("run/metrics.csv"))).unwrap();
    let header = metrics.lines().next().unwrap();
    let column = header.split(',').position(|name| name == "train_loss").unwrap();
    // Rows of validations have none.
    let cells = metrics.lines().skip(1).map(|line| line.split(',').nth(column).unwrap());
    cells.filter(|cell| !cell.is_empty()).map(|cell| cell.parse().unwrap()).collect()
}

#[test]
fn a_run_moves_from_each_backend_to_each() {
    let kinds = usable();
    // With a constant rate, a shorter run is the beginning of a longer one.
    let run = |steps: &str, kind: BackendKind| {
        let playground = Playground::new();
        let start = set(&[steps, "train.schedule=constant"]);
        succeeded(playground.train(&[&start[..], &["--backend", kind.name()]].concat()));
        playground
    };
    let expected = losses(&run("train.steps=8", kinds[0]));
    assert_eq!(expected.len(), 4);
    for from in &kinds {
        for to in &kinds {
            let playground = run("train.steps=4", *from);
            let more = ["--resume", "run", "--set", "train.steps=8", "--backend", to.name()];
            succeeded(playground.train(&more));
            let losses = losses(&playground);
            assert_eq!(losses.len(), 4, "{losses:?}");
            for (loss, expected) in losses.iter().zip(&expected) {
                let off = (loss - expected).abs() / expected;
                assert!(off < 1e-2, "{from} to {to}: {losses:?} instead of {expected:?}");
            }
            let config = String::from_utf8(read(playground.path("run/model/config.json"))).unwrap();
            let trace = BackendKind::ALL.into_iter().find(|kind| config.contains(kind.name()));
            assert_eq!(trace, None, "{config}");
        }
    }
}

#[test]
fn dots_in_names_are_kept() {
    let playground = Playground::new();
    let run = ["--config", "tiny.toml", "--out", "bitnet-1.58b", "--set", "train.steps=2"];
    succeeded(playground.train(&run));
    for name in ["model/model.safetensors", "checkpoints/step-00000002/optimizer.mpk"] {
        assert!(playground.path("bitnet-1.58b").join(name).is_file(), "{name}");
    }
}

#[test]
fn bf16_without_instructions_for_it_says_what_is_computed() {
    let run = |isa: &str, precision: &str| {
        let playground = Playground::new();
        let mut command = playground.command(&set(&[&format!("backend.precision={precision}")]));
        let shown = succeeded(command.env("BITNET_ISA", isa).output().unwrap());
        (shown, read(playground.path("run").join(MODEL)))
    };
    let ((shown, in_bf16), (_, in_f32)) = (run("scalar", "bf16"), run("scalar", "f32"));
    let words = "f32 (no bf16 here)";
    assert!(shown.contains(words), "{shown}");
    assert!(in_bf16 == in_f32, "the weights differ");

    if cfg!(target_arch = "x86_64") {
        let ((shown, in_bf16), (_, in_f32)) = (run("avx2", "bf16"), run("avx2", "f32"));
        let words = "f32, gradients in int16 (no bf16 here)";
        assert!(shown.contains(words), "{shown}");
        assert!(in_bf16 != in_f32, "gradients are not rounded");
    }
}
