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
        self.is_weight_of(&["Struct:BitLinear", "Struct:Linear"])
    }

    /// Whether the parameter is the weight of a linear of a block.
    pub(super) fn is_linear(&self) -> bool {
        self.is_weight_of(&["Struct:BitLinear"])
    }

    fn is_weight_of(&self, modules: &[&str]) -> bool {
        let is_there =
            self.containers.last().is_some_and(|container| modules.contains(&container.as_str()));
        is_there && self.path.last().is_some_and(|name| name == "weight")
    }
}
