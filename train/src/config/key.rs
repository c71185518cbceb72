//! What is known of a key: its type, default, sentence, range, and what a resumed run may make of
//! it are declared in one place, which is the [`section`] it is in.

use std::{
    ffi::OsStr,
    ops::{Bound, RangeBounds},
};

use anyhow::{bail, ensure};

/// What it is to a run to go on with another value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The same experiment: the key says what the run costs, shows and keeps, or when it ends, but
    /// not what a step does. Where text, tokenizer and teacher lie is among these: whether they
    /// are the same is checked apart.
    Safe,
    /// Another experiment.
    Experiment,
    /// Another model: the shapes of the weights depend on the key, and nothing saved fits.
    Shape,
}

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// With its section: `train.steps`.
    pub name: &'static str,
    /// What a change of it is.
    pub change: Change,
}

/// A section of the configuration.
pub trait Section {
    /// Its keys, in their order.
    const KEYS: &'static [Key];

    /// Checks every value that has a range.
    ///
    /// # Errors
    /// The first key out of its range.
    fn check(&self) -> anyhow::Result<()>;
}

/// Declares a section: a struct that reads and writes itself, with its defaults and its keys.
///
/// ```text
/// section! {
///     /// `[eval]`
///     pub struct EvalSection in "eval" {
///         /// Windows of a batch.
///         batch: usize = 16, Safe, within(1..=1 << 20);
///     }
/// }
/// ```
///
/// A key has a sentence, a type, a default, what a [`Change`] of it is, and, where not every value
/// will do, a function that checks it, as those below.
macro_rules! section {
    (
        $(#[$about:meta])*
        pub struct $section:ident in $name:literal {$(
            $(#[$doc:meta])*
            $key:ident: $type:ty = $default:expr, $change:ident $(, $check:expr)?;
        )+}
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $section {$(
            $(#[$doc])*
            pub $key: $type,
        )+}

        impl Default for $section {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl $crate::config::key::Section for $section {
            const KEYS: &'static [$crate::config::key::Key] = &[$(
                $crate::config::key::Key {
                    name: concat!($name, ".", stringify!($key)),
                    change: $crate::config::key::Change::$change,
                },
            )+];

            fn check(&self) -> anyhow::Result<()> {
                $($(($check)(concat!($name, ".", stringify!($key)), &self.$key)?;)?)+
                Ok(())
            }
        }
    };
}

pub(super) use section;

/// A number that a key can have.
pub trait Number: PartialOrd + Copy {
    /// As models and optimisers hold it: fractions in 32 bits.
    fn held(self) -> Self;

    /// Whether it is neither infinite nor NaN.
    fn is_finite(self) -> bool;

    /// As messages show it: short, however large or small.
    fn show(self) -> String;
}

macro_rules! counts {
    ($($count:ty),+) => {$(
        impl Number for $count {
            fn held(self) -> Self {
                self
            }

            fn is_finite(self) -> bool {
                true
            }

            fn show(self) -> String {
                self.to_string()
            }
        }
    )+};
}

counts!(u64, usize);

impl Number for f64 {
    fn held(self) -> Self {
        f64::from(self as f32)
    }

    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }

    fn show(self) -> String {
        bitnet::terminal::number(self)
    }
}

/// A value that has a range, or several of one.
pub trait Values {
    /// What has the range.
    type Number: Number;

    /// The values; none where the key is unset.
    fn values(&self) -> impl Iterator<Item = Self::Number>;
}

macro_rules! single {
    ($($number:ty),+) => {$(
        impl Values for $number {
            type Number = Self;

            fn values(&self) -> impl Iterator<Item = Self> {
                std::iter::once(*self)
            }
        }
    )+};
}

single!(u64, usize, f64);

impl<V: Values> Values for Option<V> {
    type Number = V::Number;

    fn values(&self) -> impl Iterator<Item = V::Number> {
        self.iter().flat_map(V::values)
    }
}

impl<V: Values, const N: usize> Values for [V; N] {
    type Number = V::Number;

    fn values(&self) -> impl Iterator<Item = V::Number> {
        self.iter().flat_map(V::values)
    }
}

/// Lets the values of a range pass, as they are written and as they are held: of 1e-60, which is
/// above 0, 32 bits make 0. Infinity and NaN are in no range.
pub fn within<V: Values>(
    range: impl RangeBounds<V::Number>,
) -> impl Fn(&str, &V) -> anyhow::Result<()> {
    move |key, value| {
        use Bound::{Excluded, Included, Unbounded};
        let held_range =
            (range.start_bound().map(|low| low.held()), range.end_bound().map(|high| high.held()));
        for value in value.values() {
            let held = value.held();
            let said = if !(range.contains(&value) && value.is_finite()) {
                format!("{key} is {}", value.show())
            } else if !(held_range.contains(&held) && held.is_finite()) {
                format!("{key} is {}, in 32 bits {}", value.show(), held.show())
            } else {
                continue;
            };
            let (low, high) = (range.start_bound(), range.end_bound());
            match (low.map(|low| low.show()), high.map(|high| high.show())) {
                (Included(low), Unbounded) => bail!("{said}, must be {low} or above"),
                (Included(low), Included(high)) => {
                    bail!("{said}, must be between {low} and {high}")
                }
                (Included(low), Excluded(high)) => {
                    bail!("{said}, must be {low} or above, and below {high}")
                }
                (Excluded(low), Included(high)) => {
                    bail!("{said}, must be above {low}, at most {high}")
                }
                (Excluded(low), _) => bail!("{said}, must be above {low}"),
                (Unbounded, _) => bail!("{said}, which is too much"),
            }
        }
        Ok(())
    }
}

/// Lets finite values above `low` pass.
pub fn above<V: Values>(low: V::Number) -> impl Fn(&str, &V) -> anyhow::Result<()> {
    within((Bound::Excluded(low), Bound::Unbounded))
}

/// Lets values above `low` pass, up to `high`.
pub fn above_to<V: Values>(
    low: V::Number,
    high: V::Number,
) -> impl Fn(&str, &V) -> anyhow::Result<()> {
    within((Bound::Excluded(low), Bound::Included(high)))
}

/// Refuses an empty name. A key that is unset has its default.
///
/// # Errors
/// Names the key.
pub fn not_empty(key: &str, name: &Option<impl AsRef<OsStr>>) -> anyhow::Result<()> {
    let is_empty = name.as_ref().is_some_and(|name| name.as_ref().is_empty());
    ensure!(!is_empty, "{key} is empty; leave it out for its default");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_and_say_what_they_are() {
        let error = |result: anyhow::Result<()>| result.unwrap_err().to_string();
        let count = |value: u64| within(1..)("a.b", &value);
        assert!(count(1).is_ok());
        assert_eq!(error(count(0)), "a.b is 0, must be 1 or above");
        let share = |value: f64| within(0.0..=1.0)("a.b", &value);
        assert!(share(0.0).is_ok() && share(1.0).is_ok());
        assert_eq!(error(share(1.5)), "a.b is 1.5, must be between 0 and 1");
        assert_eq!(error(share(f64::NAN)), "a.b is NaN, must be between 0 and 1");
        let limit = |value: f64| within(0.0..)("a.b", &value);
        assert_eq!(error(limit(f64::INFINITY)), "a.b is inf, must be 0 or above");
        let rates = |value: Option<f64>| above(0.0)("a.b", &value);
        assert!(rates(None).is_ok() && rates(Some(1.0)).is_ok());
        assert_eq!(error(rates(Some(0.0))), "a.b is 0, must be above 0");
        let factor = |value: f64| above_to(0.0, 2.0)("a.b", &value);
        assert!(factor(2.0).is_ok());
        assert_eq!(error(factor(2.5)), "a.b is 2.5, must be above 0, at most 2");
        let decays = |values: [f64; 2]| within(0.0..1.0)("a.b", &values);
        assert!(decays([0.0, 0.5]).is_ok());
        assert_eq!(error(decays([0.5, 1.0])), "a.b is 1, must be 0 or above, and below 1");
        // What 32 bits make of a value is in the range, too.
        let huge = "a.b is 1e308, in 32 bits inf, must be 0 or above";
        assert_eq!(error(limit(1e308)), huge);
        assert!(limit(1e-60).is_ok());
        assert_eq!(error(rates(Some(1e-60))), "a.b is 1e-60, in 32 bits 0, must be above 0");
        let decayed = "a.b is 0.99999999999, in 32 bits 1, must be 0 or above, and below 1";
        assert_eq!(error(decays([0.5, 0.99999999999])), decayed);
        assert!(within(0.0..=0.999999)("a.b", &0.999999).is_ok());
        assert!(not_empty("a.b", &None::<String>).is_ok());
        assert!(error(not_empty("a.b", &Some(""))).starts_with("a.b is empty"));
    }
}
