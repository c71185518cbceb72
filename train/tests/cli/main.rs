//! Tests of the program, run as a program.

mod bad_input;
mod common;
mod run;
