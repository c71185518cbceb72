use bitnet::engine::{Engine, Footprint};
use command_line::thousands;

/// What packed weights take, as rows of a table.
pub(super) fn rows(engine: &Engine) -> [[String; 2]; 3] {
    let Footprint { ternary, tables, norms, .. } = engine.footprint();
    let bytes = |bytes: usize| format!("{} bytes", thousands(bytes));
    [
        ["ternary weights".into(), bytes(ternary)],
        [format!("{} tables", engine.table_format().name()), bytes(tables)],
        ["f32 norms".into(), bytes(norms)],
    ]
}
