//! What a run learns from: a text, as tokens, and a teacher, if there is one.

pub mod teacher;
pub mod text;
