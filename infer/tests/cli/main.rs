//! Tests of the program, run as a program.

mod bench;
mod chat;
mod common;
mod eval;
mod export;
mod failures;
mod generate;
mod info;
mod packed;
mod shell;
mod streams;
mod subword;
