//! The drawing of the schedules in the documentation is what the schedules are.

#[path = "../../examples/schedules/draw.rs"]
mod draw;

#[test]
fn the_documentation_shows_the_schedules() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schedules.svg");
    let drawn = std::fs::read_to_string(path).unwrap();
    assert!(
        draw::svg() == drawn,
        "docs/schedules.svg is another drawing; see bitnet/examples/schedules/main.rs"
    );
    for name in ["constant", "linear", "cosine", "wsd", "two-stage"] {
        assert!(drawn.contains(&format!(">{name}<")), "{name}");
    }
}
