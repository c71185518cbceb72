/// What clap says about a wrong command line, as one line: without its paragraphs on usage.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .take_while(|text| !text.starts_with("Usage:") && !text.starts_with("For more"))
        .map(|text| range_in_words(&text.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    let text = paragraphs.join("; ");
    format!("{}; see --help", text.strip_prefix("error: ").unwrap_or(&text))
}

/// What clap says of a number out of its range, `6 is not in 10..`, in words.
fn range_in_words(text: &str) -> String {
    let in_words = || {
        let (before, range) = text.split_once(" is not in ")?;
        let (least, most) = range.split_once("..")?;
        least.parse::<u64>().ok()?;
        match most.strip_prefix('=').unwrap_or(most) {
            "" => Some(format!("{before} must be at least {least}")),
            most if most.parse() == Ok(u64::MAX) => {
                Some(format!("{before} must be at least {least}"))
            }
            most if range.contains("..=") => {
                Some(format!("{before} must be between {least} and {most}"))
            }
            _ => None,
        }
    };
    in_words().unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command, value_parser};

    use super::*;

    fn line(args: &[&str]) -> String {
        let command = Command::new("program")
            .arg(Arg::new("out").long("out").required(true))
            .arg(Arg::new("runs").required(true).num_args(1..))
            .arg(Arg::new("steps").long("steps").value_parser(value_parser!(u64).range(10..)))
            .arg(Arg::new("share").long("share").value_parser(value_parser!(u64).range(1..=9)))
            .arg(Arg::new("mode").long("mode").value_parser(["fast", "slow"]));
        let error = command.try_get_matches_from([&["program"], args].concat()).unwrap_err();
        one_line(&error)
    }

    #[test]
    fn ranges_are_words() {
        let steps = line(&["--out", "a", "b", "--steps", "6"]);
        let expected = "invalid value '6' for '--steps <steps>': 6 must be at least 10; see --help";
        assert_eq!(steps, expected);
        let share = line(&["--out", "a", "b", "--share", "0"]);
        assert!(share.ends_with(": 0 must be between 1 and 9; see --help"), "{share}");
    }

    #[test]
    fn all_that_is_missing_is_named() {
        let expected = "the following required arguments were not provided: --out <out> <runs>...; \
                        see --help";
        assert_eq!(line(&[]), expected);
        assert_eq!(
            line(&["--out", "a", "b", "--mod", "fast"]),
            "unexpected argument '--mod' found; tip: a similar argument exists: '--mode'; \
             see --help"
        );
        assert_eq!(
            line(&["--out", "a", "b", "--mode", "fats"]),
            "invalid value 'fats' for '--mode <mode>' [possible values: fast, slow]; tip: a \
             similar value exists: 'fast'; see --help"
        );
    }
}
