//! The text format of Prometheus.

use std::fmt::Write as _;

/// Metrics as they are written, family by family.
#[derive(Default)]
pub(crate) struct Exposition {
    text: String,
}

/// A label and its value.
pub(crate) type Label<'a> = (&'a str, &'a str);

impl Exposition {
    /// Begins a family: `kind` is `gauge`, `counter` or `histogram`.
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a text can't fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Adds a sample.
    pub(crate) fn sample(&mut self, name: &str, labels: &[Label<'_>], value: f64) {
        self.text.push_str(name);
        if !labels.is_empty() {
            self.text.push('{');
            for (number, (label, value)) in labels.iter().enumerate() {
                let comma = if number > 0 { "," } else { "" };
                let _ = write!(self.text, "{comma}{label}=\"{}\"", escaped(value));
            }
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// Adds the samples of a histogram, whose counts each have all before them.
    pub(crate) fn histogram(
        &mut self,
        name: &str,
        labels: &[Label<'_>],
        (bounds, counts): (&[f64], &[u64]),
        (count, sum): (u64, f64),
    ) {
        let bucket = format!("{name}_bucket");
        for (bound, counted) in bounds.iter().zip(counts) {
            let bound = bound.to_string();
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), *counted as f64);
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), count as f64);
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count as f64);
    }

    /// The whole text.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn labels_are_escaped_and_histograms_are_cumulative() {
        let mut text = Exposition::default();
        text.family("x_seconds", "histogram", "How long.");
        let labels = [("name", "a \"b\"\\\n")];
        text.histogram("x_seconds", &labels, (&[0.1, 1.0], &[1, 3]), (4, 7.5));
        expect![[r#"
            # HELP x_seconds How long.
            # TYPE x_seconds histogram
            x_seconds_bucket{name="a \"b\"\\\n",le="0.1"} 1
            x_seconds_bucket{name="a \"b\"\\\n",le="1"} 3
            x_seconds_bucket{name="a \"b\"\\\n",le="+Inf"} 4
            x_seconds_sum{name="a \"b\"\\\n"} 7.5
            x_seconds_count{name="a \"b\"\\\n"} 4
        "#]]
        .assert_eq(&text.into_text());
    }
}
