//! The median of a few repeated measurements, with the least and the greatest beside it.

use std::fmt;

/// Median, minimum and maximum. Means are not shown: one disturbed slice would move them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle value, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// None when there is no value, or one is not a number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        if values.is_empty() || values.iter().any(|value| value.is_nan()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread { median: (low + high) / 2.0, min: values[0], max: values[values.len() - 1] })
    }

    /// The spread of `of / to`, paired: both of a pair were measured within the same round, so that what slowed the
    /// machine down for a while slowed both. Pairs without both are left out.
    pub fn of_ratios(of: &[Option<f64>], to: &[Option<f64>]) -> Option<Spread> {
        Spread::of(of.iter().zip(to).filter_map(|(of, to)| Some((*of)? / (*to).filter(|to| *to > 0.0)?)))
    }
}

/// Three significant places: `1.43 (1.38–1.52)`.
impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}–{})", short(self.median), short(self.min), short(self.max))
    }
}

/// A number to three significant places, without an exponent.
pub fn short(value: f64) -> String {
    let places = match value.abs() {
        below if below < 10.0 => 2,
        below if below < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        assert_eq!(Spread::of([3.0, 1.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
    }

    #[test]
    fn nothing_has_no_spread() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([1.0, f64::NAN]), None);
    }

    #[test]
    fn ratios_are_paired_within_a_round_and_skip_rounds_without_both() {
        let of = [Some(2.0), Some(40.0), None, Some(9.0), Some(1.0)];
        let to = [Some(1.0), Some(10.0), Some(1.0), None, Some(0.0)];
        assert_eq!(Spread::of_ratios(&of, &to), Some(Spread { median: 3.0, min: 2.0, max: 4.0 }));
    }

    #[test]
    fn numbers_keep_three_places() {
        assert_eq!(
            [0.234, 4.0, 12.34, 306.87, 310_705.4].map(short),
            ["0.23", "4.00", "12.3", "307", "310705"]
        );
    }
}
