//! Reading counters in the Prometheus text format.

use std::collections::BTreeMap;

/// One line: a name, its labels, a value.
#[derive(Debug, PartialEq)]
pub struct Metric<'a> {
    /// Name.
    pub name: &'a str,
    /// Labels.
    pub labels: BTreeMap<&'a str, &'a str>,
    /// Value.
    pub value: f64,
}

/// All lines of a text that hold a value. Label values with commas or quotes in them are none of ours.
pub fn parse(text: &str) -> impl Iterator<Item = Metric<'_>> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(parse_line)
}

/// The sum of all metrics of this name.
pub fn sum(text: &str, name: &str) -> f64 {
    parse(text).filter(|metric| metric.name == name).map(|metric| metric.value).sum()
}

fn parse_line(line: &str) -> Option<Metric<'_>> {
    let (head, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = head.split_once('{') else {
        return Some(Metric { name: head, labels: BTreeMap::new(), value });
    };
    let labels = labels
        .trim_end_matches('}')
        .split(',')
        .filter_map(|label| label.split_once('='))
        .map(|(name, value)| (name, value.trim_matches('"')))
        .collect();
    Some(Metric { name, labels, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let text = "# HELP a b\na_total{verb=\"GET\",resource=\"pods\"} 3\nb 1.5\n";
        let metrics: Vec<Metric<'_>> = parse(text).collect();
        assert_eq!(metrics[0].labels["verb"], "GET");
        assert_eq!(metrics[1], Metric { name: "b", labels: BTreeMap::new(), value: 1.5 });
        assert_eq!(sum(text, "a_total"), 3.0);
    }
}
