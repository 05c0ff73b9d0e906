//! Sizes on the command line.

/// Reads a number of bytes: `500000`, `500M` or `2.5 GB`; units are powers of 1000, as in `harness cache list`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[number.len()..]
        .to_ascii_uppercase()
        .trim_end_matches('B')
    {
        "" => 1.0,
        "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        _ => return Err("its unit is none of K, M, G and T".to_owned()),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok((number * unit) as u64),
        _ => Err("not a size, as 500M or 2.5G".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_with_or_without_a_unit_is_parsed() {
        for (text, bytes) in [
            ("0", 0),
            ("500", 500),
            ("500b", 500),
            ("3k", 3_000),
            ("500M", 500_000_000),
            ("2.5 GB", 2_500_000_000),
            ("1T", 1_000_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1 Q", "NaN", "inf", "1e", "five G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
