//! `train backends`: what could be trained on.

use bitnet::{
    backend::{BackendKind, DeviceChoice, DeviceInfo},
    precision::Precision,
    self_test::{SelfTestError, self_test},
};
use command_line::{Align, table};

/// Prints all backends, their devices, and how far each device is from the CPU.
pub fn list() {
    let mut rows = vec![
        ["backend", "device", "name", "memory", "loss", "gradients", "bf16"]
            .map(String::from)
            .to_vec(),
    ];
    for kind in BackendKind::ALL {
        match kind.devices() {
            Ok(devices) => rows.extend(devices.iter().map(|device| row(kind, device))),
            // The reason begins with the backend's name already.
            Err(error) => rows.push(vec![kind.to_string(), error.to_string()]),
        }
    }
    say!("{}", table(&rows, Align::Left).trim_end());
    say!(
        "loss, gradients: distance of a small model's from the CPU's, relative to the largest value"
    );
}

fn row(kind: BackendKind, info: &DeviceInfo) -> Vec<String> {
    let mut row =
        vec![kind.to_string(), info.id.clone(), info.name.clone(), info.memory.to_string()];
    let Ok(device) = info.id.parse::<DeviceChoice>() else { return row };
    let distance = |value: f64| format!("{value:.0e}");
    match self_test(kind, &device, Precision::F32) {
        Ok(Some(agreement)) => {
            row.extend([agreement.loss, agreement.gradient].map(distance));
        }
        Ok(None) => row.extend(["nothing to compare with".into(), String::new()]),
        Err(SelfTestError::Disagrees { agreement, .. }) => {
            row.extend([agreement.loss, agreement.gradient].map(|d| distance(d) + " WRONG"));
        }
        Err(error) => {
            row.push(error.to_string());
            return row;
        }
    }
    row.push(match self_test(kind, &device, Precision::Bf16) {
        Ok(Some(agreement)) => distance(agreement.gradient),
        Ok(None) => "yes".into(),
        Err(SelfTestError::Precision { .. }) => "no".into(),
        Err(SelfTestError::Disagrees { agreement, .. }) => distance(agreement.gradient) + " WRONG",
        Err(_) => "fails".into(),
    });
    row
}
