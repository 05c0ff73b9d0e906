//! Percentages on the command line.

/// Reads a percentage that is not negative, as `5` or `2.5`.
pub fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok();
    let percent = percent.filter(|percent: &f64| percent.is_finite() && *percent >= 0.0);
    percent.ok_or_else(|| "it is not a percentage, such as 5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn only_numbers_that_are_not_negative_are_percentages() {
        assert_eq!(percent("5"), Ok(5.0));
        assert_eq!(percent("2.5"), Ok(2.5));
        assert_eq!(percent("0"), Ok(0.0));
        for wrong in ["", "-1", "5%", "inf", "NaN"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
