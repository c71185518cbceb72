/// Follows a walk over a module and gives its parameters their names in Hugging Face
/// checkpoints. Module fields are named as there.
#[derive(Debug, Default)]
pub(super) struct Names {
    path: Vec<String>,
    containers: Vec<String>,
}

impl Names {
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        self.path.push(name.into());
        self.containers.push(container.into());
    }

    pub(super) fn exit(&mut self) {
        self.path.pop();
        self.containers.pop();
    }

    /// The name of the parameter the walk is at.
    pub(super) fn current(&self) -> String {
        let path = self.path.join(".");
        if path.starts_with("lm_head.") { path } else { format!("model.{path}") }
    }

    /// Whether the parameter is stored transposed: linear weights are `[d_output, d_input]` in
    /// files and `[d_input, d_output]` in Burn.
    pub(super) fn is_transposed(&self) -> bool {
        let in_linear = matches!(
            self.containers.last().map(String::as_str),
            Some("Struct:BitLinear" | "Struct:Linear")
        );
        in_linear && self.path.last().is_some_and(|name| name == "weight")
    }
}
